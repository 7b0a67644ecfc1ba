"""Tell from its first bytes whether an answer may be media.

Not what the origin says decides, but what a program would find that looks at the bytes itself; and where the
origin says that it is media, that is believed too. Only what is known to be something else passes.
"""

from __future__ import annotations

import re
from typing import Final

from scanner.sniff import Family, MediaType, family, sniff

WINDOW_BYTES: Final = 4_096
"""How much of the beginning is looked at: four times what text formats are looked for in."""

_MEDIA_FAMILIES: Final = frozenset((Family.IMAGE, Family.VIDEO, Family.AUDIO))
# Playlists and manifests are text that names media; what they name is fetched, and examined then.
_LISTS: Final = frozenset((MediaType.HLS, MediaType.PLAYLIST, MediaType.DASH))
_PAGES: Final = frozenset(("text/html", "application/xhtml+xml"))
_TEXTUAL: Final = re.compile(
    r"text/.+|application/(?:.+\+)?(?:json|xml|javascript|x-www-form-urlencoded|graphql|yaml)|"
    r"application/(?:x-)?(?:ndjson|mpegurl|vnd\.apple\.mpegurl)|application/jrd\+json"
)
# These begin with letters that a text may begin with as well. A BMP, however small, has zeros in its header;
# a QuickTime file without `ftyp` has a length there, and a transport stream a mark in every packet.
_WEAK: Final = frozenset((MediaType.BMP, MediaType.QUICKTIME, MediaType.MPEG_TS))
_PACKET_BYTES: Final = 188  # Source: ISO/IEC 13818-1, 2.4.3.2.
_SYNC: Final = 0x47
# Pictures that are written as text, or begin with as much of it as their maker likes: PNM, XPM, XBM, FITS.
# Image libraries open them by these marks, whatever they are called.
_WRITTEN_PICTURES: Final = re.compile(
    rb"P[1-6Ff][ \t\r\n]+[-#0-9]|P7[ \t\r\n]+[#A-Z]|/\* XPM|\s*#define[ \t]+\w+_width|SIMPLE  =|Image type:"
)
# What no text has in any encoding but UTF-16 and UTF-32: tab, line ends, form feed and the escape of ISO-2022
# are the only controls in use.
_BINARY: Final = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_WIDE_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")


def may_be_media(window: bytes, declared_type: str | None) -> bool:
    """Tell whether a body that begins like this must be examined before it is delivered.

    Args:
        window: The first `WINDOW_BYTES`, or all of a shorter body; inside any content coding.
        declared_type: What the origin says, lower case, without parameters.
    """
    if not window:
        return False
    declared = declared_type or ""
    if declared.partition("/")[0] in ("image", "video", "audio", "multipart"):
        return declared not in _LIST_TYPES or sniff(window) not in _LISTS
    found = sniff(window)
    is_textual = _TEXTUAL.fullmatch(declared) is not None
    if found is MediaType.POSTSCRIPT or _WRITTEN_PICTURES.match(window):
        return True
    if found is MediaType.SVG:
        return declared not in _PAGES
    if found is not None and family(found) in _MEDIA_FAMILIES:
        return not (is_textual and found in _WEAK and _is_text(window) and not _is_packets(window))
    # What nobody knows might be anything; a text is none of what a viewer shows, whatever it is called.
    return found is None and not _is_text(window)


_LIST_TYPES: Final = frozenset(("audio/mpegurl", "audio/x-mpegurl", "audio/x-scpls"))


def _is_text(window: bytes) -> bool:
    return window.startswith(_WIDE_MARKS) or _BINARY.search(window) is None


def _is_packets(window: bytes) -> bool:
    return all(octet == _SYNC for octet in window[::_PACKET_BYTES])
