"""Open a bare connection to a vetted address, for what passes through unseen.

The same rules hold as for every request: the name is resolved once, every address of the answer is judged,
and only a judged address is dialled.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

from relay.model import FetchFailure
from relay.tools.connections import (
    AddressRefusedError,
    Lookup,
    SocketMaker,
    VettingResolver,
    create_resolver_threads,
    create_system_lookup,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.tools.policy import FetchPolicy


class Dialler:
    """Opens connections to vetted addresses; see `open_dialler`."""

    def __init__(
        self, resolver: VettingResolver, *, timeout_seconds: float, make_socket: SocketMaker
    ) -> None:
        self._resolver = resolver
        self._timeout_seconds = timeout_seconds
        self._make_socket = make_socket

    async def dial(self, host: str, port: int) -> socket.socket | FetchFailure:
        """Connect to the first address of a host that answers; the caller closes the socket.

        Args:
            host: A name in its ASCII form or the canonical text of an address.
            port: 1 to 65535. Whether it may be dialled, the caller has decided.
        """
        try:
            addresses = await self._resolver.resolve(host, port)
        except AddressRefusedError:
            return FetchFailure.REFUSED_ADDRESS
        except TimeoutError:
            return FetchFailure.TIMEOUT
        except OSError:
            return FetchFailure.UNRESOLVED
        failure = FetchFailure.UNREACHABLE
        try:
            # All addresses together get the time of one connection.
            async with asyncio.timeout(self._timeout_seconds):
                for found in addresses:
                    connection = await self._try(found["family"], found["host"], port)
                    if connection is not None:
                        return connection
        except TimeoutError:
            failure = FetchFailure.TIMEOUT
        return failure

    async def _try(self, family: int, address: str, port: int) -> socket.socket | None:
        connection = self._make_socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            connection.settimeout(0)
            await asyncio.get_running_loop().sock_connect(connection, (address, port))
        except OSError as error:
            connection.close()
            if isinstance(error, TimeoutError):
                raise
            return None
        except BaseException:
            connection.close()
            raise
        return connection


@contextlib.asynccontextmanager
async def open_dialler(
    policy: FetchPolicy, *, lookup: Lookup | None = None, make_socket: SocketMaker = socket.socket
) -> AsyncIterator[Dialler]:
    """Open a dialler with threads of its own for names.

    Args:
        policy: The bounds, of which the addresses and the time to connect count here.
        lookup: Resolves names; None for the system's resolver.
        make_socket: Makes the sockets that are dialled.
    """
    threads = create_resolver_threads()
    seconds = policy.connect_timeout.total_seconds()
    resolver = VettingResolver(
        lookup or create_system_lookup(threads), rules=policy.rules, timeout_seconds=seconds
    )
    try:
        yield Dialler(resolver, timeout_seconds=seconds, make_socket=make_socket)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
