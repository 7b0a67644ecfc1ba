"""What headers claim, read without believing it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.headers import read_claims
from scanner.sniff import DECODABLE, MediaType, sniff
from tests.images import animation, encode, marker
from tests.scanner import hostile

FRAMES = [marker(seed, width=60, height=40) for seed in range(3)]
ANIMATED = {
    MediaType.GIF: animation(FRAMES, "GIF"),
    MediaType.APNG: animation(FRAMES, "PNG"),
    MediaType.WEBP: animation(FRAMES, "WEBP"),
}


@pytest.mark.parametrize("kind", ANIMATED)
def test_frames_and_canvas_are_read(kind: MediaType) -> None:
    claims = read_claims(ANIMATED[kind], kind)
    assert claims.frames == 3
    assert claims.sizes[0] == (60, 40)
    assert not claims.is_truncated


@pytest.mark.parametrize("options", [{"lossless": True}, {"lossless": False}])
def test_both_kinds_of_still_webp_are_read(options: dict[str, bool]) -> None:
    assert (60, 40) in read_claims(encode(FRAMES[0], "WEBP", **options), MediaType.WEBP).sizes


def test_a_webp_that_is_longer_than_its_bytes_is_truncated() -> None:
    assert read_claims(encode(FRAMES[0], "WEBP")[:-10], MediaType.WEBP).is_truncated


def test_a_hundred_thousand_frames_are_counted() -> None:
    assert read_claims(hostile.gif(1, 1, 100_000), MediaType.GIF).frames == 100_000


def test_a_frame_beyond_the_canvas_counts_with_its_reach() -> None:
    assert read_claims(hostile.gif_frame_beyond_canvas(), MediaType.GIF).sizes == ((50_000, 50_000),)


def test_a_gif_without_its_trailer_is_whole() -> None:
    assert not read_claims(ANIMATED[MediaType.GIF][:-1], MediaType.GIF).is_truncated


@given(data=st.binary(max_size=200), cut=st.integers(0, 200), kind=st.sampled_from(sorted(DECODABLE)))
def test_reading_headers_is_total(data: bytes, cut: int, kind: MediaType) -> None:
    read_claims(data, kind)
    for whole in ANIMATED.values():
        read_claims(whole[:cut] + data, sniff(whole) or kind)
