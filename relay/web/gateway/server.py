"""The HTTP/1.1 server of the gateway: connections come in by hand, each with what is known about it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from aiohttp import web

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Awaitable, Callable

    from aiohttp.web_protocol import RequestHandler

    from relay.tools.urls import FetchUrl

    Handle = Callable[[web.BaseRequest, FetchUrl | None], Awaitable[web.StreamResponse]]

# Longer than the pools of most clients, so that they close first and no request meets a closing connection;
# shorter than would keep places from those who wait.
_KEEP_ALIVE_S: Final = 30.0
# As long as the listener waits for the first byte, for pools that open connections ahead of need. Whoever
# begins a request and never ends it would keep a place from those who wait.
FIRST_REQUEST_WITHIN: Final = timedelta(seconds=60)
# One line of a head. Signed requests of object stores have URLs of two kilobytes.
_MAX_LINE_BYTES: Final = 16 * 1024
_READ_BUFFER_BYTES: Final = 64 * 1024


class GatewayServer(web.Server):
    """An HTTP/1.1 server that knows for each connection which tunnel it came through.

    Args:
        handle: Answers a request, given the origin of its tunnel.
    """

    def __init__(self, handle: Handle) -> None:
        super().__init__(
            self._answer,
            # Whoever has gone needs no answer, and the origin no request.
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=_KEEP_ALIVE_S,
            max_line_size=_MAX_LINE_BYTES,
            max_field_size=_MAX_LINE_BYTES,
            read_bufsize=_READ_BUFFER_BYTES,
        )
        self._handle = handle
        self._tunnels: dict[RequestHandler, FetchUrl | None] = {}
        self._endings: dict[RequestHandler, Callable[[], None]] = {}
        self._silent: dict[RequestHandler, asyncio.TimerHandle] = {}

    async def take_over(
        self,
        connection: socket.socket,
        *,
        when_over: Callable[[], None],
        tunnel: FetchUrl | None = None,
        tls: ssl.SSLContext | None = None,
        handshake_within: timedelta | None = None,
    ) -> None:
        """Serve a connection from its next byte on.

        Args:
            connection: The socket, which belongs to the server from now on.
            when_over: Called when the connection has ended, unless this raises.
            tunnel: The origin that it was opened for; None where there was no CONNECT.
            tls: The server's side of TLS, if it begins with that.
            handshake_within: How long that may take.

        Raises:
            ssl.SSLError: The backend did not agree to the TLS.
            OSError: The connection broke.
        """
        protocol, loop = self(), asyncio.get_running_loop()
        self._tunnels[protocol] = tunnel
        self._endings[protocol] = when_over
        try:
            await loop.connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=tls,
                ssl_handshake_timeout=None if handshake_within is None else handshake_within.total_seconds(),
            )
        except BaseException:
            self._endings.pop(protocol, None)
            self._tunnels.pop(protocol, None)
            raise
        if protocol in self._endings:
            wait = FIRST_REQUEST_WITHIN.total_seconds()
            self._silent[protocol] = loop.call_later(wait, protocol.force_close)

    async def end(self, *, within_s: float) -> None:
        """Close the connections that wait, and give the others some time."""
        self.pre_shutdown()
        await self.shutdown(within_s)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Note that a connection has ended."""
        super().connection_lost(handler, exc)
        self._tunnels.pop(handler, None)
        self._hear(handler)
        when_over = self._endings.pop(handler, None)
        if when_over is not None:
            when_over()

    def _hear(self, handler: RequestHandler) -> None:
        waiting = self._silent.pop(handler, None)
        if waiting is not None:
            waiting.cancel()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self._hear(request.protocol)
        return await self._handle(request, self._tunnels.get(request.protocol))
