"""The gateway as a whole: opened, served, closed."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web

from relay.errors import StartupError
from relay.tools.copies import make_directory
from relay.tools.flights import open_flights
from relay.tools.leaves import Leaves
from relay.web.gateway import answers
from relay.web.gateway.asking import Reader
from relay.web.gateway.exchange import Exchange
from relay.web.gateway.listener import Listener
from relay.web.gateway.passage import Passage
from relay.web.gateway.server import GatewayServer
from relay.web.gateway.verdicts import Verdicts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import timedelta
    from pathlib import Path

    from relay.line import Tools
    from relay.tools.authority import Authority
    from relay.tools.dialling import Dialler
    from relay.tools.fetching import GuardedClient
    from relay.tools.urls import FetchUrl
    from relay.web.gateway.access import Access

_log = logging.getLogger(__name__)

_BACKLOG: Final = 512
# Says nothing about who we are, and is different after every start, so that only our own requests carry it.
_VIA_CHANCE_BYTES: Final = 6
_SHUTDOWN_S: Final = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """How the gateway works.

    Attributes:
        host: The address that it listens on.
        port: The port of that address; 0 for any that is free.
        access: Who may ask, and for what.
        max_connections: How many connections there may be at once.
        release_within: How long the backend waits for the verdict on one file.
        copies: The directory in which long copies lie, sealed; made if it is not there.
    """

    host: str
    port: int
    access: Access
    max_connections: int
    release_within: timedelta
    copies: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A gateway that is open.

    Attributes:
        host: The address that it listens on.
        port: The port of that address.
    """

    host: str
    port: int


@asynccontextmanager
async def open_gateway(
    settings: GatewaySettings,
    *,
    tools: Tools,
    client: GuardedClient,
    dialler: Dialler,
    authority: Authority | None,
) -> AsyncIterator[Gateway]:
    """Open the gateway; it serves until the block ends.

    Args:
        settings: How it works.
        tools: What the line works with.
        client: Asks the origins.
        dialler: Makes the connections of tunnels.
        authority: Signs the certificates with which TLS is opened; None for tunnels.

    Raises:
        StartupError: The port cannot be used, or the directory cannot be made.
    """
    via = secrets.token_hex(_VIA_CHANCE_BYTES)
    _announce(authority, tools)
    async with AsyncExitStack() as stack:
        listening = stack.enter_context(_listen(settings.host, settings.port))
        exchange = Exchange(
            client=client,
            passage=Passage(
                verdicts=Verdicts(
                    tools, await stack.enter_async_context(open_flights()), within=settings.release_within
                ),
                copies=make_directory(settings.copies),
                max_bytes=tools.max_media_bytes,
                words=answers,
            ),
            ports=settings.access.ports,
            via=via,
        )
        reader = Reader(access=settings.access, via=via)

        async def handle(request: web.BaseRequest, tunnel: FetchUrl | None) -> web.StreamResponse:
            asked = reader.read(request, tunnel)
            return asked if isinstance(asked, web.Response) else await exchange.answer(request, asked)

        server = GatewayServer(handle)
        listener = Listener(
            listening,
            server=server,
            access=settings.access,
            leaves=None if authority is None else Leaves(authority, clock=tools.clock),
            dialler=dialler,
            max_connections=settings.max_connections,
        )
        stack.push_async_callback(server.end, within_s=_SHUTDOWN_S)
        await stack.enter_async_context(_running(listener))
        yield Gateway(host=settings.host, port=listening.getsockname()[1])


@asynccontextmanager
async def _running(listener: Listener) -> AsyncIterator[None]:
    """Take connections while the block lasts."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(listener.run())
        try:
            yield
        finally:
            task.cancel()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.settimeout(0)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise StartupError(
            f"Port {port} on {host} cannot be used for the gateway ({os.strerror(error.errno or 0)}). "
            "Another program listens there, or you may not. Stop it, or choose another with gateway.port."
        ) from error
    return listening


def _announce(authority: Authority | None, tools: Tools) -> None:
    if authority is None:
        _log.warning(
            "gateway_opens_no_tls What the backend fetches by https passes unseen: the gateway can only "
            "block hosts. To have it examined, run `breakwater keys ca` and set gateway.opens_tls = true."
        )
    elif authority.is_nearly_over(tools.clock.now()):
        _log.warning(
            "gateway_authority_ends at=%s The backend will then refuse every https connection. Run "
            "`breakwater keys ca --renew` and let the backend trust the new one.",
            authority.ends.date().isoformat(),
        )
