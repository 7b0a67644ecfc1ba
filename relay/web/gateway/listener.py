"""Take the backend's connections and hand each to what speaks its language.

A connection that does not begin with CONNECT is plain HTTP, and the HTTP server gets it as it is. After a
CONNECT the backend is answered, and what follows is TLS: it is opened with a certificate for the host, and
the HTTP server gets what is inside. A gateway that opens no TLS makes a tunnel of it. Plain HTTP after a
CONNECT goes to the HTTP server, too; nothing else is carried.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from relay.model import FetchFailure
from relay.web.gateway import answers
from relay.web.gateway.connect import Connect, MalformedConnectError, parse_connect
from relay.web.gateway.sockets import HeadTooLongError, peek, read_head
from relay.web.gateway.tunnel import pump

if TYPE_CHECKING:
    import socket

    from relay.tools.dialling import Dialler
    from relay.tools.leaves import Leaves
    from relay.web.gateway.access import Access
    from relay.web.gateway.server import GatewayServer

_log = logging.getLogger(__name__)

# The backend is near and sends its first line at once; pools that open connections ahead of need wait longer.
_FIRST_BYTE_WITHIN: Final = timedelta(seconds=60)
_HEAD_WITHIN: Final = timedelta(seconds=10)
_HANDSHAKE_WITHIN: Final = timedelta(seconds=10)
# A CONNECT has an authority and a password; browsers' ones with all their headers have two kilobytes.
_MAX_HEAD_BYTES: Final = 16 * 1024

_CONNECT: Final = b"CONNECT "
# RFC 8446 section 5.1: the type of a record that carries a handshake; every ClientHello begins with it.
_TLS_HANDSHAKE: Final = b"\x16"
# Some clients ask for a way to http servers, too, and speak plainly inside of it. Their requests can be
# examined like any; they send the first line in one piece.
_PLAIN_METHODS: Final = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"PATCH ", b"DELETE ", b"OPTIONS ")
# How long to leave it when no more sockets can be made.
_EXHAUSTED_PAUSE: Final = timedelta(milliseconds=200)


class Listener:
    """Takes connections, so many at a time; the next ones wait.

    Args:
        listening: The socket, bound and listening.
        server: What speaks HTTP/1.1.
        access: Who may ask, and for what.
        leaves: The server's side of TLS; None for a gateway that opens none.
        dialler: Makes the connections of tunnels.
        max_connections: How many there may be at once.
    """

    def __init__(
        self,
        listening: socket.socket,
        *,
        server: GatewayServer,
        access: Access,
        leaves: Leaves | None,
        dialler: Dialler,
        max_connections: int,
    ) -> None:
        self._listening = listening
        self._server = server
        self._access = access
        self._leaves = leaves
        self._dialler = dialler
        self._places = asyncio.Semaphore(max_connections)

    async def run(self) -> None:
        """Take connections until cancelled."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while True:
                await self._places.acquire()
                try:
                    connection, address = await loop.sock_accept(self._listening)
                except OSError as error:
                    self._places.release()
                    _log.error("gateway_cannot_accept errno=%s", error.errno)
                    await asyncio.sleep(_EXHAUSTED_PAUSE.total_seconds())
                    continue
                except BaseException:
                    self._places.release()
                    raise
                connection.settimeout(0)
                group.create_task(self._hold(connection, str(address[0])))

    async def _hold(self, connection: socket.socket, address: str) -> None:
        """See to one connection; its place is given back when it is over."""
        is_handed_over = False
        try:
            if not self._access.admits_client(address):
                await _say(connection, answers.refuse_connect(answers.FORBIDDEN))
                return
            is_handed_over = await self._welcome(connection)
        except (OSError, TimeoutError):
            return  # Who has gone, or says nothing, needs no answer.
        except Exception as error:  # noqa: BLE001 (one connection must not end all the others)
            _log.error("gateway_connection_failed error=%s", type(error).__name__)
        finally:
            if not is_handed_over:
                connection.close()
                self._places.release()

    async def _welcome(self, connection: socket.socket) -> bool:
        """Find out what a connection is for; True where the HTTP server has taken it over."""
        async with asyncio.timeout(_FIRST_BYTE_WITHIN.total_seconds()):
            first = await peek(connection, len(_CONNECT))
        if not first:
            return False
        if not _CONNECT.startswith(first):
            await self._server.take_over(connection, when_over=self._places.release)
            return True
        connect = await _read_connect(connection)
        if connect is None:
            return False
        status = self._find_obstacle(connect)
        if status is not None:
            await _say(connection, answers.refuse_connect(status))
            return False
        if self._leaves is None:
            return await self._tunnel(connection, connect)
        return await self._open(connection, connect, self._leaves)

    def _find_obstacle(self, connect: Connect) -> int | None:
        host = connect.target.host
        if not self._access.admits_password(connect.headers):
            return answers.PASSWORD_NEEDED
        is_admitted = self._access.admits(connect.target)
        if is_admitted and self._leaves is not None and not self._leaves.may_speak_for(host):
            # Whoever posts a link can have it ask for a private address; that is nothing to mend here.
            if connect.target.address is None:
                _log.warning(
                    "gateway_own_host The backend asks through the gateway for a host that is its own. It is "
                    "refused. Put its own domain into no_proxy."
                )
            return answers.FORBIDDEN
        return None if is_admitted else answers.FORBIDDEN

    async def _open(self, connection: socket.socket, connect: Connect, leaves: Leaves) -> bool:
        """Answer a CONNECT, open the TLS that follows, if any, and hand over what is inside."""
        await _say(connection, answers.CONNECTED)
        async with asyncio.timeout(_HEAD_WITHIN.total_seconds()):
            first = await peek(connection, len(_CONNECT))
        if first.startswith(_PLAIN_METHODS):
            return await self._serve_plainly(connection, connect)
        if not first.startswith(_TLS_HANDSHAKE):
            # Mail and any other protocol could not be examined.
            return False
        try:
            await self._server.take_over(
                connection,
                when_over=self._places.release,
                tunnel=connect.target,
                tls=leaves.context_for(connect.target.host),
                handshake_within=_HANDSHAKE_WITHIN,
            )
        except ssl.SSLError:
            # A backend that does not trust our authority says so in its own log; here it would fill ours.
            return False
        return True

    async def _tunnel(self, connection: socket.socket, connect: Connect) -> bool:
        """Dial for a CONNECT and carry what follows, unless it can be examined."""
        dialled = await self._dialler.dial(connect.target.host, connect.target.port)
        if isinstance(dialled, FetchFailure):
            await _say(connection, answers.refuse_connect(answers.status_of(dialled)))
            return False
        with contextlib.closing(dialled):
            await _say(connection, answers.CONNECTED)
            async with asyncio.timeout(_FIRST_BYTE_WITHIN.total_seconds()):
                first = await peek(connection, len(_CONNECT))
            if first.startswith(_PLAIN_METHODS):
                return await self._serve_plainly(connection, connect)
            await pump(connection, dialled)
        return False

    async def _serve_plainly(self, connection: socket.socket, connect: Connect) -> bool:
        plain = replace(connect.target, scheme="http")
        await self._server.take_over(connection, when_over=self._places.release, tunnel=plain)
        return True


async def _read_connect(connection: socket.socket) -> Connect | None:
    try:
        async with asyncio.timeout(_HEAD_WITHIN.total_seconds()):
            head = await read_head(connection, max_bytes=_MAX_HEAD_BYTES)
        return None if head is None else parse_connect(head)
    except HeadTooLongError:
        await _say(connection, answers.refuse_connect(answers.HEAD_TOO_LONG))
    except MalformedConnectError:
        await _say(connection, answers.refuse_connect(answers.MALFORMED))
    return None


async def _say(connection: socket.socket, words: bytes) -> None:
    async with asyncio.timeout(_HEAD_WITHIN.total_seconds()):
        await asyncio.get_running_loop().sock_sendall(connection, words)
