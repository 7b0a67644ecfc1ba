"""Read a URL that a stranger chose, once and strictly.

What leaves here is unambiguous: every later step (the address check, the dialled name, the `Host`
header, the certificate check, a signature's target) reads the same four fields, never the text again.
Where programs are known to disagree about what a text means, it is refused, not repaired.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, Literal, cast
from urllib.parse import quote, urljoin

import idna

from relay.errors import BreakwaterError

# RFC 9110 section 4.1: "It is RECOMMENDED that all senders and recipients support, at a minimum, URIs
# with lengths of 8000 octets in protocol elements." Longer ones are no media anybody serves.
MAX_URL_CHARACTERS: Final = 8000
# RFC 1035 section 2.3.4.
MAX_HOST_CHARACTERS: Final = 253
MAX_PORT: Final = 65_535
DEFAULT_PORTS: Final = {"https": 443, "http": 80}

_PARTS = re.compile(r"(https?)://([^/?#]*)([^#]*)(?:#.*)?", re.IGNORECASE | re.DOTALL)
# C0 controls with tab, newline and NUL, DEL, C1 controls, and the backslash, which browsers read as a
# slash and other programs do not.
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")
_BRACKETED = re.compile(r"\[([0-9a-f:.]+)\](?::([0-9]{0,5}))?", re.IGNORECASE)
_NAMED = re.compile(r"([^:@\[\]]+)(?::([0-9]{0,5}))?")
# RFC 1123 section 2.1, and the underscore, which real hosts have in spite of it.
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
# What RFC 3986 lets stand in a path and a query, and the brackets, which servers know there; `%` stays, so
# that what was encoded stays as it is.
_TARGET_SAFE: Final = "%/?:@!$&'()*+,;=-._~[]"

# Every delivery names its sender's host several times, and an instance hears from thousands of hosts. At
# 8,000 characters each, the longest that is parsed, they take 16 MB.
_MAX_REMEMBERED_AUTHORITIES: Final = 2_048


Origin = tuple[str, str, int]
"""Scheme, host and port (RFC 6454)."""


class MalformedUrlError(BreakwaterError):
    """A text is no URL that the relay would follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchUrl:
    """An absolute http(s) URL, without userinfo and fragment.

    Attributes:
        scheme: "https" or "http".
        host: Lower case; a name in its ASCII form, or the canonical text of an address, IPv6 without
            brackets.
        port: 1 to 65535.
        target: The origin-form request target, ASCII, beginning with a slash.
    """

    scheme: Literal["https", "http"]
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """The value of the `Host` header: the port stands there unless it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> Origin:
        """What the same-origin rules compare."""
        return self.scheme, self.host, self.port

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """The address, if the host is a literal one."""
        if ":" in self.host:
            return IPv6Address(self.host)
        if self.host[-1].isdigit() and _NUMERIC_LABEL.fullmatch(self.host.rpartition(".")[2]):
            return IPv4Address(self.host)
        return None

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def parse_url(text: str) -> FetchUrl:
    """Read an absolute http(s) URL.

    A fragment is dropped, since it is never sent. Characters outside ASCII and spaces in the path and
    query are percent-encoded as UTF-8 (RFC 3987 section 3.1), and a question mark with nothing behind it
    is dropped, because HTTP libraries drop it; nothing else of them is changed, dot segments included.

    Raises:
        MalformedUrlError: The text is too long; holds control characters, a backslash, userinfo, an
            empty, over-long or impossible host, an IPv6 zone, an IPv4 address in any but its canonical
            form, or a port outside 1 to 65535; or is no http(s) URL at all.
    """
    if len(text) > MAX_URL_CHARACTERS:
        raise MalformedUrlError("The URL is too long.")
    if _FORBIDDEN.search(text):
        raise MalformedUrlError("The URL holds a control character or a backslash.")
    parts = _PARTS.fullmatch(text)
    if parts is None:
        raise MalformedUrlError("This is no absolute http(s) URL.")
    scheme = cast("Literal['https', 'http']", parts[1].lower())
    if "@" in parts[2]:
        raise MalformedUrlError("The URL holds userinfo.")
    host, port_text = _split_authority(parts[2])
    port = int(port_text) if port_text else DEFAULT_PORTS[scheme]
    if not 1 <= port <= MAX_PORT:
        raise MalformedUrlError("The port is out of range.")
    return FetchUrl(scheme=scheme, host=host, port=port, target=_encode_target(parts[3]))


def parse_redirect(base: FetchUrl, location: str) -> FetchUrl:
    """Read the value of a `Location` header against the URL that was asked for.

    Raises:
        MalformedUrlError: As for `parse_url`.
    """
    if len(location) > MAX_URL_CHARACTERS or _FORBIDDEN.search(location):
        raise MalformedUrlError("The redirect's target is no URL.")
    try:
        joined = urljoin(str(base), location)
    except ValueError as error:
        raise MalformedUrlError("The redirect's target is no URL.") from error
    return parse_url(joined)


def is_same_origin(first: str, second: str) -> bool:
    """Tell whether two URLs are of one scheme, host and port; False if either cannot be read."""
    try:
        return parse_url(first).origin == parse_url(second).origin
    except MalformedUrlError:
        return False


@lru_cache(maxsize=_MAX_REMEMBERED_AUTHORITIES)
def _split_authority(authority: str) -> tuple[str, str | None]:
    bracketed = _BRACKETED.fullmatch(authority)
    if bracketed is not None:
        try:
            return str(IPv6Address(bracketed[1])), bracketed[2]
        except AddressValueError as error:
            raise MalformedUrlError("The IPv6 address cannot be read.") from error
    named = _NAMED.fullmatch(authority)
    if named is None:
        raise MalformedUrlError("The host cannot be read.")
    return _normalize_name(named[1]), named[2]


def _normalize_name(text: str) -> str:
    host = text.lower()
    if not host.isascii():
        try:
            # UTS 46 maps full-width digits and the ideographic full stop; the check below then sees them.
            host = idna.encode(host, uts46=True, std3_rules=True).decode("ascii")
        except (idna.IDNAError, UnicodeError) as error:
            raise MalformedUrlError("The host is no internationalized name.") from error
    if len(host) > MAX_HOST_CHARACTERS:
        raise MalformedUrlError("The host is too long.")
    labels = host.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise MalformedUrlError("The host is no name.")
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        # The URL standard's "ends in a number" rule: resolvers take 2130706433, 0x7f000001 and 127.1 for
        # addresses, so that only the one canonical form may pass.
        try:
            canonical = str(IPv4Address(host))
        except AddressValueError as error:
            raise MalformedUrlError("The host is a number but no IPv4 address.") from error
        if canonical != text:
            raise MalformedUrlError("The IPv4 address is not in its canonical form.")
    return host


def _encode_target(text: str) -> str:
    try:
        target = quote(text, safe=_TARGET_SAFE)
    except UnicodeEncodeError as error:
        raise MalformedUrlError("The URL holds half a character.") from error
    if target.find("?") == len(target) - 1:
        target = target.removesuffix("?")
    return target if target.startswith("/") else f"/{target}"
