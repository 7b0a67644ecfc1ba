"""Speak JSON with a service that the admin named, within bounds, and answer with values whatever comes back.

The guarded client does not fit here for the reason given in `relay.backends.client`: the address is the
admin's own. Nothing that a stranger wrote chooses where a request goes, redirects are not followed, and what
the service says in words is neither logged nor shown.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import httpx

from relay.backends.retry_after import read_retry_after
from relay.services.answers import Failed, FailureKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from relay.backends.reading import Json

MAX_CONNECTIONS: Final = 8
"""Requests to one service at once: at half a second each a thousand a minute, more than any small server has
media."""

# Shield's near matches of one video are the longest answers; a thousand of them take a third of this.
_MAX_ANSWER_BYTES: Final = 1_048_576

_HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {"User-Agent": "breakwater", "Accept": "application/json", "Accept-Encoding": "identity"}
)

_OK: Final = range(200, 300)
_FIRST_SERVER_ERROR: Final = 500

# What other servers' statuses mean to us. Source: RFC 9110, 15, and RFC 6585, 4.
_STATUSES: Final[Mapping[int, FailureKind]] = MappingProxyType(
    {
        400: FailureKind.REFUSED,
        401: FailureKind.UNAUTHORIZED,
        403: FailureKind.UNAUTHORIZED,
        408: FailureKind.SERVER_ERROR,
        413: FailureKind.REFUSED,
        415: FailureKind.REFUSED,
        422: FailureKind.REFUSED,
        429: FailureKind.RATE_LIMITED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a service is, and how it is asked.

    Attributes:
        url: Scheme, host, port and perhaps a path.
        headers: What goes with every request, the credential above all.
        auth: The name and the password, where it asks for them.
        timeout_s: How long one answer may take, from the first byte that is sent to the last one read.
    """

    url: str
    timeout_s: float
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    auth: tuple[str, str] | None = field(default=None, repr=False)


class ServiceHttp:
    """Ask one service."""

    def __init__(self, http: httpx.AsyncClient, *, timeout_s: float) -> None:
        self._http = http
        self._timeout_s = timeout_s

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Json | Failed:
        """Ask for a document."""
        return _parse(await self._send(self._http.build_request("GET", path, params=params)))

    async def get_text(self, path: str) -> str | Failed:
        """Ask for a few words."""
        answer = await self._send(self._http.build_request("GET", path))
        return answer if isinstance(answer, Failed) else answer.decode("utf-8", "replace")

    async def post_media(
        self, path: str, data: bytes, *, media_type: str, params: Mapping[str, str] | None = None
    ) -> Json | Failed:
        """Send the bytes of media as they are."""
        headers = {"Content-Type": media_type}
        return _parse(
            await self._send(
                self._http.build_request("POST", path, content=data, headers=headers, params=params)
            )
        )

    async def post_form(self, path: str, data: bytes, *, media_type: str, name: str) -> Json | Failed:
        """Send the bytes of media as the file of a form; its name says nothing."""
        files = {name: ("media", data, media_type)}
        return _parse(await self._send(self._http.build_request("POST", path, files=files)))

    async def post(
        self, path: str, document: Mapping[str, object], *, params: Mapping[str, str] | None = None
    ) -> Json | Failed:
        """Send a document."""
        return _parse(await self._send(self._http.build_request("POST", path, json=document, params=params)))

    async def _send(self, request: httpx.Request) -> bytes | Failed:
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._http.send(request, stream=True)
                try:
                    body = bytearray()
                    async for part in answer.aiter_raw():
                        body += part
                        if len(body) > _MAX_ANSWER_BYTES:
                            return Failed(kind=FailureKind.MALFORMED)
                finally:
                    await answer.aclose()
        except (TimeoutError, httpx.TimeoutException):
            return Failed(kind=FailureKind.TIMEOUT)
        except (httpx.HTTPError, httpx.StreamError, OSError):
            return Failed(kind=FailureKind.UNREACHABLE)
        if answer.status_code in _OK:
            return bytes(body)
        return _judge(answer.status_code, answer.headers)


def _judge(status: int, headers: httpx.Headers) -> Failed:
    """Turn an answer that is no success into a failure."""
    wait = read_retry_after(headers)
    if status >= _FIRST_SERVER_ERROR:
        return Failed(kind=FailureKind.SERVER_ERROR, retry_after=wait)
    kind = _STATUSES.get(status, FailureKind.MALFORMED)
    if kind is FailureKind.UNAUTHORIZED and wait is not None:
        # A gateway in front of a service says so of a quota that is used up; a wrong key gets no better.
        kind = FailureKind.RATE_LIMITED
    return Failed(kind=kind, retry_after=wait)


def _parse(body: bytes | Failed) -> Json | Failed:
    if isinstance(body, Failed):
        return body
    try:
        value: Json = json.loads(body)
    except (ValueError, RecursionError):
        return Failed(kind=FailureKind.MALFORMED)
    return value


@asynccontextmanager
async def open_http(address: Address) -> AsyncIterator[ServiceHttp]:
    """Open the client of one service."""
    async with httpx.AsyncClient(
        base_url=address.url,
        auth=address.auth,
        # As bytes: a key that is no ASCII is for the service to refuse.
        headers={name.encode(): value.encode() for name, value in {**_HEADERS, **address.headers}.items()},
        timeout=httpx.Timeout(address.timeout_s),
        limits=httpx.Limits(max_connections=MAX_CONNECTIONS),
        follow_redirects=False,
        trust_env=False,
    ) as http:
        yield ServiceHttp(http, timeout_s=address.timeout_s)
