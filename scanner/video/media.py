"""Examine a file of video or sound: every stream of moving pictures, and every cover.

A video is always sampled, and the outcome says what was. Where the rule of `docs/video.md` was kept the
outcome has no reason against a no-match; where it was not, by want of time or by faults in the file, it has.
"""

from __future__ import annotations

import gc
import io
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import av
import av.logging
import numpy as np

from scanner.outcome import MAX_SAMPLES, Job, Outcome
from scanner.reduced import Wanted
from scanner.report import Coverage, Sampling, UnscannableReason
from scanner.settings import ScannerSettings
from scanner.sniff import PLAYED, MediaType, sniff
from scanner.video.container import DEMUXERS, open_container, read_covers, sort_streams
from scanner.video.copies import copy_video
from scanner.video.decoding import StreamDecoding
from scanner.video.errors import RefusedError
from scanner.video.hidden import find_hidden
from scanner.video.isomedia import check_iso_media
from scanner.video.matroska import is_cut_short
from scanner.video.ogg import count_picture_streams

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from scanner.detector import PictureHashes
    from scanner.video.container import Streams

    DecodePicture = Callable[[bytes, Job], Outcome]

MAX_COVER_SAMPLES: Final = 2
"""Of the small frames that classifiers see, so many may show covers."""

_WARM_SIDE: Final = 64


def prepare_video() -> None:
    """Load what FFmpeg loads on first use, before the process is locked in."""
    # What FFmpeg says about hostile bytes belongs in no log.
    av.logging.set_level(av.logging.PANIC)
    job = Job.of(ScannerSettings(), MediaType.MP4)
    clip = _draw_clip()
    decode_video(clip, job, decode_picture=_no_covers)
    wanted = Wanted(count=1, max_side=_WARM_SIDE, min_side=1)
    decode_video(clip, replace(job, copies=wanted), decode_picture=_no_covers)


def _draw_clip() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=1)
        stream.width = stream.height = _WARM_SIDE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        frame = av.VideoFrame(_WARM_SIDE, _WARM_SIDE, "yuv420p")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def _no_covers(_data: bytes, _job: Job) -> Outcome:
    return Outcome()


def decode_video(data: bytes, job: Job, *, decode_picture: DecodePicture) -> Outcome:
    """Examine a file of video or sound, or make the copies that are asked for.

    Args:
        data: The bytes.
        job: The budgets; `media_type` names one of `scanner.sniff.PLAYED`.
        decode_picture: What decodes a cover.
    """
    if job.copies is not None:
        return copy_video(data, job, job.copies, decode_picture=decode_picture)
    examination = _Examination(data, job, decode_picture)
    try:
        examination.run()
    except RefusedError as error:
        return examination.outcome(error.reason)
    except MemoryError:
        return examination.outcome(UnscannableReason.OUT_OF_MEMORY)
    except Exception:  # noqa: BLE001 - decoders raise anything about hostile bytes
        # A demuxer may stumble over the end that is missing before anybody says that it is.
        return examination.outcome(
            UnscannableReason.TRUNCATED if examination.is_truncated else UnscannableReason.CORRUPT
        )
    finally:
        # A container and its streams refer to each other, and their buffers of frames are large.
        gc.collect()
    return examination.outcome(None)


