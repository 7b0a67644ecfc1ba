"""Dial only addresses that were vetted.

A name is resolved once, every address of the answer is judged, and the connection is made to one of
the judged addresses, so that a second answer of the name server never counts. The address is judged
again when its socket is made: that gate also sees hosts that are literal addresses, which skip the
resolver. A pooled connection passed both when it was dialled, and is kept for its host and port only.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from aiohttp import TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult

from relay.tools.addresses import AddressRules, classify

if TYPE_CHECKING:
    import ssl

# A name server chosen by an attacker may let every look-up run into its time limit, and a thread cannot
# be stopped; so the look-ups have threads of their own, and nothing else in the process waits for them.
RESOLVER_THREADS: Final = 32
# Enough for any round-robin name. A longer answer is refused, since every address of it has to be judged.
MAX_ADDRESSES: Final = 64
# Vetted answers are kept this long, so that a burst of media from one origin asks for its name once.
DNS_CACHE_SECONDS: Final = 30
# One origin may not take all the connections, nor be flooded by the relay.
MAX_CONNECTIONS: Final = 512
MAX_CONNECTIONS_PER_HOST: Final = 16

Lookup = Callable[[str, int], Awaitable[tuple[str, ...]]]
"""Find the addresses of a name for a port, as text; raises OSError where there are none."""
SocketMaker = Callable[[int, int, int], socket.socket]
"""Make a socket from family, type and protocol."""


class AddressRefusedError(OSError):
    """An address may not be dialled.

    It is an OSError because that is what the connector passes on from a resolver and a socket factory.
    """


def create_resolver_threads() -> ThreadPoolExecutor:
    """Create the threads in which names are resolved; the caller shuts them down."""
    return ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolve")


def create_system_lookup(threads: ThreadPoolExecutor) -> Lookup:
    """Create a look-up that asks the system's resolver."""

    async def lookup(host: str, port: int) -> tuple[str, ...]:
        call = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        answers = await asyncio.get_running_loop().run_in_executor(threads, call)
        return tuple(str(sockaddr[0]) for *_, sockaddr in answers)

    return lookup


class VettingResolver(AbstractResolver):
    """A resolver whose answers may all be dialled.

    Attributes:
        timeout_seconds: The bound on one look-up.
    """

    def __init__(self, lookup: Lookup, *, rules: AddressRules, timeout_seconds: float) -> None:
        self._lookup = lookup
        self._rules = rules
        self.timeout_seconds = timeout_seconds

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Find the addresses of a name.

        Raises:
            AddressRefusedError: At least one address of the answer may not be dialled: a mixed answer is
                an attack, and nobody's mistake is worth choosing the good half.
            OSError: There is no answer.
            TimeoutError: The answer did not come in time.
        """
        async with asyncio.timeout(self.timeout_seconds):
            addresses = await self._lookup(host, port)
        if not addresses:
            raise OSError("The name has no address.")
        if len(addresses) > MAX_ADDRESSES:
            raise AddressRefusedError("The name has too many addresses.")
        vetted = [self._vet(host, port, text) for text in dict.fromkeys(addresses)]
        return [answer for answer in vetted if family in (socket.AF_UNSPEC, answer["family"])]

    async def close(self) -> None:
        """Do nothing; the look-up's threads belong to whoever made them."""

    def _vet(self, host: str, port: int, text: str) -> ResolveResult:
        _require_admissible(text, port, self._rules)
        return ResolveResult(
            hostname=host,
            host=text,
            port=port,
            family=_family_of(text),
            proto=socket.IPPROTO_TCP,
            # The address is no name, so that nothing resolves it a second time.
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )


def create_connector(
    resolver: VettingResolver, *, rules: AddressRules, tls: ssl.SSLContext, make_socket: SocketMaker
) -> TCPConnector:
    """Create a connector that dials nothing but vetted addresses."""

    def gate(info: tuple[object, object, int, str, tuple[object, ...]]) -> socket.socket:
        _, _, protocol, _, sockaddr = info
        host, port = str(sockaddr[0]), sockaddr[1]
        if not isinstance(port, int):
            raise AddressRefusedError("The address has no port.")
        _require_admissible(host, port, rules)
        return make_socket(_family_of(host), socket.SOCK_STREAM, protocol)

    return TCPConnector(
        resolver=resolver,
        ssl=tls,
        limit=MAX_CONNECTIONS,
        limit_per_host=MAX_CONNECTIONS_PER_HOST,
        ttl_dns_cache=DNS_CACHE_SECONDS,
        family=socket.AF_UNSPEC,
        socket_factory=gate,
    )


def _family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _require_admissible(text: str, port: int, rules: AddressRules) -> None:
    try:
        address = ip_address(text)
    except ValueError as error:
        raise AddressRefusedError("The resolver's answer is no address.") from error
    refusal = classify(address, port, rules)
    if refusal is not None:
        # Neither the address nor the name: this text may reach a log.
        raise AddressRefusedError(f"The address may not be dialled ({refusal.value}).")
