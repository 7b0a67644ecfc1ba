"""Which headers of a request and of an answer go on, and which are a connection's own.

Nothing is sorted, folded or spelt anew, and what a signature covers stays, since the origin would refuse the
request otherwise.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from signatures.message import Headers

# RFC 9110 section 7.6.1; `Proxy-*` are between the backend and us, whatever they say.
_HOP_BY_HOP: Final = frozenset(
    {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings"}
)
_PROXY: Final = "proxy-"
# RFC 7838: the same origin at another place and in another protocol, to which some clients then go past every
# proxy.
_PAST_US: Final = frozenset({"alt-svc"})
# The gateway has answered the expectation itself (RFC 9110 section 10.1.1).
_ANSWERED_HERE: Final = frozenset({"expect"})
_RANGE: Final = frozenset({"range", "if-range"})
_ACCEPT_ENCODING: Final = "accept-encoding"

# RFC 9421 section 2 (quoted names in parentheses), the draft before it (`headers="…"`), and AWS Signature
# Version 4 (`SignedHeaders=a;b`), by which object stores are asked. A name too many is harmless.
_COMPONENTS: Final = re.compile(r'"([^"]*)"')
_AWS: Final = re.compile(r"SignedHeaders=([^,\s]*)")


def covered_names(headers: Headers) -> frozenset[str]:
    """Name the headers that a signature on a request covers, in lower case."""
    names: set[str] = set()
    for name, value in headers:
        if name.lower() in {"signature", "signature-input", "authorization"}:
            for quoted in _COMPONENTS.findall(value):
                names.update(quoted.lower().split())
            for listed in _AWS.findall(value):
                names.update(listed.lower().split(";"))
    return frozenset(names)


def connection_names(headers: Headers) -> frozenset[str]:
    """Name the headers that a `Connection` header makes a connection's own."""
    return frozenset(
        part.strip().lower()
        for name, value in headers
        if name.lower() == "connection"
        for part in value.split(",")
    )


def build_request_headers(headers: Headers, *, via: str) -> Headers:
    """Build the headers with which the origin is asked.

    Ranges are left out, since only a whole file can be examined, and the body is asked for as it is; both
    unless a signature covers them.

    Args:
        headers: As the backend sent them.
        via: Who we are, by which a loop is known (RFC 9110 section 7.6.3).
    """
    covered = covered_names(headers)
    dropped = (_HOP_BY_HOP | _ANSWERED_HERE | connection_names(headers) | (_RANGE - covered)) - {"host"}
    kept = [
        (name, value)
        for name, value in headers
        if name.lower() not in dropped and not name.lower().startswith(_PROXY)
    ]
    if _ACCEPT_ENCODING not in covered:
        kept = [pair for pair in kept if pair[0].lower() != _ACCEPT_ENCODING]
        kept.append(("Accept-Encoding", "identity"))
    return (*kept, ("Via", f"1.1 {via}"))


def build_answer_headers(headers: Headers, *, without: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    """Build the headers with which the backend is answered: the origin's, but for those of its connection.

    Args:
        headers: As the origin sent them, each octet one character.
        without: Names in lower case that no longer hold.
    """
    dropped = _HOP_BY_HOP | _PAST_US | connection_names(headers) | without
    kept: list[tuple[str, str]] = []
    for name, value in headers:
        lower = name.lower()
        is_second_length = lower == "content-length" and any(one.lower() == lower for one, _ in kept)
        if lower not in dropped and not lower.startswith(_PROXY) and not is_second_length:
            kept.append((name, _as_written(value)))
    return kept


def _as_written(value: str) -> str:
    """Return the text that the server's encoding, UTF-8, turns back into the octets that came."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeDecodeError:
        return value