class _Examination:
    """One file, which keeps what it has when it fails half way."""

    def __init__(self, data: bytes, job: Job, decode_picture: DecodePicture) -> None:
        self.is_truncated = False
        self._data = data
        self._job = job
        self._decode_picture = decode_picture
        self._deadline = time.monotonic() + job.max_video_ms / 1000
        self._streams: list[StreamDecoding] = []
        self._covers: list[PictureHashes] = []
        self._cover_samples: list[NDArray[np.uint8]] = []
        self._cover_size = (0, 0)
        self._unseen_tracks = 0

    def run(self) -> None:
        """Check the container, then decode the covers and every stream.

        Raises:
            RefusedError: Something could not be examined, with the reason.
            av.error.FFmpegError: The demuxer cannot go on.
        """
        streams = self._open()
        if not self._job.is_first_frame_only:
            self._decode_covers(streams)
        shortfalls = [self._decode_stream(streams, place) for place in range(len(streams.moving))]
        if self.is_truncated:
            raise RefusedError(UnscannableReason.TRUNCATED)
        for reason in shortfalls:
            if reason is not None:
                raise RefusedError(reason)
        # What holds neither pictures nor sound holds something that this demuxer does not see.
        if streams.has_unknown or not (streams.moving or streams.has_sound):
            raise RefusedError(UnscannableReason.UNSUPPORTED)

    def outcome(self, reason: UnscannableReason | None) -> Outcome:
        """Build what is known so far."""
        seen = [one.seen for one in self._streams]
        samples = [one.samples[slot] for one in seen for slot in sorted(one.samples)] + self._cover_samples
        plans = [one.plan for one in seen if one.plan is not None]
        gaps = [one.gap for one in seen]
        width, height = seen[0].size if seen else self._cover_size
        sampling = Sampling(
            duration_ms=max((plan.duration_ms for plan in plans), default=0),
            examined=sum(len(one.stamps) for one in seen),
            longest_gap_ms=max((gap.ms for gap in gaps), default=0),
            longest_gap_frames=max((gap.frames for gap in gaps), default=0),
            unseen_tracks=self._unseen_tracks,
        )
        return Outcome(
            reason=reason,
            width=width,
            height=height,
            frames=sum(len(plan.shown) for plan in plans),
            coverage=Coverage.SAMPLED if seen or reason is not None else Coverage.NOT_VISUAL,
            pictures=tuple(hashes for one in seen for hashes in one.pictures) + tuple(self._covers),
            pixels=np.stack(samples) if samples else Outcome().pixels,
            sampling=sampling if seen else None,
        )

    def _open(self) -> Streams:
        listed_tracks = 0
        if DEMUXERS[self._job.media_type] == "mov":
            claims = check_iso_media(self._data)
            self.is_truncated = claims.is_truncated
            self._unseen_tracks = claims.drawn_text_tracks
            listed_tracks = claims.picture_tracks
        elif DEMUXERS[self._job.media_type] == "matroska":
            self.is_truncated = is_cut_short(self._data)
        elif DEMUXERS[self._job.media_type] == "ogg":
            listed_tracks = count_picture_streams(self._data)
        with open_container(self._data, self._job.media_type, max_pixels=self._job.max_pixels) as container:
            streams = sort_streams(container)
        self._unseen_tracks = max(self._unseen_tracks, streams.unseen)
        # A track of pictures that FFmpeg takes for something else would be left out in silence.
        if listed_tracks > len(streams.moving) and not streams.has_unknown:
            return replace(streams, has_unknown=True)
        return streams

    def _decode_stream(self, streams: Streams, place: int) -> UnscannableReason | None:
        count = len(streams.moving)
        now = time.monotonic()
        one = StreamDecoding(
            self._data,
            self._job,
            streams.moving[place],
            first_number=sum(len(other.seen.plan.shown) for other in self._streams if other.seen.plan),
            max_frames=max(self._job.max_video_frames // count, 1),
            samples=max((MAX_SAMPLES - len(self._cover_samples)) // count, 1),
        )
        self._streams.append(one)
        one.run(now + (self._deadline - now) / (count - place))
        if self._job.is_first_frame_only:
            return None
        return one.seen.find_shortfall(self._job)

    def _decode_covers(self, streams: Streams) -> None:
        if len(streams.covers) > self._job.max_embedded:
            raise RefusedError(UnscannableReason.TOO_MANY_FRAMES)
        left = self._job.max_embedded
        covers = read_covers(self._data, self._job, streams)
        if len(covers) < len(streams.covers):
            raise RefusedError(UnscannableReason.CORRUPT)
        # Without moving pictures everything in the file is said to have been seen.
        hidden = () if streams.moving else find_hidden(self._data, self._job.media_type, covers)
        for cover in (*covers, *(one.data for one in hidden)):
            found = sniff(cover)
            if found is None or found in PLAYED:
                raise RefusedError(UnscannableReason.UNSUPPORTED)
            # The cover itself counts as embedded; it does not move, and its own thumbnails count too.
            job = replace(self._job, media_type=found, max_frames=1, max_embedded=max(left - 1, 0))
            outcome = self._decode_picture(cover, job)
            left -= max(len({one.frame for one in outcome.pictures}), 1)
            self._covers += [
                replace(one, frame=-1 - len(self._covers) - number)
                for number, one in enumerate(outcome.pictures)
            ]
            self._cover_samples += list(outcome.pixels[: MAX_COVER_SAMPLES - len(self._cover_samples)])
            self._cover_size = (outcome.width, outcome.height)
            if outcome.reason is not None:
                raise RefusedError(outcome.reason)
