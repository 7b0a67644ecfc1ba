"""Read listed videos: the frames of a video as vPDQ writes them, and what such a video is called here.

A video is written as JSON: an array of its frames, each `"<PDQ in hexadecimal>,<quality>,<seconds>"` or an
object, or an object of such objects by their number. Source: `VpdqCompactFeature`, `json_to_vpdq` and
`OLD_json_to_vpdq` (github.com/facebook/ThreatExchange, python-threatexchange/threatexchange/extensions/vpdq).
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from scanner.degenerate import is_degenerate
from scanner.errors import MalformedError
from scanner.flatscan import PDQ_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MIN_FRAME_QUALITY: Final = 50
"""Frames below it are left out. Source: VPDQ_QUALITY_THRESHOLD (vpdq_util.py, ibid.)."""
MAX_VIDEO_FRAMES: Final = 4_096
"""More than an hour at one frame a second; of longer videos so many evenly spaced frames are kept."""
MAX_LIST_FRAMES: Final = 2_000_000
"""Of all videos of a list, which are 64 MB: every process that matches holds them, twice, with an index."""
MAX_WRITTEN_FRAMES: Final = 1_000_000
"""Nine hours at 30 frames a second; more is no video."""

_SAME_BITS: Final = 31
_HEX: Final = re.compile(r"[0-9A-Fa-f]{64}\Z")
_MAX_QUALITY: Final = 100
_PARTS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedVideo:
    """One video as a list has it.

    Attributes:
        name: SHA-256 over the frames, 32 bytes.
        frames: The PDQ hashes of its frames, concatenated, sorted, each once.
    """

    name: bytes
    frames: bytes


def read_video(written: object) -> ListedVideo | None:
    """Read a video from the JSON that vPDQ writes, or from what that JSON says.

    Frames of little quality, and those that show nothing, are left out.

    Args:
        written: Text, or the array or object that stands in it.

    Returns:
        None where no two frames are left that show different things: whatever has a title or a black picture
        would match. Such a video cannot be looked for by its frames.

    Raises:
        MalformedError: It is not written so; the message repeats no value.
    """
    kept: dict[bytes, None] = {}
    for number, frame in enumerate(_list_frames(written)):
        if number >= MAX_WRITTEN_FRAMES:
            raise MalformedError(f"a video has more than {MAX_WRITTEN_FRAMES:,} frames")
        bits, quality = _read_frame(frame)
        if quality >= MIN_FRAME_QUALITY and not is_degenerate(bits):
            kept[bits] = None
    chosen = sorted(_thin_out(list(kept)))
    if not _shows_two_things(chosen):
        return None
    return ListedVideo(name=name_video(chosen), frames=b"".join(chosen))


def name_video(frames: Iterable[bytes]) -> bytes:
    """Name a video by its frames, which are sorted and each there once."""
    return hashlib.sha256(b"".join(frames)).digest()


def _list_frames(written: object) -> Iterator[object]:
    """Go through the frames, in their order.

    Raises:
        MalformedError: There are none to go through.
    """
    if isinstance(written, str):
        try:
            written = json.loads(written)
        except (ValueError, RecursionError) as error:
            raise MalformedError("a video must be the JSON that vPDQ writes") from error
    if isinstance(written, dict):
        return iter(written.values())
    if isinstance(written, list):
        return iter(written)
    raise MalformedError("a video must be an array or an object of frames")


def _read_frame(frame: object) -> tuple[bytes, int]:
    """Read the hash and the quality of a frame; when it is shown is not needed.

    Raises:
        MalformedError: It is no frame.
    """
    bits: object
    quality: object
    if isinstance(frame, str):
        parts = frame.split(",")
        if len(parts) != _PARTS:
            raise MalformedError("a frame must be written as hash, quality and time, with commas")
        bits, quality = parts[0], int(parts[1]) if parts[1].isascii() and parts[1].isdecimal() else None
    elif isinstance(frame, dict):
        bits, quality = frame.get("hash", frame.get("pdq")), frame.get("quality")
    else:
        raise MalformedError("a frame must be a string or an object")
    if not isinstance(bits, str) or not _HEX.match(bits):
        raise MalformedError("the hash of a frame must be a PDQ hash of 64 hexadecimal digits")
    if isinstance(quality, bool) or not isinstance(quality, int) or not 0 <= quality <= _MAX_QUALITY:
        raise MalformedError(f"the quality of a frame must be a number from 0 to {_MAX_QUALITY}")
    return bytes.fromhex(bits), quality


def _thin_out(frames: list[bytes]) -> list[bytes]:
    if len(frames) <= MAX_VIDEO_FRAMES:
        return frames
    places = np.linspace(0, len(frames) - 1, MAX_VIDEO_FRAMES).round().astype(int)
    return [frames[place] for place in places.tolist()]


def _shows_two_things(frames: list[bytes]) -> bool:
    """Tell whether any frame is farther from the first one than frames are that show the same."""
    table = np.frombuffer(b"".join(frames), np.uint8).reshape(-1, PDQ_BYTES)
    distances = np.bitwise_count(table ^ table[:1]).sum(axis=1, dtype=np.int64)
    return bool((distances > _SAME_BITS).any())
