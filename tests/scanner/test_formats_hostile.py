"""Hostile and odd files of every picture format: seen wholly, or said not to be; never no-match unseen."""

from __future__ import annotations

import dataclasses
import io
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import av
import numpy as np
import pillow_heif
import pytest
from PIL import Image

from scanner.decode import decode, prepare
from scanner.formats.jpeg import find_header
from scanner.formats.jxl import parse_header
from scanner.outcome import Job, Outcome
from scanner.perceptual import hash_picture
from scanner.report import Coverage, UnscannableReason
from scanner.settings import ScannerSettings
from scanner.sniff import MediaType, sniff
from tests.images import distance, encode, marker
from tests.scanner import containers

SETTINGS = ScannerSettings()
VECTORS = Path(__file__).parents[1] / "vectors"
SECRET_HASH = hash_picture(np.asarray(containers.SECRET)).dihedral[0]


@pytest.fixture(scope="module", autouse=True)
def _prepared() -> None:
    prepare()


def run(data: bytes, **budgets: Any) -> Outcome:
    kind = sniff(data)
    assert kind is not None
    return decode(data, dataclasses.replace(Job.of(SETTINGS, kind), **budgets))


def film(picture: Image.Image) -> bytes:
    """A second of video that shows one picture."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height = picture.size
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 4_000_000
        for _ in range(10):
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode(None))
    return buffer.getvalue()


@pytest.mark.parametrize("cover", ["JPEG", "HEIF"])
def test_the_film_of_a_motion_photo_is_seen_and_said_to_be_sampled(cover: str) -> None:
    still = containers.jpeg(containers.COVER) if cover == "JPEG" else containers.heif(containers.COVER)
    outcome = run(still + film(containers.SECRET))
    assert (outcome.reason, outcome.coverage) == (None, Coverage.SAMPLED)
    assert outcome.sampling is not None
    inside = [one for one in outcome.pictures if one.frame == -1]
    assert min(distance(one.dihedral[0], SECRET_HASH) for one in inside) <= 31


def test_a_film_that_ends_early_makes_the_picture_unscannable() -> None:
    whole = containers.jpeg(containers.COVER) + film(containers.SECRET)
    assert run(whole[:-2_000]).reason in {UnscannableReason.TRUNCATED, UnscannableReason.CORRUPT}


@pytest.mark.parametrize("process", [0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF])
def test_a_lossless_or_hierarchical_jpeg_is_refused_by_name(process: int) -> None:
    data = bytearray(containers.jpeg())
    data[data.index(b"\xff\xc0") + 1] = process
    assert run(bytes(data)).reason is UnscannableReason.UNSUPPORTED


def test_a_jpeg_of_twelve_bits_is_refused_by_name() -> None:
    data = bytearray(containers.jpeg())
    data[data.index(b"\xff\xc0") + 4] = 12
    assert run(bytes(data)).reason is UnscannableReason.UNSUPPORTED
    # The same as a second picture.
    assert run(containers.jpeg(containers.COVER) + bytes(data)).reason is UnscannableReason.UNSUPPORTED


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}])
def test_every_way_to_code_a_jpeg_is_seen(options: dict[str, Any]) -> None:
    outcome = run(containers.jpeg(**options))
    assert outcome.reason is None
    assert distance(outcome.pictures[0].dihedral[0], SECRET_HASH) <= 10


def _marked_by_adobe(data: bytes, *, keeps_jfif: bool) -> bytes:
    """Say in Adobe's segment that the colours are as they are, which they are not."""
    jfif = 2 + 2 + int.from_bytes(data[4:6])
    adobe = containers.segment(0xEE, b"Adobe\x00\x64\x00\x00\x00\x00\x00")
    return data[: jfif if keeps_jfif else 2] + adobe + data[jfif:]


@pytest.mark.parametrize("keeps_jfif", [False, True])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_a_jpeg_whose_colours_readers_take_differently_is_seen_both_ways(
    *, keeps_jfif: bool, subsampling: int
) -> None:
    data = _marked_by_adobe(containers.jpeg(subsampling=subsampling), keeps_jfif=keeps_jfif)
    outcome = run(data)
    assert outcome.reason is None
    assert min(distance(one.dihedral[0], SECRET_HASH) for one in outcome.pictures) <= 10
    # The other reading shows the brightness as red.
    assert len({one.dihedral[0] for one in outcome.pictures}) == 2


