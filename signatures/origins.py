"""Origins of identifiers, for the rule that only an origin speaks for itself (FEP-fe34)."""

from __future__ import annotations

import re
from typing import Final

from signatures.errors import MalformedError

# The usual limit of URLs in the wild; identifiers of relays take about a hundred characters.
MAX_URL_CHARS: Final = 2_048

# One spelling a URL: lower-case scheme and host, no user, no default port, visible ASCII, and no backslash
# or quote, which readers disagree about.
_URL: Final = re.compile(
    r"(https?)://([a-z0-9-]+(?:\.[a-z0-9-]+)*|\[[0-9a-f:]+\])(:[1-9][0-9]{0,4})?(/[!$%&'()*+,\-./0-9:;=?@A-Z_a-z~]*)?"
    r"(?:#[!$%&'()*+,\-./0-9:;=?@A-Z_a-z~]*)?"
)
_DEFAULT_PORTS: Final = {"https": ":443", "http": ":80"}


def parse_origin(url: object, *, allow_http: bool = False) -> str:
    """Return scheme, host and port of an absolute URL, as one string that compares.

    Raises:
        MalformedError: it is not an https URL (or http, where allowed) in its one spelling.
    """
    match = _URL.fullmatch(url) if isinstance(url, str) and len(url) <= MAX_URL_CHARS else None
    if match is None:
        raise MalformedError("an identifier that is not a URL in its plain form")
    scheme, host, port, _ = match.groups(default="")
    if scheme == "http" and not allow_http:
        raise MalformedError("an identifier that is not https")
    if port == _DEFAULT_PORTS[scheme]:
        raise MalformedError("an identifier with the default port in it")
    return f"{scheme}://{host}{port}"


def without_fragment(url: str) -> str:
    """Return the URL up to its fragment: the document that a key id lies in."""
    return url.partition("#")[0]
