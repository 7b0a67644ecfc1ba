"""Reduced copies: what is shown, of every format, within what whoever takes them asks for."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pillow_heif
import pillow_jxl  # noqa: F401 - registers JPEG XL with Pillow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from scanner.reduced import (
    MAX_COPIES,
    MAX_COPY_PIXELS,
    ReducedPicture,
    Wanted,
    choose_places,
    encode_copies,
    fit,
)
from scanner.report import UnscannableReason
from tests.images import animation, distance, encode, marker, photograph
from tests.scanner import hostile
from tests.scanner.clips import FORMATS, HEIGHT, WIDTH, Scene, clip, cover, sound

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scanner.scan import Scanner

pillow_heif.register_heif_opener()

WANTED = Wanted(count=MAX_COPIES, max_side=1024, min_side=160)
STILL = ("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "JXL", "GIF")
ALIKE = 24
"""Bits by which coding and shrinking move the hash of a drawn picture."""


def copies_of(scanner: Scanner, data: bytes) -> tuple[NDArray[np.uint8], ...]:
    found = scanner.reduce_picture(data, max_side=WANTED.max_side, min_side=WANTED.min_side)
    assert isinstance(found, ReducedPicture), found
    return found.pictures


def hash_of(scanner: Scanner, picture: Image.Image | NDArray[np.uint8]) -> bytes:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    found = scanner.hash_picture(encode(image, "PNG"))
    assert not isinstance(found, UnscannableReason)
    return found.bits


def seeds_of(scanner: Scanner, copies: tuple[NDArray[np.uint8], ...], seeds: range) -> list[int]:
    """Tell which of the drawn pictures each copy shows."""
    known = {seed: hash_of(scanner, marker(seed, width=WIDTH, height=HEIGHT)) for seed in seeds}
    hashes = [hash_of(scanner, one) for one in copies]
    return [next(seed for seed, bits in known.items() if distance(bits, one) <= ALIKE) for one in hashes]


@pytest.mark.parametrize("format_name", STILL)
def test_of_a_still_picture_there_is_one_copy_in_the_bounds(format_name: str, plain_scanner: Scanner) -> None:
    picture = marker(71, width=1800, height=1200)
    (copy,) = copies_of(plain_scanner, encode(picture, format_name))

    assert copy.shape == (683, 1024, 3)
    assert distance(hash_of(plain_scanner, copy), hash_of(plain_scanner, picture)) <= ALIKE


def test_a_jpeg_that_is_decoded_at_a_reduced_scale_is_copied_upright(plain_scanner: Scanner) -> None:
    picture = marker(75, width=4800, height=3200)
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(picture.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=90, exif=exif)
    (copy,) = copies_of(plain_scanner, data)

    assert copy.shape == (683, 1024, 3)
    assert distance(hash_of(plain_scanner, copy), hash_of(plain_scanner, picture)) <= ALIKE


def test_nothing_is_enlarged(plain_scanner: Scanner) -> None:
    (copy,) = copies_of(plain_scanner, encode(marker(72, width=90, height=40), "PNG"))
    assert copy.shape == (40, 90, 3)


@pytest.mark.parametrize("size", [(9000, 200), (200, 9000), (32_768, 160)])
def test_the_shorter_side_stays_as_long_as_is_asked_for(
    size: tuple[int, int], plain_scanner: Scanner
) -> None:
    width, height = size
    (copy,) = copies_of(plain_scanner, encode(marker(73, width=width, height=height), "PNG"))
    assert min(copy.shape[:2]) == WANTED.min_side


@given(
    width=st.integers(1, 40_000),
    height=st.integers(1, 40_000),
    max_side=st.integers(1, 4_000),
    min_side=st.integers(1, 4_000),
)
def test_a_copy_is_never_larger_than_the_picture_nor_smaller_than_asked_for(
    width: int, height: int, max_side: int, min_side: int
) -> None:
    size = fit(width, height, Wanted(count=1, max_side=max_side, min_side=min_side))
    assert size[0] <= width
    assert size[1] <= height
    assert max(size) <= max(max_side, 1) or min(size) <= max(min_side, 1) or size == (width, height)
    assert min(size) >= min(min_side, width, height, max_side)


def test_a_copy_is_what_is_shown_upright_and_over_white(plain_scanner: Scanner) -> None:
    upright = marker(74, width=700, height=500).convert("RGBA")
    upright.paste((0, 0, 0, 0), (0, 0, 350, 500))
    exif = Image.Exif()
    exif[0x0112] = 6
    (copy,) = copies_of(plain_scanner, encode(upright.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif))

    page = Image.new("RGBA", upright.size, "white")
    page.alpha_composite(upright)
    assert np.array_equal(copy, np.asarray(page.convert("RGB")))


def test_grey_and_deep_pictures_are_copied_in_colour(plain_scanner: Scanner) -> None:
    grey = photograph("camera")
    (copy,) = copies_of(plain_scanner, encode(grey, "PNG"))
    assert np.array_equal(copy, np.asarray(grey.convert("RGB")))
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    (copy,) = copies_of(plain_scanner, encode(deep, "PNG"))
    assert np.array_equal(copy, np.asarray(grey.convert("RGB")))


@pytest.mark.parametrize("format_name", ["GIF", "PNG", "WEBP", "AVIF"])
def test_of_an_animation_there_is_an_even_sample(format_name: str, plain_scanner: Scanner) -> None:
    frames = [marker(seed, width=WIDTH, height=HEIGHT) for seed in range(80, 88)]
    copies = copies_of(plain_scanner, animation(frames, format_name))
    assert seeds_of(plain_scanner, copies, range(80, 88)) == [80, 82, 84, 86]


def test_of_a_file_with_a_few_pictures_there_are_all(plain_scanner: Scanner) -> None:
    heif = pillow_heif.HeifFile()
    for seed in (81, 82, 83):
        heif.add_from_pillow(marker(seed, width=WIDTH, height=HEIGHT))
    buffer = io.BytesIO()
    heif.save(buffer, quality=90)
    assert seeds_of(plain_scanner, copies_of(plain_scanner, buffer.getvalue()), range(80, 88)) == [81, 82, 83]


def test_of_a_costly_animation_there_is_the_first_frame(plain_scanner: Scanner) -> None:
    copies = copies_of(plain_scanner, hostile.gif(1200, 1200, 400))
    assert [one.shape for one in copies] == [(1024, 1024, 3)]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("group", [5, 1000])
def test_of_a_video_there_is_an_even_sample(kind: str, group: int, plain_scanner: Scanner) -> None:
    data = clip([Scene(seed=seed, frames=10) for seed in range(90, 94)], kind, group=group)
    assert seeds_of(plain_scanner, copies_of(plain_scanner, data), range(90, 94)) == [90, 91, 92, 93]


def test_every_track_of_a_video_has_its_share(plain_scanner: Scanner) -> None:
    data = clip([Scene(seed=91, frames=10)], tracks=[[Scene(seed=92, frames=10)]])
    assert seeds_of(plain_scanner, copies_of(plain_scanner, data), range(90, 94)) == [91, 91, 92, 92]


def test_a_video_that_players_turn_is_copied_as_it_is_shown(plain_scanner: Scanner) -> None:
    first, *_ = copies_of(plain_scanner, clip([Scene(seed=91, frames=3)], rotation=90))
    upright = marker(91, width=WIDTH, height=HEIGHT).transpose(Image.Transpose.ROTATE_90)
    assert distance(hash_of(plain_scanner, first), hash_of(plain_scanner, upright)) <= ALIKE


def test_of_sound_the_cover_is_copied(plain_scanner: Scanner) -> None:
    copies = copies_of(plain_scanner, sound("mp3", cover=cover(92)))
    assert seeds_of(plain_scanner, copies, range(90, 94)) == [92]


def test_of_what_shows_nothing_there_is_no_copy_and_it_is_said_why(plain_scanner: Scanner) -> None:
    whole = encode(marker(61), "PNG")
    for data, reason in (
        (b"", UnscannableReason.EMPTY),
        (b"<!doctype html><p>words</p>", UnscannableReason.NOT_MEDIA),
        (b"II*\x00" + bytes(60), UnscannableReason.UNSUPPORTED),
        (sound("mp3"), UnscannableReason.UNSUPPORTED),
        (whole[: len(whole) // 2], UnscannableReason.TRUNCATED),
        (hostile.png_bomb(60_000, 60_000), UnscannableReason.TOO_MANY_PIXELS),
    ):
        assert plain_scanner.reduce_picture(data, max_side=1024, min_side=160) is reason


def test_a_copy_that_would_be_too_large_is_refused(plain_scanner: Scanner) -> None:
    data = encode(marker(3, width=3100, height=2000), "PNG")
    assert MAX_COPY_PIXELS < 3100 * 2000
    found = plain_scanner.reduce_picture(data, max_side=3100, min_side=160)
    assert found is UnscannableReason.TOO_MANY_PIXELS


def test_places_are_even_and_begin_with_the_first() -> None:
    assert choose_places(1, 4) == [0]
    assert choose_places(3, 4) == [0, 1, 2]
    assert choose_places(100, 4) == [0, 25, 50, 75]


def test_an_encoded_copy_shows_the_same_and_says_nothing_more() -> None:
    picture = photograph("astronaut")
    (copy,) = encode_copies(ReducedPicture(pictures=(np.asarray(picture),)), max_bytes=4_000_000) or ()
    with Image.open(io.BytesIO(copy.data)) as again:
        assert (again.format, again.size) == ("JPEG", (copy.width, copy.height))
        assert not again.getexif()
        assert set(again.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        far = np.asarray(ImageOps.grayscale(again), dtype=int) - np.asarray(ImageOps.grayscale(picture))
    assert np.abs(far).mean() < 3


def test_copies_share_the_room_there_is_and_are_none_where_it_is_too_small() -> None:
    noise = np.random.default_rng(5).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    four = ReducedPicture(pictures=(noise,) * 4)

    def sizes(**given: Any) -> list[int] | None:
        encoded = encode_copies(four, **given)
        return None if encoded is None else [len(one.data) for one in encoded]

    roomy, narrow = sizes(max_bytes=4_000_000), sizes(max_bytes=400_000)
    assert roomy is not None
    assert narrow is not None
    assert sum(narrow) <= 400_000 < sum(roomy)
    assert sizes(max_bytes=4_000) is None
