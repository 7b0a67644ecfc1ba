"""Check the boxes of an MP4 or QuickTime file before FFmpeg reads it.

FFmpeg passes over in silence what these checks refuse: data that lies in other files, edit lists that hold
or repeat a moment, tracks of pictures that it does not know. Some of its tables are also as long as a field
of the file claims, so the claims are bounded here.

Source: ISO/IEC 14496-12; "QuickTime File Format Specification", Apple.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from scanner.report import UnscannableReason
from scanner.video.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_SAMPLES_LISTED: Final = 2_000_000
"""Samples of all tracks together; ten hours of sound are 1.7 million."""

MAX_BOXES: Final = 200_000
"""A live stream writes two boxes a fragment, several fragments a second; the deeper boxes count, too."""

MAX_EDITS: Final = 4
"""Edits may overlap, so that a moment may last as many times as long as its frames do."""

MAX_DEPTH: Final = 8
"""A sample table is five deep."""

_CONTAINERS: Final = frozenset(
    {b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl", b"edts", b"mvex", b"moof", b"traf"}
)
_REFUSED: Final = frozenset({b"cmov", b"rmra"})
"""A compressed header, and a reference to other movies. Source: QuickTime File Format Specification."""

_PICTURE_HANDLERS: Final = frozenset({b"vide", b"pict", b"auxv"})
_DRAWN_TEXT_HANDLER: Final = b"subp"
_NO_MEDIA: Final = -1
_NORMAL_RATE: Final = 0x0001_0000
_SELF_CONTAINED: Final = 1
_LARGE: Final = 1
_TO_THE_END: Final = 0


@dataclass(slots=True, kw_only=True)
class IsoClaims:
    """What the boxes say.

    Attributes:
        picture_tracks: Tracks that hold pictures of any kind, as their handlers say.
        drawn_text_tracks: Tracks of subtitles that are drawn.
        is_truncated: A box reaches beyond the end.
    """

    picture_tracks: int = 0
    drawn_text_tracks: int = 0
    is_truncated: bool = False
    _samples: int = field(default=0, repr=False)
    _boxes: int = field(default=0, repr=False)

    def count_samples(self, count: int) -> None:
        """Add to the listed samples.

        Raises:
            RefusedError: There are too many.
        """
        self._samples += count
        if self._samples > MAX_SAMPLES_LISTED:
            raise RefusedError(UnscannableReason.TOO_MANY_FRAMES)

    def count_box(self) -> None:
        """Add to the boxes.

        Raises:
            RefusedError: There are too many.
        """
        self._boxes += 1
        if self._boxes > MAX_BOXES:
            raise RefusedError(UnscannableReason.TOO_MANY_FRAMES)


def check_iso_media(data: bytes) -> IsoClaims:
    """Read the boxes of a file.

    Raises:
        RefusedError: The file refers to others, plays a moment longer than it lasts, hides its header, is
            a still picture as well, or claims too much.
    """
    claims = IsoClaims()
    _walk(memoryview(data), claims, 0)
    return claims


def _walk(data: memoryview, claims: IsoClaims, depth: int) -> None:
    for kind, body in _boxes(data, claims, is_top=depth == 0):
        if kind in _REFUSED:
            raise RefusedError(UnscannableReason.UNSUPPORTED)
        if kind in _CONTAINERS:
            if depth >= MAX_DEPTH:
                raise RefusedError(UnscannableReason.CORRUPT)
            _walk(body, claims, depth + 1)
        elif (reader := _READERS.get(kind)) is not None:
            try:
                reader(body, claims)
            except struct.error as error:
                raise RefusedError(UnscannableReason.CORRUPT) from error
        elif kind == b"meta" and depth == 0:
            _check_meta(body)


def _boxes(data: memoryview, claims: IsoClaims, *, is_top: bool) -> Iterator[tuple[bytes, memoryview]]:
    at = 0
    while at + 8 <= len(data):
        claims.count_box()
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == _LARGE and at + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        elif size == _TO_THE_END:
            size = len(data) - at
        if size < head:
            # Zeros or rubbish fill the rest; no reader of the format goes on from there.
            return
        if at + size > len(data) and is_top:
            claims.is_truncated = True
        yield kind, data[at + head : at + size]
        at += size


def _read_handler(body: memoryview, claims: IsoClaims) -> None:
    kind = bytes(body[8:12])
    claims.picture_tracks += kind in _PICTURE_HANDLERS
    claims.drawn_text_tracks += kind == _DRAWN_TEXT_HANDLER


def _read_references(body: memoryview, claims: IsoClaims) -> None:
    for kind, entry in _boxes(body[8:], claims, is_top=False):
        (flags,) = struct.unpack_from(">I", entry)
        # Some writers leave the mark out and name no place either; that means this file as well.
        is_nowhere = kind == b"url " and not bytes(entry[4:]).strip(b"\0")
        if not flags & _SELF_CONTAINED and not is_nowhere:
            raise RefusedError(UnscannableReason.UNSUPPORTED)


def _read_edits(body: memoryview, claims: IsoClaims) -> None:
    """Accept edits that show moments at their own speed, in their order, and none of them many times."""
    version, count = body[0], struct.unpack_from(">I", body, 4)[0]
    entry = struct.Struct(">QqI" if version else ">IiI")
    claims.count_samples(count)
    starts: list[int] = []
    for number in range(count):
        _, media_time, rate = entry.unpack_from(body, 8 + number * entry.size)
        if media_time == _NO_MEDIA:
            continue
        if rate != _NORMAL_RATE:
            raise RefusedError(UnscannableReason.UNSUPPORTED)
        starts.append(media_time)
    if len(starts) > MAX_EDITS or any(later <= earlier for earlier, later in pairwise(starts)):
        raise RefusedError(UnscannableReason.UNSUPPORTED)


def _read_sizes(body: memoryview, claims: IsoClaims) -> None:
    claims.count_samples(struct.unpack_from(">I", body, 8)[0])


def _read_run(body: memoryview, claims: IsoClaims) -> None:
    claims.count_samples(struct.unpack_from(">I", body, 4)[0])


def _check_meta(body: memoryview) -> None:
    """Refuse a movie that is a still picture as well: readers differ in what they show of it."""
    if bytes(body[16:20]) == b"pict" or bytes(body[12:16]) == b"pict":
        raise RefusedError(UnscannableReason.UNSUPPORTED)


_READERS: Final = {
    b"hdlr": _read_handler,
    b"dref": _read_references,
    b"elst": _read_edits,
    b"stsz": _read_sizes,
    b"stz2": _read_sizes,
    b"trun": _read_run,
}
