from __future__ import annotations

import io

import pytest
from PIL import Image

from relay.web.gateway.kinds import WINDOW_BYTES, is_text, may_be_media


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
        b"#?RADIANCE\n# made with love\nFORMAT=32-bit_rle_rgbe\n",
        b"#?RGBE\nFORMAT=32-bit_rle_rgbe\n",
        b"id=ImageMagick  version=1.0\n",
        b"# ImageMagick pixel enumeration: 1,1,255,srgb\n",
        b"push graphic-context\n",
        b"YUV4MPEG2 W16 H16 F25:1\n",
    ],
)
def test_a_picture_that_is_written_as_text_may_be_media(beginning: bytes) -> None:
    assert may_be_media(beginning + b" " * WINDOW_BYTES, "text/plain")


@pytest.mark.parametrize(
    "text", [b"P1 Is a paragraph", b"P.S. and more", b"#define A 1\n", b"Image of a cat"]
)
def test_a_text_that_begins_almost_like_one_is_a_text(text: bytes) -> None:
    assert not may_be_media(text, "text/plain")


DRAWING = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
EVERYTHING = bytes(range(256)) * 20


@pytest.mark.parametrize(
    "declared", ["text/plain", "text/html", "text/xml", "application/octet-stream", None]
)
@pytest.mark.parametrize(
    "drawing",
    [
        DRAWING,
        b"<!--" + b"x" * 1_100 + b"-->" + DRAWING,
        b"<?xml version='1.0'?><!--" + b"x" * 1_100 + b"-->" + DRAWING,
        b"<!--" + b"x" * WINDOW_BYTES + b"-->" + DRAWING,
        b"<!-- <html> -->" + DRAWING,
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>",
        b" " * 2_000 + DRAWING,
        b" " * WINDOW_BYTES + DRAWING,
        b"\xef\xbb\xbf\n" + DRAWING,
        b"<my-ns.a:svg xmlns:my-ns.a='http://www.w3.org/2000/svg'/>",
        b"<!DOCTYPE svg [<!ENTITY a ']'>]>" + DRAWING,
        b"<!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN' 'http://www.w3.org/svg11.dtd'>" + DRAWING,
        ("\ufeff" + DRAWING.decode()).encode("utf-16-be"),
        ("\ufeff" + DRAWING.decode()).encode("utf-16-le"),
    ],
)
def test_a_drawing_is_found_behind_whatever_may_stand_before_it(drawing: bytes, declared: str | None) -> None:
    assert may_be_media(drawing[:WINDOW_BYTES], declared)


@pytest.mark.parametrize(
    "page",
    [
        b"<!doctype html><html><body><svg></svg>",
        b"<!-- a licence --><!doctype html><p>an svg: <svg></svg>",
        b"<p>not <svg></svg>",
        b"<svgs/>",
        b"<!-- only a comment -->",
        ("\ufeff<!doctype html><p>" + "\u3042" * 100).encode("utf-16-le"),
        ("\ufeff<!doctype html><p>" + "\u3042" * 100).encode("utf-16-be"),
    ],
)
def test_a_page_with_a_drawing_in_it_is_a_page(page: bytes) -> None:
    assert not may_be_media(page, "text/html")


@pytest.mark.parametrize("declared", ["text/html", "application/json", None])
@pytest.mark.parametrize(
    "beginning",
    [b"\xfe\xff", b"\xff\xfe", b"<html>", b'{"a": 1}', b"<?xml version='1.0'?>", b"v=0\no=", b"#EXTM3U\n"],
)
def test_the_mark_of_a_text_hides_nothing_that_is_none(beginning: bytes, declared: str | None) -> None:
    assert may_be_media((beginning + EVERYTHING)[:WINDOW_BYTES], declared)


@pytest.mark.parametrize("kind", ["utf-16-le", "utf-16-be"])
def test_a_text_may_be_cut_anywhere(kind: str) -> None:
    text = ("\ufeff" + "\U0001f600" * WINDOW_BYTES).encode(kind)
    for size in range(WINDOW_BYTES - 4, WINDOW_BYTES + 1):
        assert is_text(text[:size])
    assert not is_text(text[:100] + "\x01".encode(kind))
