"""Speak to the backend: the one server that the admin named, and that we stand in front of.

The guarded client does not fit here: the backend's address is private more often than not, and it
comes from the configuration, never from the network. What is sent are a sender's own bytes.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signatures.message import Headers, RequestMessage

# Connection-specific fields end at each hop. Source: RFC 9110, 7.6.1.
HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

# An inbox answers with a word or a small document; anything longer is cut here.
_MAX_ANSWER_BYTES: Final = 64 * 1024

# More connections than a backend's own worker threads would only queue there.
_MAX_CONNECTIONS: Final = 64

_AUTOMATIC: Final = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendAnswer:
    """What the backend said."""

    status: int
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendDown:
    """The backend said nothing.

    Attributes:
        reason: What kind of silence: `refused`, `timeout` or `broken`.
    """

    reason: str


class BackendClient:
    """Send requests to one backend, byte for byte."""

    def __init__(self, session: aiohttp.ClientSession, base: URL) -> None:
        self._session = session
        self._base = base

    async def send(self, message: RequestMessage) -> BackendAnswer | BackendDown:
        """Send a request with exactly its target, headers and body.

        Connection-specific headers are left out. Redirects are the sender's to follow and come back
        as answers.
        """
        headers: CIMultiDict[str] = CIMultiDict()
        for name, value in message.headers:
            if name.lower() not in HOP_BY_HOP and name.lower() != "content-length":
                headers.add(name, value)
        # yarl would normalise the target; the signature covers it as it was written.
        url = URL(f"{self._base.scheme}://{self._base.raw_authority}{message.target}", encoded=True)
        try:
            async with self._session.request(
                message.method,
                url,
                headers=headers,
                data=message.body,
                allow_redirects=False,
                skip_auto_headers=_AUTOMATIC,
            ) as response:
                body = await response.content.read(_MAX_ANSWER_BYTES)
                kept = tuple(
                    (name, value)
                    for name, value in response.headers.items()
                    if name.lower() not in HOP_BY_HOP and name.lower() != "content-length"
                )
                return BackendAnswer(status=response.status, headers=kept, body=body)
        except aiohttp.ClientConnectorError:
            return BackendDown(reason="refused")
        except TimeoutError:
            return BackendDown(reason="timeout")
        except (aiohttp.ClientError, asyncio.IncompleteReadError, OSError):
            return BackendDown(reason="broken")


@asynccontextmanager
async def open_backend(base_url: str, *, timeout_s: float) -> AsyncIterator[BackendClient]:
    """Open the connection pool to the backend.

    Args:
        base_url: Scheme, host and port; a path is not used.
        timeout_s: How long one request may take as a whole. Senders give up after 5 to 10 s.
    """
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=_MAX_CONNECTIONS),
        timeout=aiohttp.ClientTimeout(total=timeout_s, connect=min(timeout_s, 5.0)),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    ) as session:
        yield BackendClient(session, URL(base_url))
