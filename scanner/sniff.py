"""Tell media types by magic bytes, and whether a declared type agrees with them."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING

from scanner.settings import TypeCheck

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD_BYTES = 1_024
"""How far into the bytes text formats are looked for; HTML and SVG may begin with a comment or a
declaration."""

MIN_MPEG_FRAME_BITS = 0xE0
"""The three sync bits in the second byte of an MPEG audio frame. Source: ISO/IEC 11172-3, 2.4.2.3."""


class MediaType(StrEnum):
    """What some bytes are. Formats that are never decoded are known by name, so as to be refused by name."""

    JPEG = "image/jpeg"
    PNG = "image/png"
    APNG = "image/apng"
    GIF = "image/gif"
    WEBP = "image/webp"
    AVIF = "image/avif"
    HEIF = "image/heif"
    JXL = "image/jxl"
    TIFF = "image/tiff"
    BMP = "image/bmp"
    ICO = "image/vnd.microsoft.icon"
    JP2 = "image/jp2"
    PSD = "image/vnd.adobe.photoshop"
    SVG = "image/svg+xml"
    MP4 = "video/mp4"
    QUICKTIME = "video/quicktime"
    WEBM = "video/webm"
    MATROSKA = "video/matroska"
    AVI = "video/vnd.avi"
    FLV = "video/x-flv"
    MPEG = "video/mpeg"
    MPEG_TS = "video/mp2t"
    OGG = "application/ogg"
    MP3 = "audio/mpeg"
    AAC = "audio/aac"
    MP4_AUDIO = "audio/mp4"
    FLAC = "audio/flac"
    WAV = "audio/wav"
    MIDI = "audio/midi"
    PDF = "application/pdf"
    POSTSCRIPT = "application/postscript"
    HTML = "text/html"
    XML = "text/xml"
    JSON = "application/json"
    ZIP = "application/zip"
    GZIP = "application/gzip"
    HLS = "application/vnd.apple.mpegurl"
    PLAYLIST = "audio/x-scpls"
    DASH = "application/dash+xml"
    SDP = "application/sdp"


class Family(StrEnum):
    """What a media type is, roughly."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    OTHER = "other"


PLAYED = frozenset(
    {
        MediaType.MP4,
        MediaType.QUICKTIME,
        MediaType.WEBM,
        MediaType.MATROSKA,
        MediaType.OGG,
        MediaType.MP3,
        MediaType.AAC,
        MediaType.MP4_AUDIO,
        MediaType.FLAC,
        MediaType.WAV,
    }
)
"""Video and sound: the types that `scanner.video` takes."""

DECODABLE = PLAYED | frozenset(
    {
        MediaType.JPEG,
        MediaType.PNG,
        MediaType.APNG,
        MediaType.GIF,
        MediaType.WEBP,
        MediaType.AVIF,
        MediaType.HEIF,
        MediaType.JXL,
    }
)
"""The types that the sandboxed decoder takes."""

_REFUSED_APPLICATIONS = frozenset({MediaType.SVG, MediaType.HLS, MediaType.PLAYLIST, MediaType.DASH})

_PREFIXES: tuple[tuple[bytes, MediaType], ...] = (
    (b"\xff\xd8\xff", MediaType.JPEG),
    (b"GIF87a", MediaType.GIF),
    (b"GIF89a", MediaType.GIF),
    (b"\xff\x0a", MediaType.JXL),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", MediaType.JXL),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", MediaType.JP2),
    (b"\xff\x4f\xff\x51", MediaType.JP2),
    (b"II*\x00", MediaType.TIFF),
    (b"MM\x00*", MediaType.TIFF),
    (b"II+\x00", MediaType.TIFF),
    (b"MM\x00+", MediaType.TIFF),
    (b"8BPS", MediaType.PSD),
    (b"\x00\x00\x01\x00", MediaType.ICO),
    (b"OggS", MediaType.OGG),
    (b"fLaC", MediaType.FLAC),
    (b"MThd", MediaType.MIDI),
    (b"ID3", MediaType.MP3),
    (b"FLV\x01", MediaType.FLV),
    (b"\x00\x00\x01\xba", MediaType.MPEG),
    (b"\x00\x00\x01\xb3", MediaType.MPEG),
    (b"%PDF-", MediaType.PDF),
    (b"%!PS", MediaType.POSTSCRIPT),
    (b"\xc5\xd0\xd3\xc6", MediaType.POSTSCRIPT),
    (b"PK\x03\x04", MediaType.ZIP),
    (b"PK\x05\x06", MediaType.ZIP),
    (b"\x1f\x8b", MediaType.GZIP),
    (b"BM", MediaType.BMP),
)

