"""What one decoding gathers, within its budgets, and keeps when it stops half way."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from scanner.outcome import MAX_SAMPLES, Outcome
from scanner.reduced import MAX_COPY_PIXELS, choose_places, fit, reduce_rendering
from scanner.render import (
    Geometry,
    hash_rendering,
    make_upright,
    orientation_of,
    renderings,
    sample_pixels,
)
from scanner.report import Coverage, UnscannableReason

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from scanner.detector import PictureHashes
    from scanner.outcome import Job
    from scanner.reduced import Wanted
    from scanner.report import Sampling

MAX_FRAMES_LISTED: Final = 20_000
"""Beyond this an animation is not sampled but cut: to reach its last frame all before it must be decoded."""

SAMPLING_REACH: Final = 4
"""An even sample decodes what lies between its frames too: up to so many times the pixel budget."""

DISTINCT_BITS: Final = 62
"""An embedded picture further from the main one than twice the match distance shows something else."""


class RefusedError(Exception):
    """Something about the media stops it from being examined wholly."""

    def __init__(self, reason: UnscannableReason) -> None:
        super().__init__(reason)
        self.reason = reason


class Gathering:
    """The pictures of one file, as far as they were decoded.

    Attributes:
        job: What is asked for, and the budgets.
        geometry: Of the picture that is shown last.
        frames: Frames or pictures that the file shows.
        coverage: Which of them were examined.
        pictures: Hashes of every picture.
        is_short: Whether frames were left out that the budgets did not allow.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.geometry = Geometry(width=0, height=0)
        self.frames = 0
        self.coverage = Coverage.FULL
        self.pictures: list[PictureHashes] = []
        self.is_short = False
        self._samples: list[NDArray[np.uint8]] = []
        self._sampling: Sampling | None = None
        self._embedded = 0
        self._copies: list[NDArray[np.uint8]] = []

    @property
    def is_embedded(self) -> bool:
        """Whether what is decoded now lies inside another file."""
        return self._embedded > 0

    @property
    def is_full(self) -> bool:
        """Whether there were more pictures inside the file than the budget allows."""
        return self._embedded > self.job.max_embedded

    def outcome(self, reason: UnscannableReason | None) -> Outcome:
        """Build what is known so far."""
        width, height = self.geometry.shown
        return Outcome(
            reason=reason,
            width=width,
            height=height,
            frames=self.frames,
            coverage=self.coverage,
            pictures=tuple(self.pictures),
            pixels=np.stack(self._samples) if self._samples else Outcome().pixels,
            sampling=self._sampling,
            copies=tuple(self._copies),
        )

    def begin_embedded(self) -> None:
        """Count one more picture inside the file; from here on all frames are its.

        Raises:
            RefusedError: There are more than the budget allows.
        """
        self._embedded += 1
        if self._embedded > self.job.max_embedded:
            raise RefusedError(UnscannableReason.TOO_MANY_FRAMES)

    def number_of(self, frame: int) -> int:
        """Tell how a frame is numbered: that of an embedded picture by the picture, counting downwards."""
        return -self._embedded or frame

    def check_size(self, width: int, height: int) -> None:
        """Compare a size with the budgets.

        Raises:
            RefusedError: It exceeds one.
        """
        job = self.job
        if width > job.max_side or height > job.max_side or width * height > job.max_pixels:
            raise RefusedError(UnscannableReason.TOO_MANY_PIXELS)

    def choose_frames(self, count: int, pixels: int) -> list[int]:
        """Choose which of so many frames of so many pixels are examined, and say so in the coverage."""
        if self.job.copies is not None:
            # To reach a frame all before it are decoded.
            is_cheap = count * pixels <= self.job.max_total_pixels and count <= self.job.max_frames
            return choose_places(count, self.job.copies.count if is_cheap else 1)
        if self.job.is_first_frame_only:
            return [0]
        budget = max(self.job.max_total_pixels // max(pixels, 1), 1)
        affordable = min(self.job.max_frames, budget)
        if count <= affordable:
            return list(range(count))
        self.is_short = True
        if count > min(MAX_FRAMES_LISTED, budget * SAMPLING_REACH):
            self.coverage = Coverage.PREFIX
            return list(range(affordable))
        if self.coverage is Coverage.FULL:
            self.coverage = Coverage.SAMPLED
        return spread(count, affordable)

    def take(self, hashes: PictureHashes, small: NDArray[np.uint8] | None) -> None:
        """Take a picture that was hashed already."""
        self.pictures.append(hashes)
        if small is not None and self._wants_sample:
            self._samples.append(small)

    def take_film(self, film: Outcome) -> None:
        """Take what was seen of a film inside the file; a film is always sampled, and that is said."""
        number = self.number_of(0)
        self.pictures += [replace(one, frame=number, timestamp_ms=None) for one in film.pictures]
        if film.sampling is not None:
            self._sampling = self._sampling or film.sampling
            if self.coverage is Coverage.FULL:
                self.coverage = Coverage.SAMPLED
        for small in film.pixels:
            if self._wants_sample:
                self._samples.append(small)

    def add(
        self, image: Image.Image, frame: int = 0, *, wants_sample: bool = True, orientation: int | None = None
    ) -> None:
        """Decode and hash one picture.

        Args:
            image: Opened; it is loaded here.
            frame: Its place among the frames.
            wants_sample: Whether detectors should see it as well.
            orientation: How it is to be turned; None where its metadata says.
        """
        image.load()
        turned = orientation_of(image) if orientation is None else orientation
        geometry = Geometry(width=image.width, height=image.height, orientation=turned)
        if not self.is_embedded:
            self.geometry = geometry
        if self.job.copies is not None:
            self._copy(next(renderings(make_upright(image, turned))), self.job.copies)
            return
        whole = Geometry(width=geometry.shown[0], height=geometry.shown[1])
        for rendering in renderings(make_upright(image, turned)):
            hashes = hash_rendering(rendering, whole, self.number_of(frame), is_approximate=False)
            is_news = not self.is_embedded or self._is_distinct(hashes)
            self.pictures.append(hashes)
            if wants_sample and is_news and self._wants_sample:
                self._samples.append(sample_pixels(rendering))

    def _copy(self, rendering: Image.Image, wanted: Wanted) -> None:
        width, height = fit(rendering.width, rendering.height, wanted)
        held = sum(one.shape[0] * one.shape[1] for one in self._copies)
        if len(self._copies) == wanted.count or held + width * height > MAX_COPY_PIXELS:
            raise RefusedError(UnscannableReason.TOO_MANY_PIXELS)
        self._copies.append(reduce_rendering(rendering, wanted))

    @property
    def _wants_sample(self) -> bool:
        return self.job.wants_pixels and len(self._samples) < MAX_SAMPLES

    def _is_distinct(self, hashes: PictureHashes) -> bool:
        """Tell whether an embedded picture shows something else than the pictures before it."""
        bits = int.from_bytes(hashes.dihedral[0])
        return all(
            (bits ^ int.from_bytes(one.dihedral[0])).bit_count() > DISTINCT_BITS for one in self.pictures
        )


def spread(count: int, wanted: int) -> list[int]:
    """Spread so many places evenly over a count, the first and the last among them."""
    return sorted(set(np.linspace(0, count - 1, wanted).round().astype(int).tolist()))
