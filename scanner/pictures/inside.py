"""Pictures and films inside a picture, each examined as if it had come alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from PIL import Image

from scanner.pictures.gathering import RefusedError
from scanner.report import UnscannableReason
from scanner.sniff import PLAYED
from scanner.video import decode_video

if TYPE_CHECKING:
    from collections.abc import Callable

    from scanner.embedded import Embedded
    from scanner.formats.thumbnails import PlainPicture
    from scanner.outcome import Job, Outcome
    from scanner.pictures.gathering import Gathering


def add_plain(plain: PlainPicture, gathering: Gathering) -> None:
    """Hash a picture that is stored as plain pixels.

    Raises:
        RefusedError: There are too many pictures, or it is too large.
    """
    gathering.begin_embedded()
    gathering.check_size(plain.width, plain.height)
    image = Image.frombytes(plain.mode, (plain.width, plain.height), plain.pixels)
    if plain.palette:
        image.putpalette(plain.palette)
    gathering.add(image.convert("RGB") if plain.mode != "L" else image, orientation=1)


def add_film(
    film: Embedded, gathering: Gathering, *, decode_picture: Callable[[bytes, Job], Outcome]
) -> None:
    """Examine the film of a motion photo, or a sequence.

    Raises:
        RefusedError: It cannot be examined as `docs/video.md` says, or there are too many pictures.
    """
    if film.media_type not in PLAYED:
        raise RefusedError(UnscannableReason.UNSUPPORTED)
    gathering.begin_embedded()
    outcome = decode_video(
        film.data, replace(gathering.job, media_type=film.media_type), decode_picture=decode_picture
    )
    gathering.take_film(outcome)
    if outcome.reason is not None:
        raise RefusedError(outcome.reason)
