"""Speak to the backend: the one server that the admin named, and that we stand in front of.

The guarded client does not fit here: the backend's address is private more often than not, and it
comes from the configuration, never from the network. What is sent are a sender's own bytes.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from relay.backends.answer import HOP_BY_HOP, BackendAnswer, BackendDown
from relay.backends.connection import Connection, build_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signatures.message import RequestMessage

__all__ = ["HOP_BY_HOP", "BackendAnswer", "BackendClient", "BackendDown", "open_backend"]

# More connections than a backend's own worker threads would only queue there.
_MAX_CONNECTIONS: Final = 64

# A server on the same machine or in the same room takes a connection in milliseconds.
_MAX_CONNECT_S: Final = 5.0

# Servers end connections that idle for 5 s (Node.js) or longer. One that ends while a request is on its
# way looks like a backend that broke, so that we leave first.
_MAX_IDLE_S: Final = 4.0

_PORTS: Final = {"http": 80, "https": 443}


class BackendClient:
    """Send requests to one backend, byte for byte."""

    def __init__(self, base_url: str, *, timeout_s: float) -> None:
        parts = urlsplit(base_url)
        self._host = parts.hostname or ""
        self._port = parts.port or _PORTS.get(parts.scheme, 80)
        self._authority = parts.netloc
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(_MAX_CONNECTIONS)
        # With the time since when each has nothing to do; the last one that was used stands last.
        self._idle: list[tuple[float, Connection]] = []

    async def send(self, message: RequestMessage) -> BackendAnswer | BackendDown:
        """Send a request with exactly its target, headers and body.

        Connection-specific headers are left out. Redirects are the sender's to follow and come back
        as answers.
        """
        request = build_request(message, authority=self._authority)
        try:
            async with asyncio.timeout(self._timeout_s), self._slots:
                connection = self._find_idle()
                if connection is None:
                    try:
                        connection = await self._connect()
                    except OSError as error:
                        return BackendDown(reason="timeout" if isinstance(error, TimeoutError) else "refused")
                answer = await connection.exchange(request)
                if connection.is_reusable:
                    self._idle.append((asyncio.get_running_loop().time(), connection))
                return answer
        except TimeoutError:
            return BackendDown(reason="timeout")
        except OSError:
            return BackendDown(reason="broken")

    async def close(self) -> None:
        """End the connections that are not in use."""
        while self._idle:
            _, connection = self._idle.pop()
            await connection.close()

    def _find_idle(self) -> Connection | None:
        """Take the connection that was used last; those that idled for too long are ended."""
        oldest_fresh = asyncio.get_running_loop().time() - _MAX_IDLE_S
        while self._idle:
            since, connection = self._idle.pop()
            if connection.is_reusable and since >= oldest_fresh:
                return connection
            connection.abandon()
        return None

    async def _connect(self) -> Connection:
        """Open a connection.

        Raises:
            OSError: The backend takes none, or cannot prove who it is.
        """
        async with asyncio.timeout(_MAX_CONNECT_S):
            _, connection = await asyncio.get_running_loop().create_connection(
                Connection, self._host, self._port, ssl=self._tls
            )
        return connection


@asynccontextmanager
async def open_backend(base_url: str, *, timeout_s: float) -> AsyncIterator[BackendClient]:
    """Open the connection pool to the backend.

    Args:
        base_url: Scheme, host and port; a path is not used.
        timeout_s: How long one request may take as a whole. Senders give up after 5 to 10 s.
    """
    client = BackendClient(base_url, timeout_s=timeout_s)
    try:
        yield client
    finally:
        await client.close()
