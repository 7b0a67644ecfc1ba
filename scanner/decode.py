"""Decode pictures inside the sandbox, within budgets, to hashes and small samples.

Nothing here is trusted by the scanner: this code meets hostile bytes first, and its process is thrown away
when anything goes wrong. It imports no more than Pillow and numpy, and opens no file after its process was
locked in.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import AvifImagePlugin, Image, JpegImagePlugin

from scanner.embedded import find_embedded
from scanner.headers import Claims, read_claims
from scanner.outcome import MAX_SAMPLES, Outcome
from scanner.perceptual import MIN_QUALITY
from scanner.render import (
    Geometry,
    hash_rendering,
    make_upright,
    orientation_of,
    renderings,
    sample_pixels,
)
from scanner.report import Coverage, UnscannableReason
from scanner.sniff import PLAYED, MediaType
from scanner.video import decode_video, prepare_video

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scanner.detector import PictureHashes
    from scanner.outcome import Job

MAX_FRAMES_LISTED: Final = 20_000
"""Beyond this an animation is not sampled but cut: to reach its last frame all before it must be decoded."""

SAMPLING_REACH: Final = 4
"""An even sample decodes what lies between its frames too: up to so many times the pixel budget."""

MIN_REDUCED_SIDE: Final = 512
"""Reduced to no less than this, 142 photographs moved by at most 22 bits and 12 at the 99th percentile."""

QUALITY_MARGIN: Final = 10
"""Around the least quality that is matched, the full resolution decides on which side a picture lies."""

DISTINCT_BITS: Final = 62
"""An embedded picture further from the main one than twice the match distance shows something else."""

_FORMATS: Final = {
    MediaType.PNG: "PNG",
    MediaType.APNG: "PNG",
    MediaType.GIF: "GIF",
    MediaType.WEBP: "WEBP",
    MediaType.AVIF: "AVIF",
}
_TRUNCATED_WORDS: Final = ("truncated", "not enough", "eof", "end of file", "incomplete")


class _BudgetError(Exception):
    """A budget would be exceeded."""

    def __init__(self, reason: UnscannableReason) -> None:
        super().__init__(reason)
        self.reason = reason


def prepare() -> None:
    """Set the decoders up and load their libraries, before the process is locked in."""
    # Threads are denied in the sandbox, and AVIF would read as undecodable.
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    Image.init()
    # Pillow checks frames that grow by itself; its limit must not be looser than ours and its warning must
    # stop.
    warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
    # Pillow would go on with the still picture while browsers show the animation.
    warnings.filterwarnings("error", message="Invalid APNG")
    picture = Image.new("RGB", (16, 16))
    for kind in (*_FORMATS, MediaType.JPEG):
        buffer = io.BytesIO()
        picture.save(buffer, _FORMATS.get(kind, "JPEG"))
        with Image.open(io.BytesIO(buffer.getvalue())) as again:
            again.load()
    prepare_video()


def decode(data: bytes, job: Job) -> Outcome:
    """Decode and hash what `data` holds; a verdict on the decoding is always a value."""
    Image.MAX_IMAGE_PIXELS = job.max_pixels
    if job.media_type in PLAYED:
        return decode_video(data, job, decode_picture=decode)
    decoding = _Decoding(data, job)
    try:
        decoding.run()
    except Exception as error:  # noqa: BLE001 - decoders raise anything about hostile bytes
        reason = _reason_for(error)
        # Some decoders do not say that the end was missing, but the container does.
        if reason is UnscannableReason.CORRUPT and decoding.claims.is_truncated:
            reason = UnscannableReason.TRUNCATED
        return decoding.outcome(reason)
    return decoding.outcome(None)


def _reason_for(error: Exception) -> UnscannableReason:
    match error:
        case _BudgetError():
            return error.reason
        case MemoryError():
            return UnscannableReason.OUT_OF_MEMORY
        case Image.DecompressionBombError() | Image.DecompressionBombWarning():
            return UnscannableReason.TOO_MANY_PIXELS
        case EOFError():
            return UnscannableReason.TRUNCATED
        case _:
            words = str(error).lower()
            is_truncated = any(word in words for word in _TRUNCATED_WORDS)
            return UnscannableReason.TRUNCATED if is_truncated else UnscannableReason.CORRUPT


class _Decoding:
    """One decoding, which keeps what it has when it fails half way."""

    def __init__(self, data: bytes, job: Job) -> None:
        self.claims = Claims()
        self._data = data
        self._job = job
        self._geometry = Geometry(width=0, height=0)
        self._frames = 0
        self._coverage = Coverage.FULL
        self._pictures: list[PictureHashes] = []
        self._samples: list[NDArray[np.uint8]] = []

    def outcome(self, reason: UnscannableReason | None) -> Outcome:
        """Build what is known so far."""
        width, height = self._geometry.shown
        pixels = np.stack(self._samples) if self._samples else Outcome().pixels
        return Outcome(
            reason=reason,
            width=width,
            height=height,
            frames=self._frames,
            coverage=self._coverage,
            pictures=tuple(self._pictures),
            pixels=pixels,
        )

    def run(self) -> None:
        """Check the headers, then decode the frames and the embedded pictures."""
        self.claims = read_claims(self._data, self._job.media_type)
        for width, height in self.claims.sizes:
            self._check_size(width, height)
        if self._job.media_type is MediaType.JPEG:
            self._jpeg()
            metadata = self._data
        else:
            metadata = self._frames_of()
        if not self._job.is_first_frame_only:
            self._embedded(metadata)
        if self.claims.is_truncated:
            raise EOFError
        if self._coverage is not Coverage.FULL:
            raise _BudgetError(UnscannableReason.TOO_MANY_FRAMES)

    def _check_size(self, width: int, height: int) -> None:
        if width > self._job.max_side or height > self._job.max_side or width * height > self._job.max_pixels:
            raise _BudgetError(UnscannableReason.TOO_MANY_PIXELS)

    def _jpeg(self) -> None:
        self._frames = 1
        if not self._job.is_closer_look and self._jpeg_reduced():
            return
        self._samples.clear()
        self._pictures.clear()
        image = JpegImagePlugin.JpegImageFile(io.BytesIO(self._data))
        self._check_size(*image.size)
        self._add_frame(image, 0, wants_sample=True)

    def _jpeg_reduced(self) -> bool:
        """Decode the luma plane at a reduced scale; False where only the full decoding can tell."""
        image = JpegImagePlugin.JpegImageFile(io.BytesIO(self._data))
        width, height = image.size
        self._check_size(width, height)
        # CMYK has no luma plane, and a JPEG without colour transform stores none either.
        if image.mode not in {"L", "RGB"} or image.info.get("adobe_transform") == 0:
            return False
        is_grey = image.mode == "L"
        shortest = min(width, height)
        scale = next(s for s in (8, 4, 2, 1) if shortest // s >= MIN_REDUCED_SIDE or s == 1)
        self._geometry = Geometry(width=width, height=height, scale=scale, orientation=orientation_of(image))
        mode = "YCbCr" if self._job.wants_pixels else "L"
        image.draft(mode, (max(width // scale, 1), max(height // scale, 1)))
        try:
            image.load()
        except OSError:
            return False
        upright = make_upright(image, self._geometry.orientation)
        luma = upright.getchannel(0) if upright.mode == "YCbCr" else upright
        # A grey picture at full size is the same by either way.
        is_approximate = scale > 1 or not is_grey
        hashes = hash_rendering(luma, self._geometry, 0, is_approximate=is_approximate)
        if is_approximate and abs(hashes.quality - MIN_QUALITY) <= QUALITY_MARGIN:
            return False
        self._pictures.append(hashes)
        if self._job.wants_pixels:
            self._samples.append(sample_pixels(upright))
        return True

    def _frames_of(self) -> bytes:
        """Decode the frames of any other format; returns the EXIF block."""
        with Image.open(io.BytesIO(self._data), formats=(_FORMATS[self._job.media_type],)) as image:
            self._check_size(*image.size)
            # Counting the frames of a GIF by Pillow would walk it once more.
            listed = self.claims.frames if self._job.media_type is MediaType.GIF else None
            self._frames = max(listed or getattr(image, "n_frames", 1), 1)
            chosen = self._choose_frames(image.width * image.height)
            sampled = set(np.linspace(0, len(chosen) - 1, MAX_SAMPLES).round().astype(int).tolist())
            for place, frame in enumerate(chosen):
                if frame:
                    image.seek(frame)
                self._check_size(*image.size)
                self._add_frame(image, frame, wants_sample=place in sampled)
            exif = image.info.get("exif", b"")
        return exif if isinstance(exif, bytes) else b""

    def _choose_frames(self, pixels: int) -> list[int]:
        if self._job.is_first_frame_only:
            return [0]
        budget = max(self._job.max_total_pixels // max(pixels, 1), 1)
        affordable = min(self._job.max_frames, budget)
        if self._frames <= affordable:
            return list(range(self._frames))
        if self._frames > min(MAX_FRAMES_LISTED, budget * SAMPLING_REACH):
            self._coverage = Coverage.PREFIX
            return list(range(affordable))
        self._coverage = Coverage.SAMPLED
        return sorted(set(np.linspace(0, self._frames - 1, affordable).round().astype(int).tolist()))

    def _add_frame(self, image: Image.Image, frame: int, *, wants_sample: bool) -> None:
        image.load()
        orientation = orientation_of(image)
        geometry = Geometry(width=image.width, height=image.height, orientation=orientation)
        if frame >= 0:
            self._geometry = geometry
        whole = Geometry(width=geometry.shown[0], height=geometry.shown[1])
        for rendering in renderings(make_upright(image, orientation)):
            hashes = hash_rendering(rendering, whole, frame, is_approximate=False)
            is_news = frame >= 0 or self._is_distinct(hashes)
            self._pictures.append(hashes)
            if wants_sample and is_news and self._job.wants_pixels and len(self._samples) < MAX_SAMPLES:
                self._samples.append(sample_pixels(rendering))

    def _is_distinct(self, hashes: PictureHashes) -> bool:
        """Tell whether an embedded picture shows something else than the pictures before it."""
        bits = int.from_bytes(hashes.dihedral[0])
        return all(
            (bits ^ int.from_bytes(one.dihedral[0])).bit_count() > DISTINCT_BITS for one in self._pictures
        )

    def _embedded(self, metadata: bytes) -> None:
        places = find_embedded(metadata, self._job.max_embedded)
        if places is None:
            raise _BudgetError(UnscannableReason.TOO_MANY_FRAMES)
        for number, place in enumerate(places, start=1):
            try:
                image = JpegImagePlugin.JpegImageFile(io.BytesIO(metadata[place:]))
                self._check_size(*image.size)
                self._add_frame(image, -number, wants_sample=True)
            except (OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError):
                # The mark of a JPEG may stand in metadata by chance, and what no decoder opens is not a
                # picture.
                continue
