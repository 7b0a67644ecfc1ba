"""Decode a coded HEVC picture, and refuse one that another decoder may show otherwise.

FFmpeg goes on where coded data is damaged, and says nothing: it reads on behind the end, leaves what the data
does not reach as the memory was, and begins each row of blocks where the last one happened to end, while
others begin where the header says. Arithmetic coding has no checks of its own, but an intact picture

1. depends on nothing that stands behind its coded data;
2. leaves nothing of the memory that it is written to;
3. needs the last bytes of its coded data.

Of four hundred pictures whose coded data was damaged, one by one, eight keep all three properties, and those
looked the same with libde265. For that each picture is decoded three times.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

import av
import av.error
import numpy as np

from scanner.errors import MalformedError

if TYPE_CHECKING:
    from av import VideoFrame

_LENGTHS_AT: Final = 21
"""Where a configuration says how long the lengths are. Source: ISO/IEC 14496-15, 8.3.3.1.2."""

_CODED_TYPES: Final = range(32)
"""The types of units that hold coded blocks. Source: ITU-T H.265, table 7-1."""

MAX_SLICES: Final = 64
"""Each is decoded once more; one for each row of blocks of four thousand lines."""

_TAIL_BYTES: Final = 64
_CHANGED_BYTES: Final = (4, 4, 6, 6, 8, 8, 12, 12)
"""So many of the last bytes are changed, one try after the other: a plain picture hides some changes."""

_INVERSE: Final = bytes(range(255, -1, -1))


class HevcPicture:
    """One coded picture and the decoder for it."""

    def __init__(self, data: bytes, configuration: bytes, *, max_pixels: int) -> None:
        """Set the decoder up.

        Raises:
            MalformedError: The units of the data cannot be told apart, or are too many.
        """
        if len(configuration) <= _LENGTHS_AT:
            raise MalformedError("the configuration of a coded picture ends early")
        self._length_bytes = (configuration[_LENGTHS_AT] & 3) + 1
        self._units = _split(data, self._length_bytes)
        self._slices = [place for place, unit in enumerate(self._units) if _is_slice(unit)]
        if len(self._slices) > MAX_SLICES:
            raise MalformedError("a coded picture has too many slices")
        self._context = av.CodecContext.create("hevc", "r")
        self._context.thread_count = 1
        self._context.extradata = configuration
        # What the coded data claims is refused before it is allocated, whatever the boxes say.
        self._context.options = {"max_pixels": str(max_pixels), "err_detect": "explode"}
        # No secret: the same bytes must get the same answer.
        self._chance = Random(len(data))  # noqa: S311

    def decode(self) -> VideoFrame:
        """Decode the picture.

        Raises:
            MalformedError: It does not hold together.
            av.error.FFmpegError: It is broken.
        """
        first = self._decode(self._units)
        kept = _read(first)
        # The decoder writes the next picture to the memory of the one that was given back last.
        for plane in first.planes:
            plane.update(bytes(plane).translate(_INVERSE))
        del first
        tail = self._rubbish(_TAIL_BYTES)
        frame = self._decode([unit + tail if _is_slice(unit) else unit for unit in self._units])
        if _read(frame) != kept:
            raise MalformedError("a coded picture ends before its last block, or behind its data")
        if not all(self._needs_end(place, kept) for place in self._slices):
            raise MalformedError("a coded picture ends before its data")
        return frame

    def _needs_end(self, place: int, kept: list[bytes]) -> bool:
        """Tell whether a change at the end of a slice changes the picture."""
        for count in _CHANGED_BYTES:
            units = list(self._units)
            # The very last byte holds little but the mark of the end, and zeros may fill up behind it.
            end = max(len(units[place].rstrip(b"\0\3")) - 1, 0)
            units[place] = units[place][: max(end - count, 0)] + self._rubbish(count) + units[place][end:]
            try:
                if _read(self._decode(units)) != kept:
                    return True
            except (MalformedError, av.error.FFmpegError):
                return True
        return False

    def _decode(self, units: list[bytes]) -> VideoFrame:
        packet = av.Packet(b"".join(len(unit).to_bytes(self._length_bytes) + unit for unit in units))
        try:
            frames = self._context.decode(packet) + self._context.decode(None)
        finally:
            self._context.flush_buffers()
        if len(frames) != 1 or frames[0].is_corrupt:
            raise MalformedError("a coded picture does not hold together")
        return frames[0]

    def _rubbish(self, count: int) -> bytes:
        # Zeros would read as the beginning of another unit.
        return bytes(self._chance.randrange(4, 256) for _ in range(count))


def _split(data: bytes, length_bytes: int) -> list[bytes]:
    """Take units apart, each of which has its length before it. Source: ISO/IEC 14496-15, 4.3.3."""
    units: list[bytes] = []
    at = 0
    while at < len(data):
        begin = at + length_bytes
        at = begin + int.from_bytes(data[at:begin])
        if at > len(data) or at == begin:
            raise MalformedError("a unit of a coded picture is empty, or reaches beyond its end")
        units.append(data[begin:at])
    return units


def _is_slice(unit: bytes) -> bool:
    return unit[0] >> 1 & 0x3F in _CODED_TYPES


def _read(frame: VideoFrame) -> list[bytes]:
    """Copy what the planes show, without the padding of their rows, which nobody writes."""
    wide = 2 if any(component.bits > 8 for component in frame.format.components) else 1  # noqa: PLR2004
    rows = [np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size) for plane in frame.planes]
    return [
        row[: plane.height, : plane.width * wide].tobytes()
        for row, plane in zip(rows, frame.planes, strict=True)
    ]