_RIFF = {b"WEBP": MediaType.WEBP, b"AVI ": MediaType.AVI, b"WAVE": MediaType.WAV}

_BRANDS: dict[bytes, MediaType] = {
    b"avif": MediaType.AVIF,
    b"avis": MediaType.AVIF,
    b"heic": MediaType.HEIF,
    b"heix": MediaType.HEIF,
    b"heim": MediaType.HEIF,
    b"heis": MediaType.HEIF,
    b"hevc": MediaType.HEIF,
    b"hevx": MediaType.HEIF,
    b"qt  ": MediaType.QUICKTIME,
    b"M4A ": MediaType.MP4_AUDIO,
    b"M4B ": MediaType.MP4_AUDIO,
}
"""Major brands of ISO base media files that are not plain MP4. Source: the MP4 Registration Authority."""

_STILL_BRANDS = (b"mif1", b"msf1", b"mif2")
"""Brands that say picture without saying which; the compatible brands tell. Source: ISO/IEC 23008-12,
10.2."""

_TEXT: tuple[tuple[re.Pattern[bytes], MediaType], ...] = (
    (re.compile(rb"#EXTM3U"), MediaType.HLS),
    (re.compile(rb"\[playlist\]", re.IGNORECASE), MediaType.PLAYLIST),
    (re.compile(rb"ffconcat version"), MediaType.PLAYLIST),
    (re.compile(rb"v=0\r?\no="), MediaType.SDP),
    (re.compile(rb"<(!doctype\s+html|html|head|body|script)\b", re.IGNORECASE), MediaType.HTML),
    (re.compile(rb"<(!doctype\s+svg|svg)\b", re.IGNORECASE), MediaType.SVG),
    (re.compile(rb"<([a-z]+:)?svg\b", re.IGNORECASE), MediaType.SVG),
    (re.compile(rb"<MPD\b"), MediaType.DASH),
    (re.compile(rb"<\?xml\b"), MediaType.XML),
    (re.compile(rb"[{\[]\s*[\"{\[\]}]"), MediaType.JSON),
)
_MARKUP = (MediaType.SVG, MediaType.HTML, MediaType.DASH)

_ALIASES: dict[str, str] = {
    "image/jpg": MediaType.JPEG,
    "image/pjpeg": MediaType.JPEG,
    "image/jfif": MediaType.JPEG,
    "image/x-png": MediaType.PNG,
    "image/apng": MediaType.PNG,
    "image/vnd.mozilla.apng": MediaType.PNG,
    "image/x-webp": MediaType.WEBP,
    "image/avif-sequence": MediaType.AVIF,
    "image/heic": MediaType.HEIF,
    "image/heic-sequence": MediaType.HEIF,
    "image/heif-sequence": MediaType.HEIF,
    "image/x-icon": MediaType.ICO,
    "image/x-ms-bmp": MediaType.BMP,
    # A track list, not the brand, decides between these, and servers guess by the file name.
    "video/x-m4v": MediaType.MP4,
    "video/quicktime": MediaType.MP4,
    "audio/mp4": MediaType.MP4,
    "audio/x-m4a": MediaType.MP4,
    "audio/m4a": MediaType.MP4,
    "application/mp4": MediaType.MP4,
    # WebM is a subset of Matroska and both carry sound alone as well.
    "video/webm": MediaType.MATROSKA,
    "audio/webm": MediaType.MATROSKA,
    "video/x-matroska": MediaType.MATROSKA,
    "audio/matroska": MediaType.MATROSKA,
    "audio/x-matroska": MediaType.MATROSKA,
    "video/ogg": MediaType.OGG,
    "audio/ogg": MediaType.OGG,
    "audio/opus": MediaType.OGG,
    "audio/vorbis": MediaType.OGG,
    "video/x-msvideo": MediaType.AVI,
    "video/avi": MediaType.AVI,
    "audio/mp3": MediaType.MP3,
    "audio/mpeg3": MediaType.MP3,
    "audio/x-mpeg": MediaType.MP3,
    "audio/aacp": MediaType.AAC,
    "audio/x-aac": MediaType.AAC,
    "audio/x-flac": MediaType.FLAC,
    "audio/wave": MediaType.WAV,
    "audio/x-wav": MediaType.WAV,
    "audio/vnd.wave": MediaType.WAV,
    "audio/x-pn-wave": MediaType.WAV,
    "application/xml": MediaType.XML,
}
"""Names that mean the same bytes as another name, as seen on servers or registered as synonyms."""

