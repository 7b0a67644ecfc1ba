"""Read a request at the edge: raw where signatures need it raw, refused where it is ambiguous.

Nothing is normalised. A path that two servers could read differently, a header that is not text, a
target that is not in origin form: each is refused before anything else looks at it.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from relay.errors import BreakwaterError
from signatures.message import Headers, RequestMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

# Encoded separators and dots, repeated slashes, backslashes, path parameters, NUL: nginx, Rails and
# actix do not agree on what these mean. (No IGNORECASE: letters outside ASCII fold to i, k and s.)
_AMBIGUOUS: Final = re.compile(
    r"%2[eEfF5]|%5[cC]|%00|//|\\|;|/\.{1,2}(?:/|$)|[^\x21-\x7e]",
)

# Whatever runs behind us, an inbox's path ends in one of these words. A list of the known servers' paths
# would one day tell a sender that an inbox does not exist, and some forget a whole instance over that.
_INBOX: Final = re.compile(r"(?:/[^/?]+)*/(?:inbox|shared-inbox|site_inbox)/?")

# What a request must not tell us itself: our own names, and what only a trusted proxy may say.
_STRIPPED_PREFIXES: Final = ("x-forwarded-", "breakwater-")
# RFC 9110, 10.1.1: the body has arrived, so the expectation is met; passed on, it would make the backend's
# connection wait for a word that no inbox says.
_STRIPPED: Final = frozenset({"forwarded", "x-real-ip", "expect"})


class AmbiguousRequestError(BreakwaterError):
    """Two servers could read this request differently."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A request as it came in.

    Attributes:
        message: The raw request; forwarding headers already replaced by our own.
        remote_address: Who sent it, seen through the trusted proxies.
    """

    message: RequestMessage
    remote_address: str


def is_inbox(target: str) -> bool:
    """Tell whether a raw request target is that of an inbox."""
    return _INBOX.fullmatch(target.partition("?")[0]) is not None


def is_ambiguous(target: str) -> bool:
    """Tell whether two servers could read a raw request target differently."""
    # RFC 9112, 3.2: no form of a request target has a fragment. Whoever cuts one off sees another path.
    is_origin_form = target.startswith("/") and "#" not in target
    return not is_origin_form or _AMBIGUOUS.search(target.partition("?")[0]) is not None


def parse_arrival(request: web.BaseRequest, body: bytes, *, trusted_proxies: Sequence[Network]) -> Arrival:
    """Parse what the HTTP server read into a message that can be verified and forwarded.

    Raises:
        AmbiguousRequestError: The target or a header can be read in two ways.
    """
    target = request.raw_path
    if is_ambiguous(target):
        raise AmbiguousRequestError("the path")
    headers = _parse_headers(request)
    socket_peer = _socket_peer(request)
    is_trusted = _is_trusted(socket_peer, trusted_proxies)
    remote, scheme = socket_peer, request.scheme
    if is_trusted:
        remote = _last_untrusted(headers, socket_peer, trusted_proxies)
        scheme = _forwarded_scheme(headers) or scheme
    kept = tuple((name, value) for name, value in headers if not _is_stripped(name))
    message = RequestMessage(
        method=request.method,
        scheme=scheme,
        authority=request.headers.get("Host", ""),
        target=target,
        headers=(
            *kept,
            ("X-Forwarded-For", remote),
            ("X-Forwarded-Proto", scheme),
            ("X-Real-IP", remote),
        ),
        body=body,
    )
    return Arrival(message=message, remote_address=remote)


def _parse_headers(request: web.BaseRequest) -> Headers:
    try:
        headers = tuple((name.decode("ascii"), value.decode()) for name, value in request.raw_headers)
    except UnicodeDecodeError as error:
        raise AmbiguousRequestError("a header is not text") from error
    names = [name.lower() for name, _ in headers]
    # RFC 9112, 6.1 and 6.3: either of these is how requests are smuggled past a proxy.
    if "content-length" in names and "transfer-encoding" in names:
        raise AmbiguousRequestError("both Content-Length and Transfer-Encoding")
    for name in ("content-length", "host"):
        if names.count(name) > 1:
            raise AmbiguousRequestError(f"two {name} headers")
    return headers


def _is_stripped(name: str) -> bool:
    # CGI and its heirs read an underscore as a hyphen, so that either would reach the backend's code.
    plain = name.lower().replace("_", "-")
    return plain in _STRIPPED or plain.startswith(_STRIPPED_PREFIXES)


def _socket_peer(request: web.BaseRequest) -> str:
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    return str(peer[0]) if isinstance(peer, tuple) else ""


def _is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in trusted)


def _last_untrusted(headers: Headers, socket_peer: str, trusted: Sequence[Network]) -> str:
    """Walk X-Forwarded-For from its end, past the proxies we trust, to the first that we do not."""
    hops = [
        hop.strip()
        for name, value in headers
        if name.lower() == "x-forwarded-for"
        for hop in value.split(",")
    ]
    for hop in reversed(hops):
        try:
            ipaddress.ip_address(hop)
        except ValueError:
            return socket_peer
        if not _is_trusted(hop, trusted):
            return hop
    return hops[0] if hops else socket_peer


def _forwarded_scheme(headers: Headers) -> str | None:
    for name, value in headers:
        if name.lower() == "x-forwarded-proto":
            return value.strip().lower() if value.strip().lower() in {"http", "https"} else None
    return None
