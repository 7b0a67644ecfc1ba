from __future__ import annotations

import io

import pytest
from PIL import Image

from relay.web.gateway.kinds import WINDOW_BYTES, may_be_media


def test_the_window_is_where_a_text_is_told_from_all_else() -> None:
    assert not may_be_media(b"", "image/png")
    assert may_be_media(b"GIF89a" + b"a" * WINDOW_BYTES, "text/plain")
    assert may_be_media(b"G" * WINDOW_BYTES, "video/mp2t")
    assert may_be_media((b"G" + b"a" * 187) * 20, "text/plain")
    assert not may_be_media(b"G" + b"a" * 187 + b"G" + b"b" * 400, "text/plain")


@pytest.mark.parametrize("declared", ["text/plain", "text/html", "application/json", None])
@pytest.mark.parametrize(
    "name", ["PPM", "XBM", "EPS", "TGA", "PCX", "SGI", "DDS", "JPEG2000", "ICNS", "SPIDER"]
)
def test_whatever_an_image_library_writes_may_be_media_under_any_name(
    name: str, declared: str | None
) -> None:
    mode = {"XBM": "1", "SPIDER": "F"}.get(name, "RGB")
    buffer = io.BytesIO()
    Image.new(mode, (64, 64)).save(buffer, name)
    assert may_be_media(buffer.getvalue()[:WINDOW_BYTES], declared)


@pytest.mark.parametrize(
    "beginning",
    [
        b"P3\n# a comment\n2 2\n255\n",
        b"P2 2 2 255 0 0 0 0",
        b"/* XPM */\nstatic",
        b"Image type: RGB image\r\n",
        b"P7\nWIDTH 4\n",
        b"SIMPLE  =                    T",
    ],
)
def test_a_picture_that_is_written_as_text_may_be_media(beginning: bytes) -> None:
    assert may_be_media(beginning + b" " * WINDOW_BYTES, "text/plain")


@pytest.mark.parametrize(
    "text", [b"P1 Is a paragraph", b"P.S. and more", b"#define A 1\n", b"Image of a cat"]
)
def test_a_text_that_begins_almost_like_one_is_a_text(text: bytes) -> None:
    assert not may_be_media(text, "text/plain")
