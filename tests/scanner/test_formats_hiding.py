"""Whatever a file holds beside the picture that it shows is seen as well, in the sandbox itself."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from scanner.report import UnscannableReason, Verdict
from scanner.scan import open_scanner
from tests.images import encode, marker
from tests.scanner import containers
from tests.scanner.conftest import PLAIN
from tests.scanner.hostile import png_chunk
from tests.scanner.test_scan import list_of, pdq_entry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from scanner.scan import Scanner


@pytest.fixture(scope="module")
def seeing() -> Iterator[Scanner]:
    """A scanner that knows the secret by its hash, in colour and in grey."""
    secret = containers.SECRET
    with open_scanner(PLAIN) as scanner:
        scanner.replace_lists([list_of(pdq_entry(secret), pdq_entry(secret.convert("L")))])
        yield scanner


def test_the_cover_alone_is_no_match(seeing: Scanner) -> None:
    for data in (containers.jpeg(containers.COVER), containers.heif(containers.COVER)):
        assert seeing.scan(data).verdict is Verdict.NO_MATCH


@pytest.mark.parametrize("place", containers.PLACES)
def test_a_known_picture_is_found_wherever_it_is_hidden(place: str, seeing: Scanner) -> None:
    report = seeing.scan(containers.PLACES[place]())
    assert report.verdict is Verdict.MATCH, (report.reason, [one.frame for one in report.fingerprints.pdq])
    assert report.reason is None


def test_the_thumbnail_of_a_jpeg_that_was_packed_as_jpeg_xl_is_found(tmp_path: Path, seeing: Scanner) -> None:
    report = seeing.scan(containers.transcoded_jxl(tmp_path / "cover.jpg"))
    assert (report.verdict, report.reason) == (Verdict.MATCH, None)


@pytest.mark.parametrize("place", ["second picture of an MPO", "PNG behind a JPEG", "JPEG behind a HEIF"])
def test_a_hidden_picture_that_ends_early_is_unscannable(place: str, seeing: Scanner) -> None:
    whole = containers.PLACES[place]()
    other = encode(marker(104, width=360, height=300), "JPEG")
    broken = whole[:-3_000] if "behind" not in place else containers.jpeg(containers.COVER) + other[:-3_000]
    report = seeing.scan(broken)
    assert report.verdict is not Verdict.NO_MATCH
    assert report.reason in {UnscannableReason.TRUNCATED, UnscannableReason.CORRUPT}


def test_an_animation_with_more_frames_than_it_counts_is_unscannable(seeing: Scanner) -> None:
    cover = containers.COVER.resize((360, 300))
    whole = encode(cover, "PNG", save_all=True, append_images=[containers.SECRET], duration=90)
    assert seeing.scan(whole).verdict is Verdict.MATCH
    head, rest = whole.split(b"\x00\x00\x00\x08acTL", 1)
    fewer = head + png_chunk(b"acTL", struct.pack(">II", 1, 0)) + rest[12:]
    report = seeing.scan(fewer)
    assert (report.verdict, report.reason) == (Verdict.UNSCANNABLE, UnscannableReason.CORRUPT)


COPIES = {
    "JPEG": lambda picture: encode(picture, "JPEG", quality=85),
    "PNG": lambda picture: encode(picture, "PNG"),
    "GIF": lambda picture: encode(picture.quantize(128), "GIF"),
    "WebP": lambda picture: encode(picture, "WEBP"),
    "AVIF": lambda picture: encode(picture, "AVIF"),
    "HEIF": containers.heif,
    "JPEG XL": lambda picture: encode(picture, "JXL"),
}


@pytest.mark.parametrize("kind", COPIES)
def test_mirrored_and_turned_copies_are_found_in_every_format(kind: str) -> None:
    with open_scanner(PLAIN) as scanner:
        scanner.replace_lists([list_of(pdq_entry(containers.SECRET), dihedral=True)])
        for method in Image.Transpose:
            copy = containers.SECRET.transpose(method)
            assert scanner.scan(COPIES[kind](copy)).verdict is Verdict.MATCH, method
