"""Ask a source, within bounds, and answer with values whatever comes back.

Every request goes through the guarded client, is exactly one, and follows no redirect: what proves who we are
must not reach a host that the admin did not name. A list server in a private network is named in
`fetch.allow_private`, like everything else there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from relay.backends.retry_after import read_retry_after
from relay.model import FetchFailure
from relay.sources.model import FailureKind, SourceFailure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.sources.credentials import Credentials
    from relay.tools.fetching import GuardedClient

# Servers look through millions of rows before they begin to answer.
_PATIENCE: Final = timedelta(minutes=2)

# What foreign statuses mean to us. Source: RFC 9110, 15, and RFC 6585, 4.
_OK: Final = 200
_NOT_MODIFIED: Final = 304
_MOVED: Final = range(300, 400)
_SERVER_ERRORS: Final = range(500, 600)
# What servers answer to a page that they no longer know.
_NO_SUCH_PAGE: Final = frozenset({400, 404, 410})
_KINDS: Final[Mapping[int, FailureKind]] = MappingProxyType(
    {
        401: FailureKind.UNAUTHORIZED,
        403: FailureKind.FORBIDDEN,
        404: FailureKind.NOT_FOUND,
        408: FailureKind.UNAVAILABLE,
        410: FailureKind.NOT_FOUND,
        425: FailureKind.UNAVAILABLE,
        429: FailureKind.RATE_LIMITED,
    }
)
_SENTENCES: Final[Mapping[FailureKind, str]] = MappingProxyType(
    {
        FailureKind.UNAUTHORIZED: "The list's server does not accept the credentials. Nothing was changed "
        "here. Check them, and whether they are for this server and not for its test system.",
        FailureKind.FORBIDDEN: "The list's server knows us and does not give us this list. Nothing was "
        "changed here. Ask its maker whether your membership covers it.",
        FailureKind.NOT_FOUND: "The list's server has nothing at this address. Nothing was changed here. "
        "Check the address.",
        FailureKind.RATE_LIMITED: "The list's server asks to wait. It is asked again later.",
        FailureKind.UNAVAILABLE: "The list's server cannot answer at the moment. It is asked again later; "
        "until then the list stays as it is.",
        FailureKind.REFUSED: "The list's server refuses the request. Nothing was changed here.",
    }
)
_FETCH_SENTENCES: Final[Mapping[FetchFailure, tuple[FailureKind, str]]] = MappingProxyType(
    {
        FetchFailure.REFUSED_URL: (
            FailureKind.REFUSED,
            (
                "The list's address is none that the relay fetches from. Give an https:// address on port "
                "443, or allow others with fetch.ports and fetch.allow_http."
            ),
        ),
        FetchFailure.REFUSED_ADDRESS: (
            FailureKind.REFUSED,
            (
                "The list's host has a private address, or our own. If that is right, name it in "
                "fetch.allow_private."
            ),
        ),
        FetchFailure.TLS: (
            FailureKind.REFUSED,
            (
                "The list's server cannot prove that it is the one (TLS), so that it was not asked for "
                "anything. Check the address; if it is right, tell the list's maker."
            ),
        ),
        FetchFailure.TOO_LARGE: (
            FailureKind.TOO_LARGE,
            "The answer of the list's server is longer than what is read at once. Nothing was changed here.",
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a source answered.

    Attributes:
        is_unchanged: It has nothing newer than what was asked with; there is no body.
        data: The body.
        sha256: Its digest, 32 bytes.
        headers: By their names in lower case.
    """

    is_unchanged: bool = False
    data: bytes = field(default=b"", repr=False)
    sha256: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a source answered that was no success.

    Attributes:
        data: The body, which may say more than the status does.
        failure: What it means by its status alone.
    """

    data: bytes = field(repr=False)
    failure: SourceFailure


Judge = Callable[[Refusal], SourceFailure | None]
"""Say by its body what a refusal means; None where that says no more than its status does."""


class Asking:
    """Asks the host of one source."""

    def __init__(self, client: GuardedClient, credentials: Credentials) -> None:
        self._client = client
        self._credentials = credentials

    @property
    def token(self) -> str:
        """The access token, for sources that take it as a parameter."""
        return self._credentials.token

    async def get(
        self,
        url: str,
        params: Mapping[str, str] | None = None,
        *,
        max_bytes: int,
        headers: Mapping[str, str] | None = None,
        patience: timedelta = _PATIENCE,
        has_cursor: bool = False,
        judge: Judge | None = None,
    ) -> Reply | SourceFailure:
        """Make one GET request.

        Args:
            url: The whole address, its host the admin's.
            params: Added to it.
            max_bytes: The bound on the body.
            headers: Sent besides the credentials.
            patience: How long the server may take longer than others.
            has_cursor: The page before named what is asked for; servers forget these, and then refuse.
            judge: Knows the far side's own words for a refusal.
        """
        answer = await self._client.request(
            "GET",
            f"{url}{'&' if '?' in url else '?'}{urlencode(params)}" if params else url,
            headers=(("Accept", "*/*"), *self._credentials.headers, *(headers or {}).items()),
            max_bytes=max_bytes,
            patience=patience,
        )
        if isinstance(answer, FetchFailure):
            kind, detail = _FETCH_SENTENCES.get(
                answer, (FailureKind.UNAVAILABLE, _SENTENCES[FailureKind.UNAVAILABLE])
            )
            return SourceFailure(kind=kind, detail=f"{detail} ({answer.value})")
        given = {name.lower(): value for name, value in answer.headers}
        if answer.status == _NOT_MODIFIED:
            return Reply(is_unchanged=True, headers=given)
        if answer.status != _OK:
            by_status = _judge(answer.status, given, has_cursor=has_cursor)
            refusal = Refusal(data=answer.body.data, failure=by_status)
            return (judge(refusal) if judge is not None else None) or by_status
        if given.get("content-encoding", "identity").lower() not in ("", "identity"):
            # It was asked for identity; what is packed all the same may be a bomb.
            return SourceFailure(
                kind=FailureKind.MALFORMED,
                detail="The list's server packs its answer although it was asked not to. Tell its maker.",
            )
        return Reply(data=answer.body.data, sha256=answer.body.sha256, headers=given)


def _judge(status: int, headers: Mapping[str, str], *, has_cursor: bool) -> SourceFailure:
    if status in _MOVED:
        return SourceFailure(
            kind=FailureKind.REFUSED,
            detail="The list's server sends us to another address, which is not followed, because our "
            "credentials are for this one. Ask its maker for the right address, and add the list with it.",
        )
    usual = FailureKind.UNAVAILABLE if status in _SERVER_ERRORS else FailureKind.REFUSED
    kind = _KINDS.get(status, usual)
    failure = SourceFailure(kind=kind, detail=f"{_SENTENCES[kind]} (HTTP {status})")
    if has_cursor and status in _NO_SUCH_PAGE:
        return SourceFailure(kind=FailureKind.CURSOR, detail=failure.detail)
    if not failure.may_pass:
        return failure
    return SourceFailure(kind=kind, detail=failure.detail, retry_after=read_retry_after(headers))
