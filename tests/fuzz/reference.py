"""Does a decoder that knows nothing of the scanner still show the marker? Asked in processes of its own.

A picture shows it if any of its frames does, a film if at least half of its frames do: a film is sampled, and
what is to be found in it is what somebody who watches it sees.

Still pictures are asked for by Pillow and by FFmpeg, but JPEGs by Pillow alone: its libjpeg is what browsers
show a JPEG by, while FFmpeg takes the black of CMYK for opacity and fills damaged blocks in other colours.
"""

from __future__ import annotations

import io
import resource
import warnings
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, Final, TypeVar

import av
import numpy as np
from PIL import ExifTags, Image, ImageSequence

from scanner.perceptual import hash_picture
from tests.fuzz.seeds import planted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")

MAX_DISTANCE: Final = 31
MIN_QUALITY: Final = 50
_JPEG_READERS: Final = {"jpeg_pipe", "mjpeg"}
_MAX_FRAMES: Final = 200
_MEMORY: Final = 3 << 30
_SECONDS: Final = 30


def luma_hash(image: Image.Image) -> tuple[bytes, int]:
    """Hash a picture as it is, laid over white."""
    page = Image.new("RGBA", image.size, "white")
    page.alpha_composite(image.convert("RGBA"))
    hashed = hash_picture(np.asarray(page.convert("RGB")))
    return hashed.dihedral[0], hashed.quality


class Reference:
    """Answers whether the marker is still to be seen."""

    def __init__(self) -> None:
        self._pool = self._open()

    @staticmethod
    def _open() -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_bound)

    def shows_marker(self, data: bytes) -> bool:
        """Decode the bytes; a decoder that fails, crashes or never ends shows nothing."""
        try:
            return self._pool.submit(_shows_marker, data).result(_SECONDS)
        except (BrokenExecutor, TimeoutError):
            self.close()
            self._pool = self._open()
            return False

    def close(self) -> None:
        """End the process, whatever it does."""
        for process in list(self._pool._processes.values()):
            process.kill()
        self._pool.shutdown(wait=False, cancel_futures=True)


def _bound() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    warnings.simplefilter("ignore")


def _shows_marker(data: bytes) -> bool:
    wanted = int.from_bytes(luma_hash(planted())[0])
    return _picture_shows(data, wanted) or _thumbnail_shows(data, wanted) or _film_shows(data, wanted)


def _picture_shows(data: bytes, wanted: int) -> bool:
    try:
        with Image.open(io.BytesIO(data)) as image:
            frames = [_near(frame, wanted) for frame in _first(ImageSequence.Iterator(image))]
    except Exception:  # noqa: BLE001 (decoders raise anything about hostile bytes)
        return False
    return any(frames)


def _thumbnail_shows(data: bytes, wanted: int) -> bool:
    """Look at the thumbnail that the second directory of the EXIF block names."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            block = image.info["exif"].removeprefix(b"Exif\0\0")
            second = image.getexif().get_ifd(ExifTags.IFD.IFD1)
        start, length = second[ExifTags.Base.JpegIFOffset], second[ExifTags.Base.JpegIFByteCount]
    except Exception:  # noqa: BLE001 (as above)
        return False
    return _picture_shows(block[start : start + length], wanted)


def _film_shows(data: bytes, wanted: int) -> bool:
    """Look at the first stream of pictures, which may be a cover."""
    try:
        with av.open(io.BytesIO(data)) as container:
            if container.format.name in _JPEG_READERS:
                return False
            shown = [_near(frame.to_image(), wanted) for frame in _first(container.decode(video=0))]
    except Exception:  # noqa: BLE001 (as above)
        return False
    return 2 * sum(shown) >= len(shown) > 0


def _first(frames: Iterable[T]) -> Iterator[T]:
    for _, frame in zip(range(_MAX_FRAMES), frames, strict=False):
        yield frame


def _near(image: Image.Image, wanted: int) -> bool:
    bits, quality = luma_hash(image)
    return quality >= MIN_QUALITY and (int.from_bytes(bits) ^ wanted).bit_count() <= MAX_DISTANCE
