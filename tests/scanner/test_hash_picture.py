"""The hash of a picture on its own: the reference's, to the last bit, or none at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from scanner.canary import PDQ, draw_canary
from scanner.report import PdqHash, UnscannableReason
from tests.images import PHOTOGRAPHS, animation, distance, encode, marker, photograph, reference_rgb
from tests.scanner import hostile

if TYPE_CHECKING:
    from scanner.scan import Scanner

LARGE = marker(31, width=2600, height=1900)
"""Large enough that an ordinary look at a JPEG decodes it at a quarter of its resolution."""


def hash_of(scanner: Scanner, data: bytes) -> PdqHash:
    found = scanner.hash_picture(data)
    assert isinstance(found, PdqHash)
    return found


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_every_photograph_has_the_hash_and_quality_of_the_reference(
    name: str, plain_scanner: Scanner
) -> None:
    pdqhash = pytest.importorskip("pdqhash")
    for data in (encode(photograph(name), "PNG"), encode(photograph(name), "JPEG", quality=88)):
        bits, quality = pdqhash.compute(reference_rgb(data))
        found = hash_of(plain_scanner, data)
        assert distance(found.bits, np.packbits(bits).tobytes()) == 0
        assert found.quality == quality


def test_a_large_jpeg_is_hashed_at_full_resolution(plain_scanner: Scanner) -> None:
    pdqhash = pytest.importorskip("pdqhash")
    data = encode(LARGE, "JPEG", quality=90)
    bits, quality = pdqhash.compute(reference_rgb(data))

    found = hash_of(plain_scanner, data)

    assert found.bits == np.packbits(bits).tobytes()
    assert found.quality == quality


def test_the_canary_has_the_hash_that_it_is_known_by(plain_scanner: Scanner) -> None:
    assert hash_of(plain_scanner, draw_canary()).bits == PDQ


@pytest.mark.parametrize("format_name", ["GIF", "PNG", "WEBP", "AVIF"])
def test_of_an_animation_the_first_frame_counts(format_name: str, plain_scanner: Scanner) -> None:
    frames = [marker(seed, width=320, height=240) for seed in (41, 42, 43)]
    first = hash_of(plain_scanner, encode(frames[0], "PNG"))
    found = hash_of(plain_scanner, animation(frames, format_name))
    last = hash_of(plain_scanner, encode(frames[-1], "PNG"))

    assert found.frame == 0
    assert distance(found.bits, first.bits) <= 24  # What colours and coding cost a drawn picture.
    assert distance(found.bits, last.bits) > 62


def test_a_picture_is_hashed_as_it_is_shown(plain_scanner: Scanner) -> None:
    upright = marker(51, width=700, height=500)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encode(upright.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)
    shown = hash_of(plain_scanner, encode(upright, "PNG"))

    assert hash_of(plain_scanner, turned) == shown

    see_through = upright.convert("RGBA")
    see_through.paste((0, 0, 0, 0), (0, 0, 350, 500))
    over_white = Image.new("RGB", upright.size, "white")
    over_white.paste(see_through, mask=see_through.getchannel("A"))
    assert hash_of(plain_scanner, encode(see_through, "PNG")) == hash_of(
        plain_scanner, encode(over_white, "PNG")
    )


@pytest.mark.parametrize("size", [(300, 200), (3, 300)])
def test_where_there_is_nothing_to_see_the_quality_is_zero(
    size: tuple[int, int], plain_scanner: Scanner
) -> None:
    assert hash_of(plain_scanner, encode(Image.new("RGB", size, "teal"), "PNG")).quality == 0


def test_what_is_no_picture_has_no_hash_and_says_why(plain_scanner: Scanner) -> None:
    whole = encode(marker(61), "JPEG")
    for data, reason in (
        (b"", UnscannableReason.EMPTY),
        (b"<!doctype html><p>words</p>", UnscannableReason.NOT_MEDIA),
        (b"II*\x00" + bytes(60), UnscannableReason.UNSUPPORTED),
        (whole[: len(whole) // 2], UnscannableReason.TRUNCATED),
        (hostile.png_bomb(60_000, 60_000), UnscannableReason.TOO_MANY_PIXELS),
    ):
        assert plain_scanner.hash_picture(data) is reason
