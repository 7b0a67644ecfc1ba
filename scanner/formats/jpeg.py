"""The markers of a JPEG before its coded data: what kind it is, how large, and what its segments carry.

Source: ITU-T T.81, B.1 and B.2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

MAX_MARKERS: Final = 4_096
"""Segments hold up to 64 KiB; two hundred of them make up the longest metadata that was seen."""

DECODABLE_PROCESSES: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
"""Baseline, extended and progressive, by Huffman or by arithmetic coding. Lossless and hierarchical ones have
no decoder here."""

DECODABLE_PRECISION: Final = 8

_SOI: Final = b"\xff\xd8"
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
_SCAN: Final = 0xDA
_END: Final = 0xD9


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One segment: its marker's second byte and where its body lies."""

    marker: int
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JpegHeader:
    """What goes before the coded data.

    Attributes:
        process: Second byte of the frame's marker.
        precision: Bits per sample.
        width: In pixels.
        height: In pixels.
        segments: Every segment before the first scan, in order.
        scan_at: Where the coded data begins.
    """

    process: int
    precision: int
    width: int
    height: int
    segments: tuple[Segment, ...]
    scan_at: int

    @property
    def is_decodable(self) -> bool:
        """Whether there is a decoder for this kind of JPEG."""
        return self.process in DECODABLE_PROCESSES and self.precision == DECODABLE_PRECISION


def find_header(data: bytes, at: int = 0) -> JpegHeader | None:
    """Find the header of the JPEG that begins at a place; None where none does.

    As decoders do, this passes over stray bytes between segments. Chance does not make up a frame header and
    a scan, so that what has both is a JPEG and no accident.
    """
    if data[at : at + 2] != _SOI:
        return None
    segments: list[Segment] = []
    frame: Segment | None = None
    at += 2
    for _ in range(MAX_MARKERS):
        at = data.find(b"\xff", at)
        while at >= 0 and data[at + 1 : at + 2] == b"\xff":
            at += 1
        if at < 0 or at + 4 > len(data):
            return None
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _END:
            return None
        if marker == 0 or marker in _STANDALONE or length < 2:  # noqa: PLR2004 - the length counts itself
            at += 2
            continue
        segment = Segment(marker=marker, start=at + 4, end=min(at + 2 + length, len(data)))
        if marker in _FRAMES and frame is None:
            frame = segment
        if marker == _SCAN:
            return _build(data, frame, segments, segment.end)
        segments.append(segment)
        at += 2 + length
    return None


def _build(data: bytes, frame: Segment | None, segments: list[Segment], scan_at: int) -> JpegHeader | None:
    if frame is None or frame.end - frame.start < 6:  # noqa: PLR2004 - precision, height, width, components
        return None
    precision, height, width, components = struct.unpack_from(">BHHB", data, frame.start)
    # "Lf = 8 + 3 x Nf" (B.2.2), and no process has samples of fewer than two bits or more than sixteen.
    if frame.end - frame.start != 6 + 3 * components or not 2 <= precision <= 16:  # noqa: PLR2004
        return None
    return JpegHeader(
        process=data[frame.start - 3],
        precision=precision,
        width=width,
        height=height,
        segments=tuple(segments),
        scan_at=scan_at,
    )