def test_a_jpeg_by_arithmetic_coding_is_seen() -> None:
    data = (VECTORS / "jpeg" / "arithmetic.jpg").read_bytes()
    header = find_header(data)
    assert header is not None
    assert header.process == 0xC9
    outcome = run(data)
    assert outcome.reason is None
    wanted = hash_picture(np.asarray(marker(102, width=320, height=240))).dihedral[0]
    assert distance(outcome.pictures[0].dihedral[0], wanted) <= 10


def test_stray_bytes_between_segments_hide_no_jpeg() -> None:
    whole = containers.jpeg()
    behind = 4 + int.from_bytes(whole[4:6], "big")
    odd = whole[:behind] + b"\x11\x22\x33" + whole[behind:]
    assert find_header(odd) is not None
    assert run(containers.jpeg(containers.COVER) + odd).pictures[1].frame == -1


def test_three_bytes_by_chance_are_no_jpeg() -> None:
    noise = np.random.default_rng(7).integers(0, 256, 400_000, dtype=np.uint8).tobytes()
    outcome = run(containers.jpeg(containers.COVER) + noise.replace(b"\xff\xd8", b"\xff\xd8\xff\xe0"))
    assert outcome.reason is None
    assert [one.frame for one in outcome.pictures] == [0]


def heif_bomb(width: int, height: int) -> bytes:
    data = bytearray(containers.heif(marker(1, width=64, height=64)))
    at = data.index(b"ispe") + 8
    data[at : at + 8] = struct.pack(">II", width, height)
    return bytes(data)


