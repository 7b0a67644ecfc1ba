"""Decoding: equal to the reference conversion, whole, and within budgets."""

from __future__ import annotations

import dataclasses
import io
import tracemalloc
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scanner.decode import decode, prepare
from scanner.outcome import MAX_SAMPLES, Job, Outcome
from scanner.perceptual import hash_picture
from scanner.report import Coverage, UnscannableReason
from scanner.settings import ScannerSettings
from scanner.sniff import MediaType, sniff
from tests.images import animation, distance, encode, marker, marker_pixels, photograph, reference_rgb
from tests.scanner import hostile

SETTINGS = ScannerSettings()


@pytest.fixture(scope="module", autouse=True)
def _prepared() -> None:
    prepare()


def run(data: bytes, *, closer: bool = False, **budgets: Any) -> Outcome:
    kind = sniff(data)
    assert kind is not None
    return decode(data, dataclasses.replace(Job.of(SETTINGS, kind, is_closer_look=closer), **budgets))


def reference_hash(data: bytes) -> bytes:
    return hash_picture(reference_rgb(data)).dihedral[0]


def sixteen_bits(colours: int) -> bytes:
    grey = np.asarray(photograph("camera")).astype(np.uint16) * 257
    if colours == 1:
        return encode(Image.fromarray(grey), "PNG")
    # Pillow writes no 16-bit colour, so the PNG is put together by hand.
    height, width = grey.shape
    rgb = np.stack([grey, grey // 2, grey // 3], axis=-1).astype(">u2")
    rows = b"".join(b"\x00" + row.tobytes() for row in rgb)
    head = hostile.struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", hostile.zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(hostile.png_chunk(*chunk) for chunk in chunks)


def with_alpha(mode: str) -> Image.Image:
    """A marker whose opacity falls off from the middle."""
    drawn = marker(4, width=300, height=260).convert("RGB" if mode == "RGBA" else "L")
    y, x = np.mgrid[-1:1:260j, -1:1:300j]
    drawn.putalpha(Image.fromarray((255 * np.clip(1.2 - np.hypot(x, y), 0, 1)).astype(np.uint8)))
    return drawn


def lossless_cases() -> dict[str, bytes]:
    drawn = marker(7, width=500, height=380)
    palette = drawn.quantize(64)
    transparent_palette = encode(with_alpha("RGBA").quantize(32, method=Image.Quantize.FASTOCTREE), "PNG")
    return {
        "RGB PNG": encode(drawn, "PNG"),
        "grey PNG": encode(drawn.convert("L"), "PNG"),
        "one bit PNG": encode(drawn.convert("1"), "PNG"),
        "palette PNG": encode(palette, "PNG"),
        "palette GIF": encode(palette, "GIF"),
        "transparent palette PNG": transparent_palette,
        "RGB PNG with a transparent colour": encode(drawn, "PNG", transparency=(0, 0, 0)),
        "RGBA PNG": encode(with_alpha("RGBA"), "PNG"),
        "LA PNG": encode(with_alpha("LA"), "PNG"),
        "RGBA WebP": encode(with_alpha("RGBA"), "WEBP", lossless=True),
        "RGBA AVIF": encode(with_alpha("RGBA"), "AVIF"),
        "16-bit grey PNG": sixteen_bits(1),
        "16-bit colour PNG": sixteen_bits(3),
        "interlaced GIF": encode(palette, "GIF", interlace=1),
        "WebP": encode(drawn, "WEBP"),
        "AVIF": encode(drawn, "AVIF"),
        "CMYK JPEG": encode(drawn.convert("CMYK"), "JPEG"),
        "grey JPEG": encode(drawn.convert("L"), "JPEG"),
    }


CASES = lossless_cases()


@pytest.mark.parametrize("name", CASES)
def test_every_mode_gives_the_hash_of_the_reference_conversion(name: str) -> None:
    outcome = run(CASES[name])
    assert outcome.reason is None
    assert outcome.pictures[0].dihedral[0] == reference_hash(CASES[name])
    assert not outcome.pictures[0].is_approximate


def test_an_inverted_cmyk_jpeg_looks_as_it_should() -> None:
    drawn = marker(7, width=500, height=380)
    # Pillow writes what Adobe writes: inverted, with the marker that says so.
    data = encode(drawn.convert("CMYK"), "JPEG", quality=95)
    assert b"Adobe" in data
    assert distance(run(data).pictures[0].dihedral[0], hash_picture(np.asarray(drawn)).dihedral[0]) <= 10


@pytest.mark.parametrize("quality", [40, 85])
@pytest.mark.parametrize("name", ["astronaut", "coffee", "retina"])
def test_a_jpeg_is_near_the_reference_at_first_and_equal_at_a_closer_look(name: str, quality: int) -> None:
    large = photograph(name).convert("RGB").resize((2051, 1539), Image.Resampling.LANCZOS)
    data = encode(large, "JPEG", quality=quality)
    first, closer = run(data).pictures[0], run(data, closer=True).pictures[0]
    assert first.is_approximate
    assert distance(first.dihedral[0], reference_hash(data)) <= 12
    assert not closer.is_approximate
    assert closer.dihedral[0] == reference_hash(data)


def test_around_the_least_quality_the_full_resolution_is_hashed_at_once() -> None:
    faint = np.asarray(photograph("moon").resize((1500, 1500))).astype(np.float64)
    for share in np.linspace(0.3, 1.0, 29):
        grey = Image.fromarray((faint * share).astype(np.uint8)).convert("RGB")
        data = encode(grey, "JPEG", quality=90)
        picture = run(data).pictures[0]
        exact = hash_picture(reference_rgb(data)).quality
        assert (picture.quality >= 50) == (exact >= 50)
        if 45 <= exact <= 55:
            assert not picture.is_approximate


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_hashed_as_it_is_shown(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for width, height in ((1301, 1031), (300, 200)):
        upright = marker(5, width=width, height=height)
        data = encode(upright, kind, exif=exif.tobytes())
        outcome = run(data)
        shown = reference_rgb(data).shape
        assert (outcome.height, outcome.width) == shown[:2]
        assert distance(outcome.pictures[0].dihedral[0], reference_hash(data)) <= 6
        small = np.asarray(Image.fromarray(reference_rgb(data)).resize((256, 256), Image.Resampling.BILINEAR))
        assert np.abs(outcome.pixels[0].astype(int) - small).mean() < 6


def test_a_transparent_picture_is_also_seen_over_black_and_without_transparency() -> None:
    secret = marker(6, width=300, height=300)
    hidden = secret.copy()
    hidden.putalpha(0)
    white_ink = Image.new("RGB", (300, 300), "white")
    white_ink.putalpha(secret.convert("L"))
    for data, expected in (
        (encode(hidden, "PNG"), secret),
        (encode(white_ink, "PNG"), secret.convert("L")),
    ):
        outcome = run(data)
        wanted = hash_picture(np.asarray(expected)).dihedral[0]
        assert len(outcome.pictures) == 3
        assert min(distance(one.dihedral[0], wanted) for one in outcome.pictures) <= 2


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF"])
def test_every_frame_of_an_animation_is_hashed(kind: str) -> None:
    frames = [marker(seed, width=160, height=120) for seed in range(10, 15)]
    options = {"lossless": True} if kind == "WEBP" else {}
    outcome = run(animation(frames, kind, **options))
    assert (outcome.reason, outcome.frames, outcome.coverage) == (None, 5, Coverage.FULL)
    for place, frame in enumerate(frames):
        wanted = hash_picture(np.asarray(frame)).dihedral[0]
        assert min(distance(one.dihedral[0], wanted) for one in outcome.pictures if one.frame == place) <= 16
    assert len(outcome.pixels) == 5


def test_a_long_animation_is_sampled_evenly_and_says_so() -> None:
    frames = [marker(seed, width=40, height=30) for seed in range(30)]
    outcome = run(animation(frames, "GIF"), max_frames=7)
    assert outcome.reason is UnscannableReason.TOO_MANY_FRAMES
    assert (outcome.frames, outcome.coverage) == (30, Coverage.SAMPLED)
    assert {one.frame for one in outcome.pictures} == {0, 5, 10, 14, 19, 24, 29}
    assert len(outcome.pixels) <= MAX_SAMPLES


def test_an_animation_too_long_to_sample_is_cut_and_says_so() -> None:
    outcome = run(hostile.gif(1, 1, 100_000), max_frames=50)
    assert outcome.reason is UnscannableReason.TOO_MANY_FRAMES
    assert (outcome.frames, outcome.coverage) == (100_000, Coverage.PREFIX)
    assert len(outcome.pictures) == 50


@pytest.mark.parametrize(
    "data",
    [
        hostile.png_bomb(50_000, 50_000),
        hostile.png_bomb(2_000_000_000, 1),
        hostile.gif(50_000, 50_000, 1),
        hostile.gif_frame_beyond_canvas(),
        hostile.webp_bomb(50_000, 50_000),
        hostile.avif_bomb(50_000, 50_000),
        hostile.jpeg_bomb(65_500, 65_500),
        hostile.png_bomb(9_000, 9_000),
    ],
    ids=["PNG", "long PNG", "GIF", "GIF frame", "WebP", "AVIF", "JPEG", "just too large PNG"],
)
def test_a_header_that_claims_a_huge_canvas_is_refused_before_anything_is_allocated(data: bytes) -> None:
    tracemalloc.start()
    outcome = run(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert outcome.reason is UnscannableReason.TOO_MANY_PIXELS
    assert outcome.pictures == ()
    assert peak < 8 << 20


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "AVIF"])
def test_truncated_bytes_are_never_a_whole_picture(kind: str) -> None:
    whole = encode(marker(8, width=320, height=240), kind)
    for share in (0.05, 0.3, 0.6, 0.9):
        outcome = run(whole[: int(len(whole) * share)])
        assert outcome.reason in {UnscannableReason.TRUNCATED, UnscannableReason.CORRUPT}, share
    assert run(whole[: len(whole) * 6 // 10]).reason is UnscannableReason.TRUNCATED


def test_a_picture_in_the_exif_block_counts() -> None:
    secret = marker(20)
    thumbnail = hostile.thumbnail_of(secret)
    wanted = hash_picture(reference_rgb(thumbnail)).dihedral[0]
    for kind in ("JPEG", "PNG", "WEBP", "AVIF"):
        exif = hostile.exif_with_thumbnail(thumbnail)
        outcome = run(encode(marker(21, width=700, height=600), kind, exif=exif))
        assert outcome.reason is None
        assert [one.frame for one in outcome.pictures] == [0, -1], kind
        assert outcome.pictures[1].dihedral[0] == wanted, kind
        # It shows something else than the picture itself, so the classifiers see it as well.
        assert len(outcome.pixels) == 2


def test_a_thumbnail_of_the_picture_itself_is_no_second_sample() -> None:
    picture = marker(21, width=700, height=600)
    exif = hostile.exif_with_thumbnail(hostile.thumbnail_of(picture))
    outcome = run(encode(picture, "JPEG", exif=exif))
    assert len(outcome.pictures) == 2
    assert len(outcome.pixels) == 1


def test_a_second_picture_behind_the_first_counts() -> None:
    secret = encode(marker(22), "JPEG")
    outcome = run(hostile.multi_picture(encode(marker(23), "JPEG"), secret))
    assert [one.frame for one in outcome.pictures] == [0, -1]
    assert outcome.pictures[1].dihedral[0] == reference_hash(secret)


def test_more_embedded_pictures_than_cameras_write_are_unscannable() -> None:
    data = encode(marker(23, width=64, height=64), "JPEG") * 24
    assert run(data).reason is UnscannableReason.TOO_MANY_FRAMES


def test_an_embedded_header_bomb_is_unscannable() -> None:
    data = encode(marker(23, width=64, height=64), "JPEG") + hostile.jpeg_bomb(65_500, 65_500)
    assert run(data).reason is UnscannableReason.TOO_MANY_PIXELS


def test_without_classifiers_no_colours_are_decoded() -> None:
    data = encode(marker(24, width=1200, height=1100), "JPEG")
    with_pixels, without = run(data), run(data, wants_pixels=False)
    assert len(without.pixels) == 0
    assert without.pictures == with_pixels.pictures


def test_a_jpeg_that_stores_colours_without_transform_is_decoded_in_colour() -> None:
    drawn = marker(25, width=640, height=512)
    data = encode(drawn, "JPEG", keep_rgb=True, quality=90)
    outcome = run(data)
    assert outcome.reason is None
    assert outcome.pictures[0].dihedral[0] == reference_hash(data)


def test_a_broken_animation_is_not_taken_for_its_still_picture() -> None:
    frames = [marker(seed, width=64, height=48) for seed in (1, 2)]
    data = bytearray(animation(frames, "PNG"))
    at = data.index(b"acTL") + 4
    data[at : at + 4] = bytes(4)
    check = hostile.zlib.crc32(bytes(data[at - 4 : at + 8]))
    data[at + 8 : at + 12] = check.to_bytes(4)
    assert run(bytes(data)).reason is UnscannableReason.CORRUPT


def test_decoding_is_deterministic() -> None:
    for data in CASES.values():
        first, second = run(data), run(data)
        assert first.pictures == second.pictures
        assert np.array_equal(first.pixels, second.pixels)


def test_the_small_picture_is_in_colour_and_whole() -> None:
    pixels = marker_pixels(26, width=900, height=700)
    outcome = run(encode(Image.fromarray(pixels), "JPEG", quality=95))
    small = np.asarray(Image.open(io.BytesIO(encode(Image.fromarray(pixels), "PNG"))).resize((256, 256)))
    assert outcome.pixels.shape == (1, 256, 256, 3)
    assert np.abs(outcome.pixels[0].astype(int) - small).mean() < 6


def test_other_types_have_no_decoder() -> None:
    assert decode(b"x", Job.of(SETTINGS, MediaType.TIFF)).reason is UnscannableReason.CORRUPT
