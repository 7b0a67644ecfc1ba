"""Decide which frames of a stream are examined, and measure what is left unseen.

Pure: everything here follows from the list of packets, which the demuxer gives without decoding anything.
`docs/video.md` states the rule that this is.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPACING_MS: Final = 1_000
"""One frame a second, as vPDQ hashes videos. Source: vPDQ README, "Producing a Hash"."""

EVEN_PARTS: Final = 600
"""Longer videos than ten minutes are sampled at so many places, evenly."""

SPACING_FRAMES: Final = 120
"""A second at the highest rate that cameras write: where the times in a file are absurd, frames count."""

TIME_SLACK: Final = 1.5
"""Frames do not stand at whole seconds, and not every frame is decoded: the next one is near enough."""


@dataclass(slots=True, kw_only=True)
class Packets:
    """What was read of a stream without decoding it, in the order of the file.

    Attributes:
        times_ms: When each frame is shown.
        stamps: The same in the stream's own unit, by which its packet is found again.
        is_key: Whether decoding can begin there.
        end_ms: When the last frame is no longer shown.
    """

    times_ms: array[int]
    stamps: array[int]
    is_key: bytearray
    end_ms: int = 0

    @classmethod
    def empty(cls) -> Packets:
        """Build the empty list."""
        return cls(times_ms=array("q"), stamps=array("q"), is_key=bytearray())

    def add(self, *, time_ms: int, stamp: int, lasting_ms: int, is_key: bool) -> None:
        """Add a packet."""
        self.end_ms = max(self.end_ms, time_ms + lasting_ms) if self.is_key else time_ms + lasting_ms
        self.times_ms.append(time_ms)
        self.stamps.append(stamp)
        self.is_key.append(is_key)

    def __len__(self) -> int:
        return len(self.is_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """The longest stretch without an examined frame, in time and in frames; zeros where there is none."""

    ms: int
    frames: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """How one stream is gone through.

    Attributes:
        shown: Times of all frames in milliseconds, in the order in which they are shown: int64 [N].
        end_ms: When the last frame is no longer shown, as far as the file says.
        spacing_ms: At most so far apart are the frames that are examined.
        spacing_frames: At most so many frames apart.
        keys: The packets of the key frames to decode, in the order of the file.
        groups: The first packet of each group of frames and the one behind its last, in the order of the
            file.
    """

    shown: NDArray[np.int64]
    end_ms: int
    spacing_ms: int
    spacing_frames: int
    keys: tuple[int, ...]
    groups: tuple[tuple[int, int], ...]

    @property
    def start_ms(self) -> int:
        """When the earliest frame is shown."""
        return int(self.shown[0])

    @property
    def duration_ms(self) -> int:
        """From when the earliest frame comes up until the latest is no longer shown."""
        return self.end_ms - self.start_ms

    def number_of(self, time_ms: int) -> int:
        """Say the how-manieth frame is shown at a time."""
        return int(np.searchsorted(self.shown, time_ms))

    def groups_between(self, packets: Packets) -> list[tuple[int, int]]:
        """List the groups whose frames are too far apart for their key frames to do, the longest first."""
        times = np.array(packets.times_ms, dtype=np.int64)
        spans = [(int(np.ptp(times[first:behind])), first, behind) for first, behind in self.groups]
        # The last frame of all is examined, too.
        wanted = [
            (span, first, behind)
            for span, first, behind in spans
            if span > self.spacing_ms * TIME_SLACK
            or behind - first > self.spacing_frames
            or (behind == len(packets) and behind - first > 1)
        ]
        return [(first, behind) for _, first, behind in sorted(wanted, reverse=True)]

    def is_dense(self, group: tuple[int, int], packets: Packets, seen_ms: set[int]) -> bool:
        """Tell whether enough of a group was seen."""
        times = np.sort(np.array(packets.times_ms[group[0] : group[1]], dtype=np.int64))
        return self.keeps_spacing(_measure(times, int(times[-1]), seen_ms))

    def keeps_spacing(self, gap: Gap) -> bool:
        """Tell whether a gap is as short as the plan wants all to be."""
        return gap.ms <= self.spacing_ms * TIME_SLACK and gap.frames <= self.spacing_frames * TIME_SLACK

    def measure(self, seen_ms: set[int]) -> Gap:
        """Measure the longest stretch without an examined frame.

        Args:
            seen_ms: When the examined frames are shown.
        """
        return _measure(self.shown, self.end_ms, seen_ms)


def _measure(shown: NDArray[np.int64], end_ms: int, seen_ms: set[int]) -> Gap:
    times = np.append(shown, end_ms)
    # The set functions of numpy load modules when they are first called, which the sandbox denies.
    seen = np.sort(np.fromiter(seen_ms, dtype=np.int64, count=len(seen_ms)))
    places = np.flatnonzero(np.searchsorted(seen, shown, "right") > np.searchsorted(seen, shown, "left"))
    before, after = np.insert(places, 0, -1), np.append(places, len(shown))
    unseen = after - before - 1
    if not unseen.any():
        return Gap(ms=0, frames=0)
    # From when the first unseen frame comes up until an examined one replaces the last.
    lasting = times[after] - times[before + 1]
    return Gap(ms=int(lasting[unseen > 0].max()), frames=int(unseen.max()))


def build_plan(packets: Packets, *, max_frames: int) -> Plan:
    """Plan how to go through a stream; `packets` holds at least one.

    Args:
        packets: All packets of the stream.
        max_frames: Frames that may be hashed; half of them are for key frames.
    """
    times = np.array(packets.times_ms, dtype=np.int64)
    shown = np.sort(times)
    duration = int(shown[-1] - shown[0])
    half = max(max_frames // 2, 1)
    parts = min(EVEN_PARTS, half)
    starts = np.flatnonzero(np.frombuffer(packets.is_key, dtype=np.uint8))
    # What stands before the first key frame decodes to nothing, but it is tried with the first group.
    edges = [0, *(int(at) for at in starts if at > 0), len(packets)]
    keys = [int(at) for at in starts]
    return Plan(
        shown=shown,
        end_ms=max(packets.end_ms, int(shown[-1])),
        spacing_ms=max(SPACING_MS, -(-duration // parts)),
        spacing_frames=max(SPACING_FRAMES, -(-len(packets) // parts)),
        keys=tuple(thin(keys, packets, half)),
        groups=tuple(pairwise(edges)),
    )


def thin(keys: list[int], packets: Packets, limit: int) -> list[int]:
    """Keep at most `limit` key frames: all, or half of them evenly by number and half evenly by time."""
    if len(keys) <= limit:
        return keys
    by_number = np.linspace(0, len(keys) - 1, max(limit // 2, 1)).round().astype(np.intp)
    times = np.array([packets.times_ms[at] for at in keys], dtype=np.int64)
    order = np.argsort(times, kind="stable")
    even = np.linspace(times[order[0]], times[order[-1]], max(limit - len(by_number), 1))
    by_time = order[np.minimum(np.searchsorted(times[order], even), len(keys) - 1)]
    return [keys[at] for at in sorted({*by_number.tolist(), *by_time.tolist()})]
