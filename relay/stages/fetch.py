"""Get the bytes that a media reference points at."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import unquote_to_bytes

from relay.model import FetchFailure, Media, MediaReference

if TYPE_CHECKING:
    from relay.tools.transfers import Reserve

# RFC 2397 section 3. A comma inside a quoted parameter would end the media type early; nobody quotes there.
_DATA_URI: Final = re.compile(r"data:([^,]*),(.*)", re.IGNORECASE | re.DOTALL)
_BASE64_MARK: Final = re.compile(r";[ ]*base64[ ]*$", re.IGNORECASE)
_WHITESPACE: Final = re.compile(rb"[ \t\r\n]+")
# RFC 2397 section 2: "If <mediatype> is omitted, it defaults to text/plain;charset=US-ASCII."
_DEFAULT_TYPE: Final = "text/plain"
# Three octets take four base64 characters, each of which may be written as three (%41).
_CHARACTERS_PER_OCTET: Final = 4


class MediaSource(Protocol):
    """What fetches media."""

    async def fetch_media(
        self, url: str, *, max_bytes: int | None = None, reserve: Reserve | None = None
    ) -> Media | FetchFailure:
        """Fetch the bytes behind an http(s) URL."""
        ...


async def fetch(
    reference: MediaReference, *, client: MediaSource, max_bytes: int, reserve: Reserve | None = None
) -> Media | FetchFailure:
    """Get the bytes of a media reference, over the network or out of the reference itself.

    Args:
        reference: What is pointed at.
        client: What fetches.
        max_bytes: The bound on the bytes.
        reserve: Waits for room in memory for the bytes as they arrive.

    Not checked here: that the bytes are what the reference or the origin declares.
    """
    if reference.url[:5].lower() == "data:":
        return read_data_uri(reference.url, max_bytes=max_bytes)
    return await client.fetch_media(reference.url, max_bytes=max_bytes, reserve=reserve)


def read_data_uri(uri: str, *, max_bytes: int) -> Media | FetchFailure:
    """Decode the bytes that a `data:` URI carries (RFC 2397).

    Returns:
        The media; TOO_LARGE for more than `max_bytes`; MALFORMED where two programs could decode
        different bytes.
    """
    parts = _DATA_URI.fullmatch(uri)
    if parts is None:
        return FetchFailure.MALFORMED
    if "#" in parts[2]:
        # Browsers end the data here, other programs do not.
        return FetchFailure.MALFORMED
    if len(parts[2]) > max_bytes * _CHARACTERS_PER_OCTET + _CHARACTERS_PER_OCTET:
        return FetchFailure.TOO_LARGE
    head, count = _BASE64_MARK.subn("", parts[1])
    try:
        # RFC 3986 section 2.1: outside ASCII nothing stands for itself in a URI.
        data = unquote_to_bytes(parts[2].encode("ascii"))
        if count:
            data = _decode_base64(data)
    except (UnicodeEncodeError, binascii.Error):
        return FetchFailure.MALFORMED
    if len(data) > max_bytes:
        return FetchFailure.TOO_LARGE
    declared = head.partition(";")[0].strip(" ").lower()
    return Media(
        data=data,
        sha256=hashlib.sha256(data).digest(),
        content_type=declared or _DEFAULT_TYPE,
    )


def _decode_base64(text: bytes) -> bytes:
    """Decode base64 strictly, but for line breaks and missing padding, about which programs agree.

    Raises:
        binascii.Error: It is not base64.
    """
    joined = _WHITESPACE.sub(b"", text)
    padded = joined + b"=" * (-len(joined) % 4)
    return base64.b64decode(padded, validate=True)
