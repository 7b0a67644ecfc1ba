"""Speak JSON with an API that the admin named, within bounds, and answer with values whatever comes back.

The guarded client does not fit here for the reason given in `client`: the address is the admin's own and
private more often than not. So nothing that a stranger wrote may choose where a request goes: paths are ours,
strangers' ids travel as parameters, and redirects are not followed.
"""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx

from relay.backends.abilities import ApiFailure, Refusal
from relay.backends.reading import dig
from relay.backends.retry_after import read_retry_after

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from relay.backends.reading import Json

# A server in the same room takes a connection in milliseconds.
_MAX_CONNECT_S: Final = 5.0
# To resolve an object the backend asks its origin first, more than once, and Mastodon waits 10 s each time.
_MAX_TOTAL_S: Final = 30.0
# Lemmy's description of a site names every custom emoji and every language; nothing else comes near.
_MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
# A backend has to serve people at the same time.
_MAX_CONNECTIONS: Final = 4

_CODE: Final = re.compile(r"[\w .,'-]{1,100}", re.ASCII)
"""A server's own word for a failure; an address or a digest is none."""

NOT_THE_API: Final = "not_the_api"
"""The code of a failure where something else than the API answered."""

# What other servers' statuses mean to us. Source: RFC 9110, 15, and RFC 6585, 4.
_OK: Final = range(200, 300)
_MOVED: Final = range(300, 400)
_STATUSES: Final[Mapping[int, Refusal]] = MappingProxyType(
    {
        401: Refusal.UNAUTHORIZED,
        403: Refusal.FORBIDDEN,
        404: Refusal.NOT_FOUND,
        408: Refusal.UNAVAILABLE,
        409: Refusal.UNAVAILABLE,
        410: Refusal.NOT_FOUND,
        429: Refusal.RATE_LIMITED,
        501: Refusal.NOT_SUPPORTED,
    }
)
_FIRST_SERVER_ERROR: Final = 500

