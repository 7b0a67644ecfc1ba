"""Read the head of a CONNECT request, strictly; whatever two programs could read differently is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.errors import BreakwaterError
from relay.tools.urls import FetchUrl, MalformedUrlError, parse_url

if TYPE_CHECKING:
    from signatures.message import Headers

# RFC 9110 section 9.3.6: "A client MUST send the port number even if the CONNECT request is based on a URI
# reference that contains an authority component with an elided port".
_REQUEST_LINE: Final = re.compile(r"CONNECT ([^ /?#@]+:[0-9]{1,5}) HTTP/1\.[01]")
# RFC 9110 section 5.6.2 (a token) and 5.5 (no control characters in a value but the tab).
_FIELD: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")


class MalformedConnectError(BreakwaterError):
    """The head is no CONNECT request that can be read in one way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connect:
    """What a CONNECT asks for.

    Attributes:
        target: The https origin at its host and port; its request target means nothing.
        headers: What stood below.
    """

    target: FetchUrl
    headers: Headers


def parse_connect(head: bytes) -> Connect:
    """Read a head that ends with an empty line.

    Raises:
        MalformedConnectError: It is none; the host or port cannot be read; a line is folded or broken; a body
            is announced.
    """
    text = head.decode("latin-1")
    lines = text.removesuffix("\r\n\r\n").split("\r\n")
    asked = _REQUEST_LINE.fullmatch(lines[0])
    if asked is None:
        raise MalformedConnectError("This is no CONNECT request.")
    fields = [_FIELD.fullmatch(line) for line in lines[1:]]
    headers = tuple((field[1], field[2]) for field in fields if field is not None)
    if len(headers) != len(fields):
        raise MalformedConnectError("A header cannot be read.")
    if any(name.lower() == "transfer-encoding" for name, _ in headers) or any(
        value != "0" for name, value in headers if name.lower() == "content-length"
    ):
        raise MalformedConnectError("A CONNECT has no body.")
    try:
        target = parse_url(f"https://{asked[1]}/")
    except MalformedUrlError as error:
        raise MalformedConnectError("The host or port cannot be read.") from error
    return Connect(target=target, headers=headers)
