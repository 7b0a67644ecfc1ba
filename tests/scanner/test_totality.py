"""Whatever the bytes, a parser returns or raises what its docstring says, within bounded time."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.embedded import find_embedded
from scanner.errors import MalformedError
from scanner.formats import jxl
from scanner.formats.carriers import (
    CarrierBombError,
    gif_carriers,
    jpeg_carriers,
    png_carriers,
    spelled_pictures,
    webp_carriers,
)
from scanner.formats.items import boxes, coded_places, parse_items
from scanner.formats.jpeg import find_header
from scanner.formats.thumbnails import jpeg_thumbnails, tiff_thumbnails
from scanner.headers import read_claims
from scanner.sniff import MediaType, sniff
from scanner.video.errors import RefusedError
from scanner.video.isomedia import check_iso_media
from scanner.video.matroska import is_cut_short
from tests.fuzz.mutate import mutate
from tests.fuzz.seeds import build_seeds

SEEDS = build_seeds()
BODIES = [seed.data for seed in SEEDS]
HEADS = [body[:length] for body in BODIES for length in (4, 12, 24)]
EXAMPLES = settings(max_examples=300, deadline=timedelta(seconds=5), derandomize=True)
"""The deadline is there for what never ends; the slowest of these takes some milliseconds."""

Parser = Callable[[bytes], object]


def _mutated(number: int) -> bytes:
    return mutate(BODIES[number % len(BODIES)], Random(number), BODIES)


hostile = st.one_of(
    st.binary(max_size=4_096),
    st.builds(lambda head, body: head + body, st.sampled_from(HEADS), st.binary(max_size=4_096)),
    st.integers(0, 1 << 32).map(_mutated),
)


def _everything_embedded(data: bytes) -> object:
    kinds = (sniff(data) or MediaType.JXL, MediaType.JPEG, MediaType.PNG, MediaType.GIF, MediaType.HEIF)
    return [list(find_embedded(data, kind, data[:64])) for kind in kinds]


def _in_segments(data: bytes) -> object:
    header = find_header(data)
    return header and [list(jpeg_carriers(data, header)), list(jpeg_thumbnails(data, header))]


PARSERS: dict[str, tuple[Parser, tuple[type[Exception], ...]]] = {
    "items": (parse_items, (MalformedError,)),
    "boxes": (lambda data: list(boxes(data, 0, len(data))), ()),
    "places of coded items": (coded_places, ()),
    "JPEG header and segments": (_in_segments, ()),
    "JPEG XL layout": (jxl.parse_layout, (MalformedError,)),
    "JPEG XL header": (jxl.parse_header, (MalformedError,)),
    "JPEG XL places": (jxl.coded_places, ()),
    "thumbnails of EXIF": (lambda data: list(tiff_thumbnails(data)), ()),
    "chunks of PNG": (lambda data: list(png_carriers(data)), (CarrierBombError,)),
    "chunks of WebP": (lambda data: list(webp_carriers(data)), ()),
    "extensions of GIF": (lambda data: list(gif_carriers(data)), ()),
    "pictures in base64": (lambda data: list(spelled_pictures(data)), ()),
    "what lies inside": (_everything_embedded, (CarrierBombError,)),
    "boxes of a film": (check_iso_media, (RefusedError,)),
    "end of a Matroska": (is_cut_short, ()),
    "claims": (lambda data: [read_claims(data, kind) for kind in MediaType], ()),
    "type": (sniff, ()),
}


@pytest.mark.parametrize("name", PARSERS)
@EXAMPLES
@given(data=hostile)
def test_a_parser_returns_or_raises_what_it_says(name: str, data: bytes) -> None:
    parser, documented = PARSERS[name]
    with contextlib.suppress(*documented):
        parser(data)


def test_places_that_take_no_bytes_are_not_listed_without_end() -> None:
    # Ten thousand items, each at 65,535 places that are written in no bytes at all.
    entries = b"".join(struct.pack(">HHH", number, 0, 65_535) for number in range(10_000))
    iloc = bytes(6) + struct.pack(">H", 10_000) + entries
    meta = bytes(4) + struct.pack(">I4s", 8 + len(iloc), b"iloc") + iloc
    with pytest.raises(MalformedError):
        parse_items(struct.pack(">I4s", 8 + len(meta), b"meta") + meta)
