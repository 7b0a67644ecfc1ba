"""Tell from its first bytes whether an answer may be media.

Not what the origin says decides, but what a program would find that looks at the bytes itself; and where the
origin says that it is media, that is believed too. Only what is known to be something else passes.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

from scanner.sniff import Family, MediaType, family, sniff

WINDOW_BYTES: Final = 4_096
"""How much of the beginning is looked at: four times what text formats are looked for in."""

_MEDIA_FAMILIES: Final = frozenset((Family.IMAGE, Family.VIDEO, Family.AUDIO))
_MEDIA_KINDS: Final = frozenset(("image", "video", "audio", "multipart"))
# Playlists and manifests are text that names media; what they name is fetched, and examined then.
_LISTS: Final = frozenset((MediaType.HLS, MediaType.PLAYLIST, MediaType.DASH))
_LIST_TYPES: Final = frozenset(("audio/mpegurl", "audio/x-mpegurl", "audio/x-scpls"))
# What is known by a mark at its beginning has to be text to its end.
_TEXTS: Final = _LISTS | {MediaType.HTML, MediaType.XML, MediaType.JSON, MediaType.SDP}
_TEXTUAL: Final = re.compile(
    r"text/.+|application/(?:.+\+)?(?:json|xml|javascript|x-www-form-urlencoded|graphql|yaml)|"
    r"application/(?:x-)?(?:ndjson|mpegurl|vnd\.apple\.mpegurl)|application/jrd\+json"
)
# These begin with letters that a text may begin with as well. A BMP, however small, has zeros in its header;
# a QuickTime file without `ftyp` has a length there, and a transport stream a mark in every packet.
_WEAK: Final = frozenset((MediaType.BMP, MediaType.QUICKTIME, MediaType.MPEG_TS))
_PACKET_BYTES: Final = 188  # Source: ISO/IEC 13818-1, 2.4.3.2.
_SYNC: Final = 0x47
# Pictures that are written as text, or begin with as much of it as their maker likes: PNM, XPM, XBM, FITS,
# Radiance, ImageMagick's own, raw video. Image libraries open them by these marks, whatever they are called.
_WRITTEN_PICTURES: Final = re.compile(
    rb"P[1-6Ff][ \t\r\n]+[-#0-9]|P7[ \t\r\n]+[#A-Z]|/\* XPM|\s*#define[ \t]+\w+_width|SIMPLE  =|Image type:|"
    rb"#\?R(?:ADIANCE|GBE)|id=ImageMagick|# ImageMagick pixel|push graphic-context|viewbox \d|YUV4MPEG2 "
)
# What may stand before the root of a drawing, and is read over by all who open drawings whatever they are
# called; HTML may begin with the same. A declaration with a part of its own is found in no page.
_PROLOG: Final = re.compile(r"(?:\s|<\?.*?\?>|<!--.*?-->|<!doctype[^>\[]*>)*", re.DOTALL | re.IGNORECASE)
_DRAWING: Final = re.compile(r"<(?:[^\s<>/:]+:)?svg[\s/>]|<!doctype[^>\[]*\[", re.IGNORECASE)
_UNFINISHED: Final = re.compile(r"$|<\?|<!--|<!doctype", re.IGNORECASE)
# What no text has in any encoding but UTF-16 and UTF-32: tab, line ends, form feed and the escape of ISO-2022
# are the only controls in use.
_BINARY: Final = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_WIDE_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
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
    # The mark of UTF-16 is also how a frame of sound may begin; what can be read as the one is not the other.
    found = None if is_wide_text(window) else sniff(window)
    if declared.partition("/")[0] in _MEDIA_KINDS and (declared not in _LIST_TYPES or found not in _LISTS):
        return True
    if found is MediaType.POSTSCRIPT or _WRITTEN_PICTURES.match(window) or _may_be_drawing(window):
        return True
    if found is not None and family(found) in _MEDIA_FAMILIES:
        is_textual = _TEXTUAL.fullmatch(declared) is not None
        return not (is_textual and found in _WEAK and is_text(window) and not _is_packets(window))
    if found in _TEXTS:
        # Old pages have stray controls, and are shown all the same; none has zeros.
        return b"\x00" in window
    # What nobody knows might be anything; a text is none of what a viewer shows, whatever it is called.
    return found is None and not is_text(window)


def is_text(window: bytes) -> bool:
    """Tell whether a body begins like a text."""
    return is_wide_text(window) or _BINARY.search(window) is None


def has_to_stay_text(window: bytes) -> bool:
    """Tell whether a body that passes as a text has no zeros to its end; those in UTF-16 are full of them."""
    found = sniff(window)
    return not is_wide_text(window) and (found in _TEXTS or (found is None and is_text(window)))


def is_wide_text(window: bytes) -> bool:
    """Tell whether a body begins like a text in UTF-16, which says so."""
    if not window.startswith(_WIDE_MARKS):
        return False
    try:
        # The last character may be cut.
        text = codecs.getincrementaldecoder("utf-16")().decode(window)
    except UnicodeDecodeError:
        return False
    return _WIDE_CONTROL.search(text) is None


def _may_be_drawing(window: bytes) -> bool:
    """Tell whether the root of a document is a drawing's, or is beyond the window."""
    encoding = "utf-16" if window.startswith(_WIDE_MARKS) else "latin-1"
    text = window.removeprefix(codecs.BOM_UTF8).decode(encoding, errors="replace")
    prolog = _PROLOG.match(text)
    rest = text[prolog.end() :] if prolog else text
    if len(window) >= WINDOW_BYTES and _UNFINISHED.match(rest):
        return True
    return _DRAWING.match(rest) is not None


def _is_packets(window: bytes) -> bool:
    return all(octet == _SYNC for octet in window[::_PACKET_BYTES])
