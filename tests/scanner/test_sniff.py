"""Types by magic bytes, and whether a declared type agrees."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.settings import TypeCheck
from scanner.sniff import DECODABLE, Family, MediaType, agrees, family, sniff
from tests.images import animation, encode, marker

SMALL = marker(1, width=32, height=24)

SAMPLES: list[tuple[bytes, MediaType]] = [
    (encode(SMALL, "JPEG"), MediaType.JPEG),
    (encode(SMALL, "PNG"), MediaType.PNG),
    (animation([SMALL, marker(2, width=32, height=24)], "PNG"), MediaType.APNG),
    (encode(SMALL, "GIF"), MediaType.GIF),
    (encode(SMALL, "WEBP"), MediaType.WEBP),
    (encode(SMALL, "AVIF"), MediaType.AVIF),
    (encode(SMALL, "TIFF"), MediaType.TIFF),
    (encode(SMALL, "BMP"), MediaType.BMP),
    (encode(SMALL, "EPS"), MediaType.POSTSCRIPT),
    (encode(SMALL, "PDF"), MediaType.PDF),
    (encode(SMALL, "JPEG2000"), MediaType.JP2),
    (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", MediaType.HEIF),
    (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1avif", MediaType.AVIF),
    (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1heic", MediaType.HEIF),
    (b"\xff\x0a\x00\x00", MediaType.JXL),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", MediaType.JXL),
    (b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41", MediaType.MP4),
    (b"\x00\x00\x00\x14ftypqt  \x00\x00\x00\x00qt  ", MediaType.QUICKTIME),
    (b"\x00\x00\x00\x08wide\x00\x00\x00\x00mdat", MediaType.QUICKTIME),
    (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm", MediaType.WEBM),
    (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x88matroska", MediaType.MATROSKA),
    (b"OggS\x00\x02", MediaType.OGG),
    (b"ID3\x04\x00", MediaType.MP3),
    (b"\xff\xfb\x90\x64", MediaType.MP3),
    (b"\xff\xf1\x50\x80", MediaType.AAC),
    (b"fLaC\x00", MediaType.FLAC),
    (b"RIFF\x24\x00\x00\x00WAVEfmt ", MediaType.WAV),
    (b"RIFF\x24\x00\x00\x00AVI LIST", MediaType.AVI),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", MediaType.SVG),
    (b"<?xml version='1.0'?><!-- x --><svg xmlns='http://www.w3.org/2000/svg'/>", MediaType.SVG),
    (b"\xef\xbb\xbf  <!DOCTYPE html><title>x", MediaType.HTML),
    (b"<!-- c --><html><svg>", MediaType.HTML),
    (b'{"@context": 1}', MediaType.JSON),
    (b"PK\x03\x04\x14\x00", MediaType.ZIP),
    (b"#EXTM3U\n#EXT-X-VERSION:3\n", MediaType.HLS),
    (b"ffconcat version 1.0\nfile '/etc/passwd'", MediaType.PLAYLIST),
    (b"[playlist]\nFile1=x", MediaType.PLAYLIST),
    (b"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'/>", MediaType.DASH),
    (b"v=0\r\no=- 0 0 IN IP4 127.0.0.1", MediaType.SDP),
]


@pytest.mark.parametrize(("data", "expected"), SAMPLES, ids=lambda value: str(value)[:24])
def test_every_known_format_is_told_by_its_magic(data: bytes, expected: MediaType) -> None:
    assert sniff(data) is expected


@given(data=st.binary(max_size=300), place=st.integers(0, len(SAMPLES) - 1), cut=st.integers(0, 40))
def test_sniffing_is_total(data: bytes, place: int, cut: int) -> None:
    sniff(data)
    sniff(SAMPLES[place][0][:cut] + data)


def test_what_is_glued_behind_a_picture_does_not_change_its_type() -> None:
    for data, expected in SAMPLES[:6]:
        assert sniff(data + b"PK\x03\x04<html><script>#EXTM3U") is expected


@pytest.mark.parametrize(
    "declared",
    [None, "", "application/octet-stream", "binary/octet-stream", "IMAGE/JPEG", "image/jpg; q=1", "image/*"],
)
def test_aliases_and_declarations_that_claim_nothing_agree(declared: str | None) -> None:
    assert agrees(declared, MediaType.JPEG, TypeCheck.EXACT)


@pytest.mark.parametrize(
    "declared", ["image/png", "video/mp4", "text/html", "application/activity+json", "x"]
)
def test_another_type_is_a_mismatch(declared: str) -> None:
    assert not agrees(declared, MediaType.JPEG, TypeCheck.EXACT)


def test_within_a_family_only_the_loose_check_agrees() -> None:
    assert not agrees("image/png", MediaType.WEBP, TypeCheck.EXACT)
    assert agrees("image/png", MediaType.WEBP, TypeCheck.FAMILY)
    assert not agrees("image/png", MediaType.MP4, TypeCheck.FAMILY)
    assert not agrees("text/html", MediaType.PDF, TypeCheck.FAMILY)


def test_every_type_agrees_with_its_own_name() -> None:
    for kind in MediaType:
        assert agrees(kind.value, kind, TypeCheck.EXACT)


def test_what_could_run_code_or_fetch_is_never_decoded() -> None:
    for kind in (
        MediaType.SVG,
        MediaType.HLS,
        MediaType.PLAYLIST,
        MediaType.DASH,
        MediaType.PDF,
        MediaType.HTML,
    ):
        assert kind not in DECODABLE
        assert family(kind) is Family.OTHER
