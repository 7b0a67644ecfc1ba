"""Decode pictures inside the sandbox, within budgets, to hashes and small samples.

Nothing here is trusted by the scanner: this code meets hostile bytes first, and its process is thrown away
when anything goes wrong. It opens no file after its process was locked in, and starts no thread.

`docs/formats.md` says what is decoded and what is looked into.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Final

from PIL import AvifImagePlugin, Image

from scanner.embedded import Embedded, find_embedded
from scanner.formats.carriers import CarrierBombError
from scanner.formats.items import parse_items
from scanner.formats.thumbnails import PlainPicture
from scanner.headers import Claims, read_claims
from scanner.pictures.frames import FORMATS, decode_frames
from scanner.pictures.gathering import Gathering, RefusedError
from scanner.pictures.inside import add_film, add_plain
from scanner.pictures.items import decode_beside, decode_heif
from scanner.pictures.jpeg import decode_jpeg
from scanner.pictures.jxl import decode_jxl
from scanner.report import UnscannableReason
from scanner.sniff import PLAYED, MediaType
from scanner.video import decode_video, prepare_video

if TYPE_CHECKING:
    from scanner.outcome import Job, Outcome

_TRUNCATED_WORDS: Final = ("truncated", "not enough", "eof", "end of file", "incomplete")
_SEQUENCE: Final = b"avis"
_STILL: Final = b"avif"


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
    for kind in sorted({*FORMATS.values(), "JPEG"}):
        buffer = io.BytesIO()
        picture.save(buffer, kind)
        with Image.open(io.BytesIO(buffer.getvalue())) as again:
            again.load()
    prepare_video()


def decode(data: bytes, job: Job) -> Outcome:
    """Decode and hash what `data` holds; a verdict on the decoding is always a value."""
    Image.MAX_IMAGE_PIXELS = job.max_pixels
    if job.media_type in PLAYED:
        return decode_video(data, job, decode_picture=decode)
    decoding = _Decoding(data, job)
    decoding.run()
    return decoding.gathering.outcome(decoding.reason)


class _Decoding:
    """One file, which goes on where it can when a part fails: what is seen elsewhere may decide."""

    def __init__(self, data: bytes, job: Job) -> None:
        self.gathering = Gathering(job)
        self.reason: UnscannableReason | None = None
        self._data = data
        self._job = job
        self._claims = Claims()

    def run(self) -> None:
        """Check the headers, then decode what is shown and what lies inside."""
        self._claims = read_claims(self._data, self._job.media_type)
        metadata = b""
        try:
            for width, height in self._claims.sizes:
                self.gathering.check_size(width, height)
            metadata = self._decode(self._data, self._job.media_type, self._claims)
        except Exception as error:  # noqa: BLE001 - decoders raise anything about hostile bytes
            self._fail(error)
        if not self._job.is_first_frame_only and self.reason is not UnscannableReason.OUT_OF_MEMORY:
            try:
                self._look_inside(metadata)
            except Exception as error:  # noqa: BLE001 - as above
                self._fail(error)
        if self._claims.is_truncated:
            self._fail(EOFError())
        if self._claims.has_more:
            self._fail(RefusedError(UnscannableReason.CORRUPT))
        if self.gathering.is_short:
            self._fail(RefusedError(UnscannableReason.TOO_MANY_FRAMES))

    def _fail(self, error: Exception) -> None:
        reason = _reason_for(error)
        # Some decoders do not say that the end was missing, but the container does.
        if reason is UnscannableReason.CORRUPT and self._claims.is_truncated:
            reason = UnscannableReason.TRUNCATED
        self.reason = self.reason or reason

    def _decode(self, data: bytes, media_type: MediaType, claims: Claims) -> bytes:
        """Decode one picture or animation; returns metadata that its decoder put together.

        Raises:
            Exception: Anything, about hostile bytes.
        """
        match media_type:
            case MediaType.JPEG:
                decode_jpeg(data, self.gathering)
                return b""
            case MediaType.JXL:
                return decode_jxl(data, self.gathering)
            case MediaType.HEIF:
                exif = decode_heif(data, self.gathering)
            case _:
                exif = decode_frames(data, media_type, self.gathering, claims.frames)
        if media_type in {MediaType.AVIF, MediaType.HEIF} and not self._job.is_first_frame_only:
            self._beside(data, media_type)
        return exif

    def _beside(self, data: bytes, media_type: MediaType) -> None:
        """Decode what the file holds beside what its decoder shows: items, or a sequence."""
        items = parse_items(data)
        is_avif = media_type is MediaType.AVIF
        is_sequence = data[8:12] == _SEQUENCE
        if is_avif:
            decode_beside(items, self.gathering, is_primary_seen=not is_sequence)
        if not items.has_tracks or (is_avif and is_sequence):
            return
        if is_avif:
            # By the first brand the decoder chooses what to show.
            self.gathering.begin_embedded()
            decode_frames(data[:8] + _SEQUENCE + data[12:], media_type, self.gathering, None)
        else:
            film = Embedded(media_type=MediaType.MP4, data=data)
            add_film(film, self.gathering, decode_picture=decode)

    def _look_inside(self, metadata: bytes) -> None:
        places = (
            (self._data, self._job.media_type, metadata),
            *(
                [(metadata, MediaType.JPEG, b"")]
                if self._job.media_type is MediaType.JXL and metadata
                else []
            ),
        )
        for data, media_type, exif in places:
            for found in find_embedded(data, media_type, exif if media_type is not MediaType.JXL else b""):
                try:
                    self._add_embedded(found)
                except RefusedError as error:
                    self._fail(error)
                    if self.gathering.is_full:
                        return
                except Exception as error:  # noqa: BLE001 - decoders raise anything about hostile bytes
                    self._fail(error)

    def _add_embedded(self, found: Embedded | PlainPicture) -> None:
        if isinstance(found, PlainPicture):
            add_plain(found, self.gathering)
        elif found.media_type in FORMATS or found.media_type in _ITEMS_AND_JPEG:
            claims = read_claims(found.data, found.media_type)
            self.gathering.begin_embedded()
            for width, height in claims.sizes:
                self.gathering.check_size(width, height)
            self._decode(found.data, found.media_type, claims)
        else:
            add_film(found, self.gathering, decode_picture=decode)


_ITEMS_AND_JPEG: Final = frozenset({MediaType.JPEG, MediaType.HEIF, MediaType.JXL})


def _reason_for(error: Exception) -> UnscannableReason:
    match error:
        case RefusedError():
            return error.reason
        case MemoryError():
            return UnscannableReason.OUT_OF_MEMORY
        case CarrierBombError():
            return UnscannableReason.TOO_LARGE
        case Image.DecompressionBombError() | Image.DecompressionBombWarning():
            return UnscannableReason.TOO_MANY_PIXELS
        case EOFError():
            return UnscannableReason.TRUNCATED
        case _:
            words = str(error).lower()
            is_truncated = any(word in words for word in _TRUNCATED_WORDS)
            return UnscannableReason.TRUNCATED if is_truncated else UnscannableReason.CORRUPT
