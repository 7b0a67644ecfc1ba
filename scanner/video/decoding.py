"""Go through the moving pictures of one stream: key frames first, then what lies between them.

The key frames are found in one pass over the file. Then the groups of frames between them are decoded, the
longest first, so that whenever the time is over the longest unseen stretch is as short as it could be made.
Frames that no other frame refers to are passed over where enough others remain. A frame that did not decode
without a fault is hashed all the same, but does not count as seen.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from scanner.outcome import MAX_SAMPLES
from scanner.report import UnscannableReason
from scanner.video.errors import RefusedError
from scanner.video.frames import hash_frame, read_orientation, sample_frame, stamp_of
from scanner.video.plan import TIME_SLACK, Gap, Plan, build_plan, thin
from scanner.video.reader import open_reader

if TYPE_CHECKING:
    import numpy as np
    from av import VideoFrame
    from numpy.typing import NDArray

    from scanner.detector import PictureHashes
    from scanner.outcome import Job
    from scanner.video.reader import Reader

TRIAL_KEYS: Final = 4
"""After so many key frames it is known what one costs."""

KEYS_SHARE: Final = 0.7
"""Of the time that a stream has, what key frames may take; the rest is for what lies between them."""

MAX_CHECKED_KEYS: Final = 32
"""Of key frames whose decoder passes over damage in silence, so many are decoded some times more."""

HIGHEST_RATE: Final = 60
"""Frames a second. Where the times in a file are absurd, this makes frames of them."""

_FIRST_TURNED: Final = 5
"""The EXIF orientations from here on swap width and height."""


@dataclass(slots=True, kw_only=True)
class Seen:
    """What was found in one stream.

    Attributes:
        pictures: The hashes of every frame that was decoded.
        plan: How the stream is gone through; None where it holds no frame.
        stamps: When the frames are shown that decoded without a fault, in the stream's own unit.
        size: Width and height as shown.
        has_faults: Something did not decode.
        keys: The stamps of the key frames that were tried.
        is_out_of_time: The time, or the number of frames, was used up before the plan was.
        samples: Small frames by their place in time.
    """

    pictures: list[PictureHashes] = field(default_factory=list)
    plan: Plan | None = None
    stamps: set[int] = field(default_factory=set)
    size: tuple[int, int] = (0, 0)
    has_faults: bool = False
    keys: set[int] = field(default_factory=set)
    is_out_of_time: bool = False
    samples: dict[int, NDArray[np.uint8]] = field(default_factory=dict)

    @property
    def gap(self) -> Gap:
        """The longest stretch without an examined frame."""
        return Gap(ms=0, frames=0) if self.plan is None else self.plan.measure(self.stamps)

    def find_shortfall(self, job: Job) -> UnscannableReason | None:
        """Find why what was seen of the stream is too little; None where it is enough."""
        # A track that holds no frame may hold some for another reader.
        if self.plan is None or not self.stamps or not self.keys <= self.stamps:
            return UnscannableReason.CORRUPT
        if self.plan.keeps_spacing(self.gap):
            return None
        if self.has_faults or not self.is_out_of_time:
            return UnscannableReason.CORRUPT
        most_ms = max(job.max_gap_ms, self.plan.spacing_ms * TIME_SLACK)
        most_frames = max(job.max_gap_ms * HIGHEST_RATE / 1000, self.plan.spacing_frames * TIME_SLACK)
        is_enough = self.gap.ms <= most_ms and self.gap.frames <= most_frames
        return None if is_enough else UnscannableReason.TIMEOUT


class StreamDecoding:
    """The decoding of one stream, which keeps what it has when it fails half way."""

    def __init__(
        self, data: bytes, job: Job, index: int, *, first_number: int, max_frames: int, samples: int
    ) -> None:
        self.seen = Seen()
        self._data = data
        self._job = job
        self._index = index
        self._first_number = first_number
        self._max_frames = max_frames
        self._slots = min(samples, MAX_SAMPLES) if job.wants_pixels else 0
        self._misfits: dict[int, float] = {}
        self._deadline = 0.0
        self._hashed = 0

    def run(self, deadline: float) -> None:
        """Examine the stream until `deadline`, on the clock of `time.monotonic`.

        Raises:
            RefusedError: A frame is larger, or there are more packets, than the budgets allow.
            av.error.FFmpegError: The demuxer cannot go on.
        """
        self._deadline = deadline
        with open_reader(self._data, self._job, self._index) as reader:
            self._check_size(*reader.size)
            packets = reader.list_packets()
        if len(packets) == 0:
            return
        plan = self.seen.plan = build_plan(packets, max_frames=self._max_frames)
        with open_reader(self._data, self._job, self._index) as reader:
            try:
                self._see(reader, plan)
            finally:
                self.seen.has_faults = self.seen.has_faults or reader.has_faults

    def _see(self, reader: Reader, plan: Plan) -> None:
        self._see_keys(reader, plan)
        if self._job.is_first_frame_only:
            return
        for group in plan.groups_between():
            if self._is_used_up():
                self.seen.is_out_of_time = True
                return
            self._see_group(reader, plan, group)

    def _see_keys(self, reader: Reader, plan: Plan) -> None:
        wanted = set(plan.keys[:1] if self._job.is_first_frame_only else plan.keys)
        last, began, done = max(wanted, default=-1), time.monotonic(), 0
        checked_each = -(-len(wanted) // MAX_CHECKED_KEYS) or 1
        for number, packet in enumerate(reader.packets()):
            if number > last or (done and self._is_used_up()):
                return
            if number not in wanted:
                continue
            self.seen.keys.add(plan.packets.stamps[number])
            is_whole = done % checked_each != 0 or reader.is_whole(packet)
            for frame in reader.decode_alone(packet):
                self._take(frame, plan, is_key=True, is_whole=is_whole)
            done += 1
            if done == TRIAL_KEYS:
                now = time.monotonic()
                affordable = int((self._deadline - now) * KEYS_SHARE / max((now - began) / done, 1e-9))
                wanted = set(thin([at for at in plan.keys if at > number], plan.packets, max(affordable, 1)))

    def _see_group(self, reader: Reader, plan: Plan, group: tuple[int, int]) -> None:
        """Decode one group of frames and examine some, as far apart as the plan says."""
        for skips_unneeded in (True, False):
            last: VideoFrame | None = None
            latest, passed = plan.packets.stamps[group[0]], 0
            for frame in reader.decode_group(plan.packets, group, skips_unneeded=skips_unneeded):
                last, stamp = frame, stamp_of(frame)
                passed += 1
                if passed >= plan.spacing_frames or stamp is None or plan.is_due(stamp, latest):
                    self._take(frame, plan)
                    latest, passed, last = latest if stamp is None else stamp, 0, None
                if self._is_used_up():
                    break
            if last is not None and group[1] == len(plan.packets):
                self._take(last, plan)
            if self._is_used_up() or plan.is_dense(group, self.seen.stamps):
                return

    def _is_used_up(self) -> bool:
        return time.monotonic() > self._deadline or self._hashed >= self._max_frames

    def _take(self, frame: VideoFrame, plan: Plan, *, is_key: bool = False, is_whole: bool = True) -> None:
        """Hash a frame; of those between key frames not one at whose time another was seen."""
        stamp = stamp_of(frame)
        # Of key frames that claim one time, the last is shown for longest.
        if (stamp in self.seen.stamps and not is_key) or self._hashed >= self._max_frames:
            return
        self._hashed += 1
        self._check_size(frame.width, frame.height)
        orientation = read_orientation(frame)
        since_start = None if stamp is None else plan.since_start_ms(stamp)
        self.seen.pictures += hash_frame(
            frame,
            self._first_number + (0 if stamp is None else plan.number_of(stamp)),
            timestamp_ms=since_start,
            orientation=orientation,
            is_closer_look=self._job.is_closer_look,
        )
        if not any(self.seen.size):
            is_turned = orientation >= _FIRST_TURNED
            self.seen.size = (frame.height, frame.width) if is_turned else (frame.width, frame.height)
        if frame.is_corrupt or not is_whole:
            self.seen.has_faults = True
        elif stamp is not None:
            self.seen.stamps.add(stamp)
        self._sample(frame, orientation, since_start or 0, plan)

    def _sample(self, frame: VideoFrame, orientation: int, since_start: int, plan: Plan) -> None:
        """Keep the frame nearest to the middle of each of as many equal stretches as there may be samples."""
        if not self._slots:
            return
        place = since_start * self._slots / (plan.duration_ms + 1)
        slot = min(int(place), self._slots - 1)
        misfit = abs(place - slot - 0.5)
        if misfit < self._misfits.get(slot, 1.0):
            self._misfits[slot] = misfit
            self.seen.samples[slot] = sample_frame(frame, orientation=orientation)

    def _check_size(self, width: int, height: int) -> None:
        job = self._job
        if width > job.max_side or height > job.max_side or width * height > job.max_pixels:
            raise RefusedError(UnscannableReason.TOO_MANY_PIXELS)
