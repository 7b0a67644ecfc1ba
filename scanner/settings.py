"""Every bound and switch of the scanner, with the reason for its default."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from scanner.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 128 * 1024 * 1024
"""Above the 99 MiB video limit of Mastodon 4, the largest default among the servers that this relay
fronts."""

MAX_PIXELS = 66_355_200
"""Twice 7680 x 4320, the largest still picture that Mastodon accepts; 200 MB as RGB, inside the memory
limit."""

MAX_SIDE = 32_768
"""Longer strips than any camera or screenshot makes; keeps every row small and every kernel bounded."""

MAX_FRAMES = 1_000
"""A minute and a half of animation at ten frames a second, hashed frame by frame in a few seconds."""

MAX_FRAMES_LISTED = 20_000
"""Beyond this an animation is not even sampled: reaching its last frame means decoding all before it."""

MAX_TOTAL_PIXELS = 500_000_000
"""All frames together; about five seconds of decoding and hashing on one core."""

MAX_EMBEDDED = 16
"""Pictures inside metadata. Telephones write a thumbnail, a preview, a gain map, a depth map, a film and up
to seven mattes that tell hair from sky."""

MAX_VIDEO_FRAMES = 1_200
"""Frames of one video that are hashed: one a second of ten minutes, and as many key frames."""

VIDEO_TIMEOUT = timedelta(seconds=20)
"""What looking at one video may take before its frames are thinned out; 30 seconds of 1080p take two."""

MAX_VIDEO_GAP = timedelta(seconds=10)
"""Encoders put key frames this close or closer: x264 every 250 frames, cameras and live streams every 1 to 5
seconds. So a video whose key frames were all seen satisfies it."""

DECODE_TIMEOUT = timedelta(seconds=20)
"""Four times what the frame budgets need on a slow core; a decoder that takes longer is stuck."""

WORKER_WAIT = timedelta(minutes=5)
"""The longest that one scan waits for a free worker: the default patience for holding a delivery."""

JOBS_PER_WORKER = 500
"""A worker is replaced after so many pictures, so that nothing a picture did to it lasts."""

MEMORY_LIMIT = 2 * 1024**3
"""Address space of one worker: the largest picture as RGBA, its copy and its planes, with room for the
decoder."""


CLASSIFIERS = "classifier"
"""The name that stands for all classifiers in `ScannerSettings.advisory`."""


class TypeCheck(StrEnum):
    """How strictly the declared media type must agree with the bytes."""

    EXACT = "exact"
    """The same type, aliases apart: a WebP declared as image/png is a mismatch."""
    FAMILY = "family"
    """Both images, both videos or both audio."""


class Measure(StrEnum):
    """The layers of the decoder's sandbox."""

    NO_NEW_PRIVS = "no_new_privs"
    PARENT_DEATH_SIGNAL = "parent_death_signal"
    LIMITS = "limits"
    UNPRIVILEGED_USER = "unprivileged_user"
    LANDLOCK = "landlock"
    SECCOMP = "seccomp"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannerSettings:
    """How a scanner is to work.

    Attributes:
        workers: Decoder processes; None for one per processor that this process may use.
        max_bytes: Longer media is not decoded.
        max_pixels: Of one picture or frame.
        max_side: Of one picture or frame, in pixels.
        max_frames: Animations with more frames are sampled evenly.
        max_total_pixels: Of all frames together; beyond it an animation is sampled.
        max_embedded: Pictures inside the metadata of one file.
        max_video_frames: Frames of one video that are hashed.
        video_timeout: Wall time for looking at one video, which ends in order; `decode_timeout` comes on top
            of it before the decoder counts as stuck.
        max_video_gap: The longest stretch of a video that may stay unseen when that time is over.
        decode_timeout: Wall time of one decoding.
        worker_wait: The longest wait for a free worker.
        jobs_per_worker: Pictures after which a worker is replaced.
        memory_limit: Address space of a worker in bytes.
        type_check: How strictly the declared type must agree with the bytes.
        accept_sampled: Whether an animation of which only an even sample was seen may get the verdict
            no-match.
        accept_audio: Whether sound, which shows nothing, may get the verdict no-match.
        accept_weaker_sandbox: Measures whose absence the administrator accepts; none by default.
        canary: Whether the built-in list with the drawn test picture is loaded.
        embedded_classifier: Whether the built-in classifier runs.
        classifier_dirs: Directories of further classifiers, each holding safetensors weights.
        advisory: Names of detectors whose findings are reported without deciding the verdict; "classifier"
            means every classifier.
        shadow: Names of detectors, or of what builds them, that are only tried out: what they find is kept
            for statistics, and neither decides anything nor stands among the findings.
        text_cache: Directory in which the text embeddings of zero-shot classifiers are kept; None computes
            them anew.
    """

    workers: int | None = None
    max_bytes: int = MAX_BYTES
    max_pixels: int = MAX_PIXELS
    max_side: int = MAX_SIDE
    max_frames: int = MAX_FRAMES
    max_total_pixels: int = MAX_TOTAL_PIXELS
    max_embedded: int = MAX_EMBEDDED
    max_video_frames: int = MAX_VIDEO_FRAMES
    video_timeout: timedelta = VIDEO_TIMEOUT
    max_video_gap: timedelta = MAX_VIDEO_GAP
    decode_timeout: timedelta = DECODE_TIMEOUT
    worker_wait: timedelta = WORKER_WAIT
    jobs_per_worker: int = JOBS_PER_WORKER
    memory_limit: int = MEMORY_LIMIT
    type_check: TypeCheck = TypeCheck.EXACT
    accept_sampled: bool = False
    accept_audio: bool = True
    accept_weaker_sandbox: frozenset[Measure] = frozenset()
    canary: bool = True
    embedded_classifier: bool = True
    classifier_dirs: tuple[Path, ...] = ()
    advisory: frozenset[str] = frozenset({CLASSIFIERS})
    shadow: frozenset[str] = frozenset()
    text_cache: Path | None = None

    def __post_init__(self) -> None:
        """Refuse settings under which no scan could work.

        Raises:
            SettingsError: A bound is not positive.
        """
        bounds = {
            "workers": 1 if self.workers is None else self.workers,
            "max_bytes": self.max_bytes,
            "max_pixels": self.max_pixels,
            "max_side": self.max_side,
            "max_frames": self.max_frames,
            "max_total_pixels": self.max_total_pixels,
            "max_video_frames": self.max_video_frames,
            "video_timeout": self.video_timeout.total_seconds(),
            "max_video_gap": self.max_video_gap.total_seconds(),
            "jobs_per_worker": self.jobs_per_worker,
            "memory_limit": self.memory_limit,
            "decode_timeout": self.decode_timeout.total_seconds(),
            "worker_wait": self.worker_wait.total_seconds(),
        }
        for name, value in bounds.items():
            if value <= 0:
                raise SettingsError(f"{name} must be positive")