_SENTENCES: Final[Mapping[Refusal, str]] = MappingProxyType(
    {
        Refusal.NOT_SUPPORTED: "{server} has no such function",
        Refusal.UNAUTHORIZED: "{server} does not accept {credential}; make a new one there and configure it",
        Refusal.FORBIDDEN: "{server} does not let {credential} do this; see `breakwater doctor`",
        Refusal.NOT_FOUND: "{server} does not have it, and could not get it from its origin",
        Refusal.RATE_LIMITED: "{server} asks to wait",
        Refusal.UNAVAILABLE: "{server} cannot do it at the moment",
        Refusal.REFUSED: "{server} refuses it",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiPlace:
    """Where an API is, and how it is asked.

    Attributes:
        base_url: Scheme, host, port and perhaps a path.
        host: The public host name, for servers that answer by name; empty for that of `base_url`.
        headers: What goes with every request, the credential above all.
        server: What a sentence calls it.
        credential: What a sentence calls the credential.
        codes: The server's own words that say more than its status does.
    """

    base_url: str
    host: str = ""
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    server: str = "the backend"
    credential: str = "backend.token"
    codes: Mapping[str, Refusal] = field(default_factory=lambda: MappingProxyType({}), repr=False)

    def fail(self, kind: Refusal, *, why: str = "", code: str = "") -> ApiFailure:
        """Write a failure; `why` is put in brackets behind its sentence."""
        sentence = _SENTENCES[kind].format(server=self.server, credential=self.credential)
        return ApiFailure(kind=kind, detail=f"{sentence} ({why})" if why else sentence, code=code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A file that an API gave out.

    Attributes:
        data: Its bytes.
        content_type: What the server calls it.
    """

    data: bytes = field(repr=False)
    content_type: str


class ApiClient:
    """Ask one API."""

    def __init__(self, place: ApiPlace, http: httpx.AsyncClient) -> None:
        self.place = place
        self._http = http

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Json | ApiFailure:
        """Ask for a document."""
        return await self._ask("GET", path, params=params)

    async def post(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        document: Mapping[str, object] | None = None,
        form: Mapping[str, str | list[str]] | None = None,
    ) -> Json | ApiFailure:
        """Send a document or a form; an answer without a body is None."""
        return await self._ask("POST", path, params=params, document=document, form=form)

    async def fetch(self, path: str, *, max_bytes: int) -> Fetched | ApiFailure:
        """Fetch a file; one that is longer than the bound is refused."""
        answer = await self._read(self._http.build_request("GET", path), max_bytes=max_bytes)
        if isinstance(answer, ApiFailure):
            return answer
        status, headers, body = answer
        if status not in _OK:
            return self._judge(status, headers, _parse(body))
        return Fetched(data=body, content_type=headers.get("content-type", ""))

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        document: Mapping[str, object] | None = None,
        form: Mapping[str, str | list[str]] | None = None,
    ) -> Json | ApiFailure:
        try:
            request = self._http.build_request(method, path, params=params, json=document, data=form)
        except UnicodeError:
            # JSON can name characters that no URL can carry.
            return self.place.fail(Refusal.REFUSED, why="an id that cannot be written")
        answer = await self._read(request, max_bytes=_MAX_ANSWER_BYTES)
        if isinstance(answer, ApiFailure):
            return answer
        status, headers, body = answer
        value = _parse(body)
        if status not in _OK:
            return self._judge(status, headers, value)
        if isinstance(value, _NotJson):
            why = "something else than its API answers; check the address"
            return self.place.fail(Refusal.UNAVAILABLE, why=why, code=NOT_THE_API)
        return value

    async def _read(
        self, request: httpx.Request, *, max_bytes: int
    ) -> tuple[int, httpx.Headers, bytes] | ApiFailure:
        """Send a request and read the whole answer."""
        try:
            async with asyncio.timeout(_MAX_TOTAL_S):
                answer = await self._http.send(request, stream=True)
                try:
                    body = bytearray()
                    async for part in answer.aiter_raw():
                        body += part
                        if len(body) > max_bytes:
                            return self.place.fail(Refusal.REFUSED, why="its answer is too long")
                finally:
                    await answer.aclose()
        except (TimeoutError, httpx.TimeoutException):
            return self.place.fail(Refusal.UNAVAILABLE, why="no answer in time")
        except (httpx.HTTPError, httpx.StreamError, OSError):
            return self.place.fail(Refusal.UNAVAILABLE, why="no connection, or a broken one")
        return answer.status_code, answer.headers, bytes(body)

    def _judge(self, status: int, headers: httpx.Headers, value: Json | _NotJson) -> ApiFailure:
        """Turn an answer that is no success into a failure."""
        code = "" if isinstance(value, _NotJson) else find_code(value)
        if status in _MOVED:
            return self.place.fail(
                Refusal.REFUSED, why="it sends us to another address; check its configured one"
            )
        usual = Refusal.UNAVAILABLE if status >= _FIRST_SERVER_ERROR else Refusal.REFUSED
        kind = self.place.codes.get(code) or _STATUSES.get(status, usual)
        failure = self.place.fail(kind, why=f"HTTP {status}", code=code)
        return replace(failure, retry_after=read_retry_after(headers)) if failure.may_pass else failure


class _NotJson:
    """What is no JSON."""


def _parse(body: bytes) -> Json | _NotJson:
    if not body.strip():
        return None
    try:
        value: Json = json.loads(body)
    except (ValueError, RecursionError):
        return _NotJson()
    return value


def find_code(value: Json) -> str:
    """Find a server's own short word for a failure; empty where it gave none.

    Mastodon, GoToSocial and Lemmy say `{"error": "word"}`, Misskey `{"error": {"code": "WORD"}}`, PieFed
    `{"message": "word"}`, pict-rs `{"code": "word"}`.
    """
    for found in (
        dig(value, "error"),
        dig(value, "error", "code"),
        dig(value, "message"),
        dig(value, "code"),
    ):
        if isinstance(found, str) and _CODE.fullmatch(found):
            return found
    return ""


@asynccontextmanager
async def open_api(place: ApiPlace) -> AsyncIterator[ApiClient]:
    """Open the client of one API.

    Raises:
        ValueError: The address is none.
    """
    parts = urlsplit(place.base_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("the address of an API begins with http:// or https:// and names a host")
    headers = {"User-Agent": "breakwater", "Accept": "application/json", "Accept-Encoding": "identity"}
    if place.host:
        headers["Host"] = place.host
    if parts.scheme == "http":
        # Behind a reverse proxy servers send whoever comes without TLS to their public address.
        headers["X-Forwarded-Proto"] = "https"
    async with httpx.AsyncClient(
        base_url=place.base_url,
        # As bytes: a token that is no ASCII is for the server to refuse.
        headers={name.encode(): value.encode() for name, value in {**headers, **place.headers}.items()},
        timeout=httpx.Timeout(_MAX_TOTAL_S, connect=_MAX_CONNECT_S),
        limits=httpx.Limits(max_connections=_MAX_CONNECTIONS),
        follow_redirects=False,
        trust_env=False,
    ) as http:
        yield ApiClient(place, http)
