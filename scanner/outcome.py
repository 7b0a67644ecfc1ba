"""What crosses the border between the scanner and its sandboxed decoder.

Into the sandbox goes a `Job`, trusted; out of it comes an `Outcome`, untrusted: the process that wrote it has
decoded hostile bytes. It has a fixed binary layout with bounded counts and is parsed as any foreign input.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from scanner.detector import SAMPLE_SIDE, PictureHashes
from scanner.errors import MalformedError
from scanner.reduced import COPY_BYTES, Wanted, copies_to_bytes, parse_copies
from scanner.report import Coverage, Sampling, UnscannableReason
from scanner.sniff import MediaType

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scanner.settings import ScannerSettings

MAX_SAMPLES: Final = 8
"""Small RGB frames of one piece of media; a classifier takes tens of milliseconds for each."""

MAX_RENDERINGS: Final = 3
"""A transparent picture is hashed over white, over black and without its transparency."""

MAX_JOB_BYTES: Final = 4_096
"""A job is a dozen numbers and a few words."""

_ORIENTATIONS: Final = 8
_HEADER: Final = struct.Struct("<4sbbHIIIIIQIQIII")
_MAGIC: Final = b"BWO3"
_NO_TIME: Final = -1
_REASONS: Final = tuple(UnscannableReason)
_COVERAGES: Final = tuple(Coverage)
_PICTURE: Final = np.dtype(
    [
        ("frame", "<i4"),
        ("quality", "u1"),
        ("is_approximate", "u1"),
        ("timestamp_ms", "<i8"),
        ("dihedral", "u1", (_ORIENTATIONS, 32)),
        ("resized", "u1", (_ORIENTATIONS, 32)),
    ]
)
_SAMPLE_BYTES: Final = SAMPLE_SIDE * SAMPLE_SIDE * 3
_MAX_QUALITY: Final = 100
_NO_SAMPLING: Final = Sampling(duration_ms=0, examined=0, longest_gap_ms=0, longest_gap_frames=0)


def no_pixels() -> NDArray[np.uint8]:
    """Build the empty sample, `uint8 [0, 256, 256, 3]`."""
    return np.empty((0, SAMPLE_SIDE, SAMPLE_SIDE, 3), dtype=np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One decoding.

    Attributes:
        media_type: The sniffed type; the only decoder that is tried.
        is_closer_look: True to decode at full resolution what is otherwise decoded reduced.
        max_pixels: Of one picture.
        max_side: Of one picture, in pixels.
        max_frames: Frames examined.
        max_total_pixels: Of all examined frames together.
        max_embedded: Pictures inside the metadata.
        max_video_frames: Frames of a video that are hashed.
        max_video_ms: Milliseconds of wall time for one video; what then was not seen decides the verdict.
        max_gap_ms: The longest stretch of a video that may stay unseen when that time is over.
        wants_pixels: Whether small RGB frames are needed, or hashes alone.
        is_first_frame_only: Whether the picture that is shown first is all that is asked for: no further
            frames, nothing out of the metadata.
        copies: The reduced copies that are asked for in place of hashes; None for hashes. What is shown first
            may then be followed by other frames.
    """

    media_type: MediaType
    is_closer_look: bool
    max_pixels: int
    max_side: int
    max_frames: int
    max_total_pixels: int
    max_embedded: int
    max_video_frames: int
    max_video_ms: int
    max_gap_ms: int
    wants_pixels: bool = True
    is_first_frame_only: bool = False
    copies: Wanted | None = None

    def to_bytes(self) -> bytes:
        """Build the message that the worker parses."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, message: bytes) -> Job:
        """Parse the message of the trusted side."""
        fields = json.loads(message)
        fields["media_type"] = MediaType(fields["media_type"])
        fields["copies"] = None if fields["copies"] is None else Wanted(**fields["copies"])
        return cls(**fields)

    @classmethod
    def of(
        cls,
        settings: ScannerSettings,
        media_type: MediaType,
        *,
        is_closer_look: bool = False,
        wants_pixels: bool = True,
        is_first_frame_only: bool = False,
        copies: Wanted | None = None,
    ) -> Job:
        """Build the job for media of a type under the budgets of the settings."""
        return cls(
            media_type=media_type,
            is_closer_look=is_closer_look,
            max_pixels=settings.max_pixels,
            max_side=settings.max_side,
            max_frames=settings.max_frames,
            max_total_pixels=settings.max_total_pixels,
            max_embedded=settings.max_embedded,
            max_video_frames=settings.max_video_frames,
            max_video_ms=round(settings.video_timeout.total_seconds() * 1000),
            max_gap_ms=round(settings.max_video_gap.total_seconds() * 1000),
            wants_pixels=wants_pixels,
            is_first_frame_only=is_first_frame_only,
            copies=copies,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What a decoding came to.

    Attributes:
        reason: Why the media could not be decoded wholly; None where it was.
        width: As shown, in pixels; 0 where it is not known.
        height: As shown, in pixels; 0 where it is not known.
        frames: Frames that the file holds; 0 where it is not known.
        coverage: Which of them were examined.
        pictures: PDQ variants of every decoded picture, also where decoding stopped half way.
        pixels: `uint8 [F, 256, 256, 3]` RGB, F at most `MAX_SAMPLES`.
        sampling: Of a video, what was sampled; None for everything else.
        copies: `uint8 [H, W, 3]` RGB each, where copies were asked for.
    """

    reason: UnscannableReason | None = None
    width: int = 0
    height: int = 0
    frames: int = 0
    coverage: Coverage = Coverage.FULL
    pictures: tuple[PictureHashes, ...] = ()
    pixels: NDArray[np.uint8] = field(default_factory=no_pixels)
    sampling: Sampling | None = None
    copies: tuple[NDArray[np.uint8], ...] = ()