def jxl_bomb(width: int, height: int) -> bytes:
    """A codestream whose header claims a size in thirty bits, and nothing behind it."""
    bits = "0" + "11" + f"{height - 1:030b}"[::-1] + "000" + "11" + f"{width - 1:030b}"[::-1] + "1"
    whole = int(bits[::-1], 2)
    return b"\xff\x0a" + whole.to_bytes((len(bits) + 7) // 8, "little") + bytes(64)


@pytest.mark.parametrize("data", [heif_bomb(50_000, 50_000), jxl_bomb(50_000, 50_000)], ids=["HEIF", "JXL"])
def test_a_header_bomb_is_refused_before_anything_is_allocated(data: bytes) -> None:
    tracemalloc.start()
    outcome = run(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert outcome.reason is UnscannableReason.TOO_MANY_PIXELS
    assert peak < 8 << 20


def test_coded_data_that_is_larger_than_its_boxes_say_is_refused() -> None:
    data = bytearray(containers.heif(marker(1, width=640, height=512)))
    at = data.index(b"ispe") + 8
    data[at : at + 8] = struct.pack(">II", 64, 64)
    assert run(bytes(data), max_pixels=100_000).reason is not None


WHOLE = {
    "HEIF": containers.heif(containers.SECRET),
    "tiled HEIF": containers.heif(marker(105, width=700, height=500), tile_size=256),
    "JPEG XL": encode(containers.SECRET, "JXL"),
    "JPEG XL in boxes": encode(containers.SECRET, "JXL", use_container=True),
    "AVIF": encode(containers.SECRET, "AVIF"),
    "APNG": encode(
        containers.SECRET, "PNG", save_all=True, append_images=[marker(106, width=360, height=300)]
    ),
    "progressive JPEG": containers.jpeg(progressive=True),
    "MPO": encode(containers.COVER, "MPO", save_all=True, append_images=[containers.SECRET]),
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_ends_early_is_never_taken_for_whole(name: str) -> None:
    whole = WHOLE[name]
    assert run(whole).reason is None
    for share in (0.05, 0.3, 0.6, 0.9, 0.99):
        assert run(whole[: int(len(whole) * share)]).reason is not None, share


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_heif_is_hashed_as_the_reference_shows_it(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = containers.heif(marker(107, width=500, height=300), exif=exif.tobytes())
    shown = pillow_heif.open_heif(io.BytesIO(data)).to_pillow().convert("RGB")
    outcome = run(data)
    assert (outcome.width, outcome.height) == shown.size
    assert distance(outcome.pictures[0].dihedral[0], hash_picture(np.asarray(shown)).dihedral[0]) <= 6


def test_a_grid_is_put_together_as_the_reference_does() -> None:
    data = containers.heif(marker(108, width=1300, height=900), tile_size=256)
    shown = pillow_heif.open_heif(io.BytesIO(data)).to_pillow().convert("RGB")
    outcome = run(data)
    assert (outcome.width, outcome.height) == (1300, 900)
    assert distance(outcome.pictures[0].dihedral[0], hash_picture(np.asarray(shown)).dihedral[0]) <= 6


def test_the_headers_of_jpeg_xl_are_read() -> None:
    for width, height in ((640, 640), (641, 333), (8, 8), (2000, 1500)):
        header = parse_header(encode(marker(109, width=width, height=height), "JXL", effort=1))
        assert (header.width, header.height, header.is_animated) == (width, height, False)
    assert parse_header(encode(containers.SECRET.convert("RGBA"), "JXL")).channels == (0,)


def test_an_animated_jpeg_xl_is_said_to_be_unsupported() -> None:
    still = encode(containers.SECRET, "JXL")
    # The same header, but for the part that says it is an animation at a hundred ticks a second.
    header = parse_header(still)
    bits = "0" + "10" + f"{header.height - 1:013b}"[::-1] + "000" + "10" + f"{header.width - 1:013b}"[::-1]
    bits += "0" + "1" + "000" + "0" + "0" + "1" + "00" + "00" + "00" + "0" + "0" + "00" + "0" + "00"
    animated = b"\xff\x0a" + int(bits[::-1], 2).to_bytes((len(bits) + 7) // 8, "little") + still[6:]
    assert parse_header(animated).is_animated
    assert run(animated).reason is not None


def test_an_item_of_an_unknown_kind_is_said_to_be_unsupported() -> None:
    data = containers.heif(containers.COVER, containers.SECRET)
    at = data.rindex(b"hvc1")
    outcome = run(data[:at] + b"zzz9" + data[at + 4 :])
    assert outcome.reason is UnscannableReason.UNSUPPORTED
    assert [one.frame for one in outcome.pictures] == [0]


def test_a_picture_that_is_made_of_itself_ends() -> None:
    data = containers.heif(marker(110, width=700, height=500), tile_size=256)
    at = data.index(b"dimg") + 4
    source = data[at : at + 2]
    count = int.from_bytes(data[at + 2 : at + 4], "big")
    assert run(data[: at + 4] + source * count + data[at + 4 + 2 * count :]).reason is not None


def test_text_that_inflates_beyond_measure_is_unscannable() -> None:
    bomb = containers.png_with(
        containers.png_chunk(b"zTXt", b"a\x00\x00" + containers.zlib.compress(bytes(64 << 20), 9))
    )
    assert run(bomb).reason is not None


def test_what_cannot_be_seen_of_one_place_hides_no_other() -> None:
    broken = containers.jpeg(marker(111, width=300, height=300))[:-3_000]
    outcome = run(containers.jpeg(containers.COVER) + broken + containers.jpeg())
    assert outcome.reason is not None
    assert min(distance(one.dihedral[0], SECRET_HASH) for one in outcome.pictures) <= 10


def test_the_hash_alone_of_what_is_shown_first_leaves_the_rest_out() -> None:
    for data in (WHOLE["MPO"], containers.heif(containers.COVER, containers.SECRET)):
        outcome = run(data, is_first_frame_only=True)
        assert [one.frame for one in outcome.pictures] == [0]
        assert outcome.reason is None


def test_every_type_that_is_sniffed_as_a_picture_is_decoded() -> None:
    for data, kind in (
        (WHOLE["HEIF"], MediaType.HEIF),
        (WHOLE["JPEG XL"], MediaType.JXL),
        (WHOLE["JPEG XL in boxes"], MediaType.JXL),
    ):
        assert sniff(data) is kind
        assert run(data).reason is None
