"""A coded HEVC picture is taken for whole only where every decoder would show the same."""

from __future__ import annotations

from random import Random

import av.error
import numpy as np
import pytest
from PIL import Image

from scanner.errors import MalformedError
from scanner.formats.items import parse_items
from scanner.pictures.hevc import HevcPicture
from tests.images import marker, photograph
from tests.scanner.containers import heif

MAX_PIXELS = 1 << 24
LENGTH_BYTES = 4
REFUSED = (MalformedError, av.error.FFmpegError)


def coded(picture: Image.Image, quality: int = 80) -> tuple[bytes, bytes]:
    """The one slice of a picture, without its length, and the configuration for it."""
    items = parse_items(heif(picture, quality=quality))
    assert items.primary is not None
    item = items.by_number[items.primary]
    configuration = item.find(b"hvcC")
    assert configuration is not None
    return items.read(item.number)[LENGTH_BYTES:], configuration


def see(unit: bytes, configuration: bytes) -> tuple[int, int]:
    data = len(unit).to_bytes(LENGTH_BYTES) + unit
    frame = HevcPicture(data, configuration, max_pixels=MAX_PIXELS).decode()
    return frame.width, frame.height


@pytest.fixture(scope="module")
def slice_and_configuration() -> tuple[bytes, bytes]:
    return coded(marker(5, width=224, height=160))


@pytest.mark.parametrize("quality", [5, 50, 95])
@pytest.mark.parametrize(
    "picture",
    [
        photograph("chelsea").resize((450, 300)),
        Image.new("RGB", (64, 64), "black"),
        Image.new("RGB", (512, 512), "grey"),
        Image.linear_gradient("L").convert("RGB"),
        Image.fromarray(np.arange(256 * 300, dtype=np.uint16).reshape(256, 300)),
        Image.linear_gradient("L"),
    ],
    ids=["photograph", "small and black", "one tile of grey", "slope", "more than eight bits", "luma alone"],
)
def test_an_intact_picture_is_seen_however_plain_it_is(picture: Image.Image, quality: int) -> None:
    assert see(*coded(picture, quality)) == picture.size


def test_coded_data_that_ends_early_is_refused(slice_and_configuration: tuple[bytes, bytes]) -> None:
    unit, configuration = slice_and_configuration
    for share in (0.3, 0.6, 0.9, 0.99):
        with pytest.raises(REFUSED):
            see(unit[: int(len(unit) * share)], configuration)


def test_coded_data_behind_the_end_of_the_picture_is_refused(
    slice_and_configuration: tuple[bytes, bytes],
) -> None:
    unit, configuration = slice_and_configuration
    with pytest.raises(MalformedError):
        see(unit + unit[60:400], configuration)


def test_zeros_that_fill_up_behind_the_end_are_part_of_no_picture(
    slice_and_configuration: tuple[bytes, bytes],
) -> None:
    unit, configuration = slice_and_configuration
    # Source: ITU-T H.265, 7.3.2.10 (cabac_zero_words).
    assert see(unit + b"\0\0\3" * 8, configuration) == (224, 160)


def test_damage_that_the_decoder_passes_over_is_refused(slice_and_configuration: tuple[bytes, bytes]) -> None:
    unit, configuration = slice_and_configuration
    chance = Random(3)
    seen = 0
    for _ in range(60):
        damaged = bytearray(unit)
        at = chance.randrange(60, len(unit) - 200)
        damaged[at : at + 4] = chance.randbytes(4)
        try:
            see(bytes(damaged), configuration)
        except REFUSED:
            continue
        seen += 1
    # Of such damage some is a picture of its own, by chance.
    assert seen <= 3


def test_a_second_picture_behind_the_first_is_refused(slice_and_configuration: tuple[bytes, bytes]) -> None:
    unit, configuration = slice_and_configuration
    two = b"".join(len(one).to_bytes(LENGTH_BYTES) + one for one in (unit, unit))
    with pytest.raises(REFUSED):
        HevcPicture(two, configuration, max_pixels=MAX_PIXELS).decode()


@pytest.mark.parametrize("data", [b"\0\0\0\0", b"\0\0\0\x09abc", b"\xff\xff\xff\xff", b""])
def test_units_that_cannot_be_told_apart_are_refused(
    data: bytes, slice_and_configuration: tuple[bytes, bytes]
) -> None:
    with pytest.raises(REFUSED):
        HevcPicture(data, slice_and_configuration[1], max_pixels=MAX_PIXELS).decode()


def test_a_configuration_that_ends_early_is_refused() -> None:
    with pytest.raises(MalformedError):
        HevcPicture(b"", b"\1\2", max_pixels=MAX_PIXELS)