def max_outcome_bytes(settings: ScannerSettings) -> int:
    """Compute the size of the largest outcome that can come of a job under these settings."""
    frames = max(settings.max_frames, settings.max_video_frames)
    pictures = MAX_RENDERINGS * (frames + settings.max_embedded)
    return _HEADER.size + pictures * _PICTURE.itemsize + MAX_SAMPLES * _SAMPLE_BYTES + COPY_BYTES


def outcome_to_bytes(outcome: Outcome) -> bytes:
    """Build the binary form of an outcome."""
    sampling = outcome.sampling or _NO_SAMPLING
    header = _HEADER.pack(
        _MAGIC,
        -1 if outcome.reason is None else _REASONS.index(outcome.reason),
        _COVERAGES.index(outcome.coverage),
        outcome.sampling is not None,
        outcome.width,
        outcome.height,
        outcome.frames,
        len(outcome.pictures),
        len(outcome.pixels),
        sampling.duration_ms,
        sampling.examined,
        sampling.longest_gap_ms,
        sampling.longest_gap_frames,
        sampling.unseen_tracks,
        len(outcome.copies),
    )
    table = np.zeros(len(outcome.pictures), dtype=_PICTURE)
    for row, one in zip(table, outcome.pictures, strict=True):
        row["frame"], row["quality"], row["is_approximate"] = one.frame, one.quality, one.is_approximate
        row["timestamp_ms"] = _NO_TIME if one.timestamp_ms is None else one.timestamp_ms
        row["dihedral"] = np.frombuffer(b"".join(one.dihedral), np.uint8).reshape(_ORIENTATIONS, 32)
        row["resized"] = np.frombuffer(b"".join(one.resized), np.uint8).reshape(_ORIENTATIONS, 32)
    return header + table.tobytes() + outcome.pixels.tobytes() + copies_to_bytes(outcome.copies)


def parse_outcome(message: bytes) -> Outcome:
    """Parse the binary form of an outcome.

    Raises:
        MalformedError: The message has not exactly this form; its writer must not be trusted further.
    """
    try:
        fields = _HEADER.unpack_from(message)
        magic, reason, coverage, is_sampled, width, height, frames, pictures, samples = fields[:9]
        table_at = _HEADER.size
        pixels_at = table_at + pictures * _PICTURE.itemsize
        copies_at = pixels_at + samples * _SAMPLE_BYTES
        if magic != _MAGIC or samples > MAX_SAMPLES or len(message) < copies_at:
            raise MalformedError("an outcome of the decoder has another length than it claims")
        table = np.frombuffer(message, _PICTURE, pictures, table_at)
        if not -1 <= reason < len(_REASONS) or not 0 <= coverage < len(_COVERAGES):
            raise MalformedError("an outcome of the decoder names what does not exist")
        if pictures and int(table["quality"].max()) > _MAX_QUALITY:
            raise MalformedError("an outcome of the decoder holds an impossible quality")
    except struct.error as error:
        raise MalformedError("an outcome of the decoder is too short") from error
    pixels = np.frombuffer(message, np.uint8, samples * _SAMPLE_BYTES, pixels_at)
    return Outcome(
        reason=None if reason < 0 else _REASONS[reason],
        width=width,
        height=height,
        frames=frames,
        coverage=_COVERAGES[coverage],
        pictures=tuple(
            PictureHashes(
                frame=int(row["frame"]),
                quality=int(row["quality"]),
                dihedral=tuple(bits.tobytes() for bits in row["dihedral"]),
                resized=tuple(bits.tobytes() for bits in row["resized"]),
                is_approximate=bool(row["is_approximate"]),
                timestamp_ms=None if row["timestamp_ms"] < 0 else int(row["timestamp_ms"]),
            )
            for row in table
        ),
        pixels=pixels.reshape(samples, SAMPLE_SIDE, SAMPLE_SIDE, 3),
        sampling=_read_sampling(fields[9:14]) if is_sampled else None,
        copies=parse_copies(memoryview(message)[copies_at:], fields[14]),
    )


def _read_sampling(fields: tuple[int, ...]) -> Sampling:
    duration_ms, examined, longest_gap_ms, longest_gap_frames, unseen_tracks = fields
    return Sampling(
        duration_ms=duration_ms,
        examined=examined,
        longest_gap_ms=longest_gap_ms,
        longest_gap_frames=longest_gap_frames,
        unseen_tracks=unseen_tracks,
    )
