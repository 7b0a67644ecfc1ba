"""Reduced copies of what a video shows: its first frame and some more, or the cover of a sound.

What the file is, and whether it was seen as `docs/video.md` says, the examination has said already. Here a
part that does not decode, or that there is no time for, only makes the copies fewer.
"""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from scanner.outcome import Outcome
from scanner.reduced import MAX_COPY_PIXELS, choose_places, fit, reduce_rendering
from scanner.report import UnscannableReason
from scanner.sniff import PLAYED, sniff
from scanner.video.container import DEMUXERS, open_container, read_covers, sort_streams
from scanner.video.errors import RefusedError
from scanner.video.frames import show_frame, stamp_of
from scanner.video.isomedia import check_iso_media
from scanner.video.plan import build_plan
from scanner.video.reader import open_reader

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from av import VideoFrame
    from numpy.typing import NDArray

    from scanner.outcome import Job
    from scanner.reduced import Wanted
    from scanner.video.plan import Plan
    from scanner.video.reader import Reader

COPY_SECONDS: Final = 5.0
"""After this no further frame is looked for: a minute of 1080p is decoded wholly in as long."""


def copy_video(
    data: bytes, job: Job, wanted: Wanted, *, decode_picture: Callable[[bytes, Job], Outcome]
) -> Outcome:
    """Make copies of a video, or of the cover of a sound.

    Args:
        data: The bytes.
        job: The budgets; `media_type` names one of `scanner.sniff.PLAYED`.
        wanted: What copies.
        decode_picture: What decodes a cover.
    """
    copying = _Copying(data, job, wanted)
    try:
        cover = copying.run()
    except RefusedError as error:
        return Outcome(reason=error.reason, copies=tuple(copying.copies))
    except MemoryError:
        return Outcome(reason=UnscannableReason.OUT_OF_MEMORY, copies=tuple(copying.copies))
    except Exception:  # noqa: BLE001 - decoders raise anything about hostile bytes
        return Outcome(reason=UnscannableReason.CORRUPT, copies=tuple(copying.copies))
    if cover is not None:
        found = sniff(cover)
        if found is None or found in PLAYED:
            return Outcome(reason=UnscannableReason.UNSUPPORTED)
        return decode_picture(cover, replace(job, media_type=found))
    return Outcome(reason=None if copying.copies else UnscannableReason.CORRUPT, copies=tuple(copying.copies))


class _Copying:
    """The copies of one file, which are kept when something fails half way."""

    def __init__(self, data: bytes, job: Job, wanted: Wanted) -> None:
        self.copies: list[NDArray[np.uint8]] = []
        self._data = data
        self._job = job
        self._wanted = wanted
        self._deadline = time.monotonic() + COPY_SECONDS
        self._pixels = 0

    def run(self) -> bytes | None:
        """Copy frames of every stream as far as there are copies left; return the cover where none moves.

        Raises:
            RefusedError: The file is not read, a frame is too large, or there is nothing to see.
            av.error.FFmpegError: The demuxer cannot go on.
        """
        job = self._job
        if DEMUXERS[job.media_type] == "mov":
            check_iso_media(self._data)
        with open_container(self._data, job.media_type, max_pixels=job.max_pixels) as container:
            streams = sort_streams(container)
        if not streams.moving:
            covers = read_covers(self._data, job, streams)
            if not covers:
                raise RefusedError(UnscannableReason.UNSUPPORTED)
            return covers[0]
        each = max(self._wanted.count // len(streams.moving), 1)
        for index in streams.moving[: self._wanted.count]:
            self._copy_stream(index, each)
        return None

    def _copy_stream(self, index: int, count: int) -> None:
        with open_reader(self._data, self._job, index) as reader:
            self._check_size(*reader.size)
            packets = reader.list_packets()
        if len(packets) == 0:
            return
        plan = build_plan(packets, max_frames=self._job.max_frames)
        stamps = sorted({int(plan.shown[place]) for place in choose_places(len(plan.shown), count)})
        with open_reader(self._data, self._job, index) as reader:
            for stamp in stamps:
                if self.copies and time.monotonic() > self._deadline:
                    return
                place = plan.packets.stamps.index(stamp)
                group = next(one for one in plan.groups if one[0] <= place < one[1])
                # Not every demuxer finds every place.
                frame = self._find_frame(reader, plan, group, stamp) or self._find_key(index, group[0])
                if frame is not None:
                    self._take(frame)

    def _find_frame(
        self, reader: Reader, plan: Plan, group: tuple[int, int], stamp: int
    ) -> VideoFrame | None:
        """Find the frame that is shown at a time, or the nearest before that there is time for."""
        latest: VideoFrame | None = None
        for frame in reader.decode_group(plan.packets, group, skips_unneeded=True):
            latest = frame
            shown = stamp_of(frame)
            if (shown is not None and shown >= stamp) or time.monotonic() > self._deadline:
                break
        return latest

    def _find_key(self, index: int, place: int) -> VideoFrame | None:
        """Go through the file from its beginning to a key frame, and decode it alone."""
        with open_reader(self._data, self._job, index) as reader:
            for packet in islice(reader.packets(), place, place + 1):
                return next(reader.decode_alone(packet), None)
        return None

    def _take(self, frame: VideoFrame) -> None:
        self._check_size(frame.width, frame.height)
        rendering = show_frame(frame)
        width, height = fit(rendering.width, rendering.height, self._wanted)
        self._pixels += width * height
        if self._pixels > MAX_COPY_PIXELS:
            raise RefusedError(UnscannableReason.TOO_MANY_PIXELS)
        self.copies.append(reduce_rendering(rendering, self._wanted))

    def _check_size(self, width: int, height: int) -> None:
        job = self._job
        if width > job.max_side or height > job.max_side or width * height > job.max_pixels:
            raise RefusedError(UnscannableReason.TOO_MANY_PIXELS)