_GENERIC = frozenset({"", "application/octet-stream", "binary/octet-stream", "application/x-unknown", "*/*"})
"""Declarations that claim nothing."""


def sniff(data: bytes) -> MediaType | None:
    """Find the type of some bytes by their magic, without decoding anything; None where no magic is known.

    Only the beginning is looked at, as every decoder that follows does: what is glued behind a picture does
    not change what a viewer of that picture sees, and media is delivered with sniffing forbidden.
    """
    for finder in _FINDERS:
        found = finder(data)
        if found is not None:
            return found
    return None


def family(media_type: str) -> Family:
    """Tell images, videos and audio from the rest, by name."""
    if media_type == MediaType.OGG:
        return Family.AUDIO
    if media_type in _REFUSED_APPLICATIONS:
        return Family.OTHER
    head = media_type.partition("/")[0]
    return Family(head) if head in {Family.IMAGE, Family.VIDEO, Family.AUDIO} else Family.OTHER


def agrees(declared_type: str | None, found: MediaType, check: TypeCheck) -> bool:
    """Tell whether a declared type agrees with the sniffed one.

    Parameters after a semicolon and letter case do not matter, aliases count as equal, and a declaration
    that claims nothing (`application/octet-stream`, none at all) agrees with anything.
    """
    declared = (declared_type or "").partition(";")[0].strip().lower()
    if declared in _GENERIC:
        return True
    canonical = _ALIASES.get(declared, declared)
    same = canonical == _ALIASES.get(found, found)
    if same or declared == f"{family(found)}/*":
        return True
    return check is TypeCheck.FAMILY and family(canonical) is family(found) is not Family.OTHER


def _by_prefix(data: bytes) -> MediaType | None:
    return next((kind for prefix, kind in _PREFIXES if data.startswith(prefix)), None)


def _png(data: bytes) -> MediaType | None:
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return None
    # "acTL must appear before the first IDAT chunk" (PNG third edition, 11.3.6.1).
    control, pixels = data.find(b"acTL", 0, HEAD_BYTES * 64), data.find(b"IDAT")
    return MediaType.APNG if 0 <= control < pixels else MediaType.PNG


def _riff(data: bytes) -> MediaType | None:
    return _RIFF.get(data[8:12]) if data.startswith(b"RIFF") else None


def _iso_media(data: bytes) -> MediaType | None:
    if data[4:8] not in {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"}:
        return None
    if data[4:8] != b"ftyp":
        return MediaType.QUICKTIME
    size = min(int.from_bytes(data[:4], "big"), HEAD_BYTES)
    major = data[8:12]
    if major in _STILL_BRANDS:
        compatible = [data[at : at + 4] for at in range(16, size, 4)]
        stills = [_BRANDS[brand] for brand in compatible if brand in _BRANDS]
        return MediaType.AVIF if MediaType.AVIF in stills else MediaType.HEIF
    return _BRANDS.get(major, MediaType.MP4)


def _matroska(data: bytes) -> MediaType | None:
    if not data.startswith(b"\x1a\x45\xdf\xa3"):
        return None
    return MediaType.WEBM if b"webm" in data[:64] else MediaType.MATROSKA


def _mpeg(data: bytes) -> MediaType | None:
    if data[:1] == b"\x47" and data[188:189] == b"\x47":
        return MediaType.MPEG_TS
    if len(data) > 1 and data[0] == 0xFF and data[1] >= MIN_MPEG_FRAME_BITS:  # noqa: PLR2004 - the sync byte
        return MediaType.MP3 if data[1] & 0x06 else MediaType.AAC
    return None


def _text(data: bytes) -> MediaType | None:
    head = data[:HEAD_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip()
    for pattern, kind in _TEXT:
        # Markup may follow comments and declarations; the other formats begin with their mark.
        if pattern.match(head) or (kind in _MARKUP and head.startswith(b"<") and pattern.search(head)):
            return kind
    return None


_FINDERS: tuple[Callable[[bytes], MediaType | None], ...] = (
    _png,
    _riff,
    _iso_media,
    _matroska,
    _by_prefix,
    _mpeg,
    _text,
)
