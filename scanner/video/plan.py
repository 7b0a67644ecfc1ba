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


MAX_STAMP: Final = 1 << 61
"""Sums and differences of stamps within this fit into 64 bits."""


@dataclass(slots=True, kw_only=True)
class Packets:
    """What was read of a stream without decoding it, in the order of the file.

    Attributes:
        unit_ms: Milliseconds for each unit of the stamps.
        stamps: When each frame is shown, in the stream's own unit.
        is_key: Whether decoding can begin there.
        end: When the last frame is no longer shown, in the same unit.
    """

    unit_ms: float
    stamps: array[int]
    is_key: bytearray
    end: int = -MAX_STAMP

    @classmethod
    def empty(cls, unit_ms: float) -> Packets:
        """Build the empty list."""
        return cls(unit_ms=unit_ms, stamps=array("q"), is_key=bytearray())

    def add(self, *, stamp: int, lasting: int, is_key: bool) -> None:
        """Add a packet."""
        stamp = min(max(stamp, -MAX_STAMP), MAX_STAMP)
        self.end = max(self.end, min(stamp + lasting, MAX_STAMP))
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
        packets: All packets of the stream.
        shown: Their stamps in the order in which they are shown, int64 [N].
        spacing_ms: At most so far apart are the frames that are examined.
        spacing_frames: At most so many frames apart.
        keys: The packets of the key frames to decode, in the order of the file.
        groups: The first packet of each group of frames and the one behind its last, in the order of the
            file.
    """

    packets: Packets
    shown: NDArray[np.int64]
    spacing_ms: int
    spacing_frames: int
    keys: tuple[int, ...]
    groups: tuple[tuple[int, int], ...]

    @property
    def duration_ms(self) -> int:
        """From when the earliest frame comes up until the latest is no longer shown."""
        return self.since_start_ms(self.packets.end)

    def since_start_ms(self, stamp: int) -> int:
        """Say how long after the earliest frame something is shown."""
        return max(int((stamp - int(self.shown[0])) * self.packets.unit_ms), 0)

    def number_of(self, stamp: int) -> int:
        """Say the how-manieth frame is shown then, counted from 0."""
        return int(np.searchsorted(self.shown, stamp))

    def is_due(self, stamp: int, latest: int) -> bool:
        """Tell whether a frame is so far from the one that was examined last that it is to be, too."""
        is_late = (stamp - latest) * self.packets.unit_ms >= self.spacing_ms
        return is_late or self.number_of(stamp) - self.number_of(latest) >= self.spacing_frames

    def groups_between(self) -> list[tuple[int, int]]:
        """List the groups whose frames are too far apart for their key frames to do, the longest first."""
        wanted: list[tuple[float, int, int]] = []
        stamps = np.array(self.packets.stamps, dtype=np.int64)
        for first, behind in self.groups:
            span_ms = float(np.ptp(stamps[first:behind])) * self.packets.unit_ms
            is_wide = span_ms > self.spacing_ms * TIME_SLACK or behind - first > self.spacing_frames
            # The last frame of all is examined, too.
            if is_wide or (behind == len(self.packets) and behind - first > 1):
                wanted.append((span_ms, first, behind))
        return [(first, behind) for _, first, behind in sorted(wanted, reverse=True)]

    def is_dense(self, group: tuple[int, int], seen: set[int]) -> bool:
        """Tell whether enough of a group was seen."""
        stamps = np.sort(np.array(self.packets.stamps[group[0] : group[1]], dtype=np.int64))
        return self.keeps_spacing(self._measure(stamps, int(stamps[-1]), seen))

    def keeps_spacing(self, gap: Gap) -> bool:
        """Tell whether a gap is as short as the plan wants all to be."""
        return gap.ms <= self.spacing_ms * TIME_SLACK and gap.frames <= self.spacing_frames * TIME_SLACK

    def measure(self, seen: set[int]) -> Gap:
        """Measure the longest stretch without an examined frame.

        Args:
            seen: The stamps of the examined frames.
        """
        return self._measure(self.shown, self.packets.end, seen)

    def _measure(self, shown: NDArray[np.int64], end: int, seen: set[int]) -> Gap:
        stamps = np.append(shown, end)
        # The set functions of numpy load modules when they are first called, which the sandbox denies. Of
        # frames that are shown at one time, one was examined.
        wanted = np.sort(np.fromiter(seen, dtype=np.int64, count=len(seen)))
        places = np.searchsorted(shown, wanted)
        places = places[(np.searchsorted(shown, wanted, "right") > places)]
        before, after = np.insert(places, 0, -1), np.append(places, len(shown))
        unseen = after - before - 1
        if not unseen.any():
            return Gap(ms=0, frames=0)
        # From when the first unseen frame comes up until an examined one replaces the last.
        lasting = stamps[after] - stamps[before + 1]
        return Gap(ms=int(lasting[unseen > 0].max() * self.packets.unit_ms), frames=int(unseen.max()))


def build_plan(packets: Packets, *, max_frames: int) -> Plan:
    """Plan how to go through a stream; `packets` holds at least one.

    Args:
        packets: All packets of the stream.
        max_frames: Frames that may be hashed; half of them are for key frames.
    """
    shown = np.sort(np.array(packets.stamps, dtype=np.int64))
    duration_ms = int(int(shown[-1] - shown[0]) * packets.unit_ms)
    half = max(max_frames // 2, 1)
    parts = min(EVEN_PARTS, half)
    keys = [int(at) for at in np.flatnonzero(np.frombuffer(packets.is_key, dtype=np.uint8))]
    # What stands before the first key frame decodes to nothing, but it is tried with the first group.
    edges = [0, *(at for at in keys if at > 0), len(packets)]
    return Plan(
        packets=packets,
        shown=shown,
        spacing_ms=max(SPACING_MS, -(-duration_ms // parts)),
        spacing_frames=max(SPACING_FRAMES, -(-len(packets) // parts)),
        keys=tuple(thin(keys, packets, half)),
        groups=tuple(pairwise(edges)),
    )


def thin(keys: list[int], packets: Packets, limit: int) -> list[int]:
    """Keep at most `limit` key frames, even in number and even in time; all where there are no more."""
    if len(keys) <= limit:
        return keys
    times = np.array([packets.stamps[at] for at in keys], dtype=np.int64)
    order = np.argsort(times, kind="stable")
    sorted_times = times[order]
    chosen: set[int] = set()
    # Where the frames are evenly spaced, both ways choose the same ones, and there may be more of each.
    for each in range(limit, max(limit // 2, 1) - 1, -max(limit // 16, 1)):
        by_number = np.linspace(0, len(keys) - 1, each).round().astype(np.intp)
        even = np.linspace(sorted_times[0], sorted_times[-1], each)
        by_time = order[np.minimum(np.searchsorted(sorted_times, even), len(keys) - 1)]
        chosen = {*by_number.tolist(), *by_time.tolist()}
        if len(chosen) <= limit:
            break
    return [keys[at] for at in sorted(chosen)][:limit]
