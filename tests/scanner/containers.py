"""Pictures put together by hand, with others hidden wherever a file has room for them."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import pillow_heif
import pillow_jxl  # noqa: F401 - Pillow learns to write JPEG XL by this
from PIL import Image

from tests.images import encode, marker
from tests.scanner.hostile import exif_with_thumbnail, png_chunk

if TYPE_CHECKING:
    from collections.abc import Callable

COVER = marker(101, width=420, height=320)
SECRET = marker(102, width=360, height=300)


def heif(*pictures: Image.Image, **options: Any) -> bytes:
    """Encode pictures as HEIF, the first as the primary one."""
    file = pillow_heif.from_pillow(pictures[0])
    for picture in pictures[1:]:
        file.add_from_pillow(picture)
    buffer = io.BytesIO()
    file.save(buffer, **{"quality": 85, **options})
    return buffer.getvalue()


def jpeg(picture: Image.Image = SECRET, **options: Any) -> bytes:
    return encode(picture, "JPEG", **{"quality": 88, **options})


def segment(marker_byte: int, body: bytes) -> bytes:
    return bytes((0xFF, marker_byte)) + struct.pack(">H", len(body) + 2) + body


def with_segments(*segments: bytes) -> bytes:
    """The cover with segments right behind its beginning."""
    whole = jpeg(COVER)
    return whole[:2] + b"".join(segments) + whole[2:]


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def plain_rgb(side: int = 96) -> tuple[int, int, bytes]:
    small = SECRET.resize((side, side), Image.Resampling.LANCZOS)
    return side, side, small.tobytes()


def jfif_thumbnail() -> bytes:
    width, height, pixels = plain_rgb()
    # JFIF goes first; Pillow's own marker segment follows and is ignored.
    return with_segments(
        segment(0xE0, b"JFIF\x00\x01\x01\x00\x00\x01\x00\x01" + bytes((width, height)) + pixels)
    )


def jfxx_thumbnail() -> bytes:
    width, height, pixels = plain_rgb()
    return with_segments(segment(0xE0, b"JFXX\x00\x13" + bytes((width, height)) + pixels))


def jfxx_palette_thumbnail() -> bytes:
    small = SECRET.resize((96, 96)).quantize(256)
    palette = bytes(small.getpalette() or ()).ljust(768, b"\x00")
    return with_segments(segment(0xE0, b"JFXX\x00\x11\x60\x60" + palette + small.tobytes()))


def exif_plain_thumbnail() -> bytes:
    """A TIFF-structured thumbnail: uncompressed strips in the second directory, big-endian."""
    width, height, pixels = plain_rgb()
    tags = [
        (0x100, 4, 1, width),
        (0x101, 4, 1, height),
        (0x103, 3, 1, 1 << 16),
        (0x106, 3, 1, 2 << 16),
        (0x111, 4, 1, 0),
        (0x115, 3, 1, 3 << 16),
        (0x117, 4, 1, len(pixels)),
    ]
    at = 14 + 2 + 12 * len(tags) + 4
    tags[4] = (0x111, 4, 1, at)
    directory = struct.pack(">H", len(tags)) + b"".join(struct.pack(">HHII", *tag) for tag in tags)
    tiff = b"MM\x00*" + struct.pack(">IHI", 8, 0, 14) + directory + bytes(4) + pixels
    return with_segments(segment(0xE1, b"Exif\x00\x00" + tiff))


def photoshop_plain_thumbnail() -> bytes:
    width, height, pixels = plain_rgb()
    body = struct.pack(">7I", 0, width, height, width * 3, len(pixels), 0, 24 << 16 | 1) + pixels
    resource = b"8BIM" + struct.pack(">HHI", 1036, 0, len(body)) + body
    return with_segments(segment(0xED, b"Photoshop 3.0\x00" + resource))


def photoshop_in_pieces() -> bytes:
    body = bytes(28) + jpeg()
    resource = b"8BIM" + struct.pack(">HHI", 1036, 0, len(body)) + body
    return with_segments(*(segment(0xED, b"Photoshop 3.0\x00" + piece) for piece in cut(resource, 5_000)))


def jumbf_in_pieces() -> bytes:
    box = struct.pack(">I", 8 + len(jpeg())) + b"jumb"
    pieces = cut(jpeg(), 5_000)
    return with_segments(
        *(
            segment(0xEB, b"JP\x00\x01" + struct.pack(">I", number + 1) + box + piece)
            for number, piece in enumerate(pieces)
        )
    )


def spelled_in_xmp() -> bytes:
    text = b"<x GImage:Data='" + base64.b64encode(jpeg(quality=70)) + b"'/>"
    return with_segments(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\x00" + text))


def spelled_in_more_xmp() -> bytes:
    text = b"<x GImage:Data='" + base64.b64encode(jpeg()) + b"'/>"
    pieces = cut(text, 6_000)
    head = b"http://ns.adobe.com/xmp/extension/\x00" + b"0" * 32 + struct.pack(">I", len(text))
    # Written in the wrong order, as the offsets allow.
    segments = [
        segment(0xE1, head + struct.pack(">I", number * 6_000) + piece) for number, piece in enumerate(pieces)
    ]
    return with_segments(*reversed(segments))


def between_scans() -> bytes:
    """A PNG in a comment between two scans of a progressive JPEG."""
    whole = jpeg(COVER, progressive=True)
    second = whole.index(b"\xff\xda", whole.index(b"\xff\xda") + 2)
    small = encode(SECRET.resize((120, 100)).quantize(64), "PNG")
    return whole[:second] + segment(0xFE, small) + whole[second:]


def png_with(*chunks: bytes) -> bytes:
    whole = encode(COVER, "PNG")
    end = whole.index(b"IEND") - 4
    return whole[:end] + b"".join(chunks) + whole[end:]


def webp_with(kind: bytes, body: bytes) -> bytes:
    whole = encode(COVER, "WEBP", exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x00\x00")
    chunk = kind + struct.pack("<I", len(body)) + body + b"\x00" * (len(body) & 1)
    return b"RIFF" + struct.pack("<I", len(whole) - 8 + len(chunk)) + whole[8:] + chunk


def gif_with_extension(body: bytes) -> bytes:
    whole = encode(COVER.quantize(32), "GIF")
    blocks = b"".join(bytes((len(piece),)) + piece for piece in cut(body, 255))
    return whole[:-1] + b"!\xff\x0bSOMEBODY1.0" + blocks + b"\x00" + whole[-1:]


def gif_with_stray_byte() -> bytes:
    """Browsers end at the stray byte, converters go on to the frame behind it."""
    frames = [one.quantize(128) for one in (COVER.resize(SECRET.size), SECRET)]
    whole = encode(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=90)
    second = whole.rindex(b"!\xf9\x04")
    return whole[:second] + b"\x00" + whole[second:]


def apng_whose_still_is_no_frame() -> bytes:
    """The still picture, which is no frame, is the secret; the animation shows the cover."""
    frames = [COVER.resize((360, 300)), marker(103, width=360, height=300)]
    return encode(SECRET, "PNG", save_all=True, append_images=frames, default_image=True, duration=100)


def gain_map_in_jxl() -> bytes:
    stream = encode(SECRET, "JXL")
    body = b"\x00" + struct.pack(">H", 0) + b"\x00" + struct.pack(">I", 0) + stream
    whole = encode(COVER, "JXL", use_container=True)
    return whole + struct.pack(">I", len(body) + 8) + b"jhgm" + body


def transcoded_jxl(path: Any) -> bytes:
    """A JPEG with a thumbnail that was packed as JPEG XL without loss."""
    path.write_bytes(jpeg(COVER, exif=exif_with_thumbnail(jpeg())))
    with Image.open(path) as opened:
        return encode(opened, "JXL", lossless_jpeg=True)


def renamed(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new, 1)


def hidden_item(data: bytes, number: int) -> bytes:
    """Mark an item of a HEIF or AVIF as hidden, so that no list of pictures names it."""
    at = data.index(b"infe\x02\x00\x00\x00" + struct.pack(">H", number))
    return data[: at + 7] + b"\x01" + data[at + 8 :]


PLACES: dict[str, Callable[[], bytes]] = {
    "EXIF thumbnail of a JPEG": lambda: jpeg(COVER, exif=exif_with_thumbnail(jpeg())),
    "EXIF thumbnail of a PNG": lambda: encode(COVER, "PNG", exif=exif_with_thumbnail(jpeg())),
    "EXIF thumbnail of a WebP": lambda: encode(COVER, "WEBP", exif=exif_with_thumbnail(jpeg())),
    "EXIF thumbnail of an AVIF": lambda: encode(COVER, "AVIF", exif=exif_with_thumbnail(jpeg())),
    "EXIF thumbnail of a HEIF": lambda: heif(COVER, exif=exif_with_thumbnail(jpeg())),
    "EXIF thumbnail of a JPEG XL": lambda: encode(COVER, "JXL", exif=exif_with_thumbnail(jpeg())),
    "uncompressed EXIF thumbnail": exif_plain_thumbnail,
    "JFIF thumbnail": jfif_thumbnail,
    "JFXX thumbnail": jfxx_thumbnail,
    "JFXX thumbnail with a palette": jfxx_palette_thumbnail,
    "raw Photoshop thumbnail": photoshop_plain_thumbnail,
    "Photoshop thumbnail in pieces": photoshop_in_pieces,
    "JUMBF in pieces": jumbf_in_pieces,
    "base64 in XMP": spelled_in_xmp,
    "base64 in extended XMP": spelled_in_more_xmp,
    "comment between two scans": between_scans,
    "second picture of an MPO": lambda: encode(COVER, "MPO", save_all=True, append_images=[SECRET]),
    "JPEG behind a JPEG": lambda: jpeg(COVER) + jpeg(),
    "PNG behind a JPEG": lambda: jpeg(COVER) + encode(SECRET, "PNG"),
    "WebP behind a JPEG": lambda: jpeg(COVER) + encode(SECRET, "WEBP"),
    "GIF behind a JPEG": lambda: jpeg(COVER) + encode(SECRET.quantize(64), "GIF"),
    "AVIF behind a JPEG": lambda: jpeg(COVER) + encode(SECRET, "AVIF"),
    "HEIF behind a JPEG": lambda: jpeg(COVER) + heif(SECRET),
    "JPEG XL behind a JPEG": lambda: jpeg(COVER) + encode(SECRET, "JXL", use_container=True),
    "JPEG behind a PNG": lambda: encode(COVER, "PNG") + jpeg(),
    "JPEG behind a WebP": lambda: encode(COVER, "WEBP") + jpeg(),
    "JPEG behind a GIF": lambda: encode(COVER.quantize(32), "GIF") + jpeg(),
    "JPEG behind an AVIF": lambda: encode(COVER, "AVIF") + jpeg(),
    "JPEG behind a HEIF": lambda: heif(COVER) + jpeg(),
    "chunk of a PNG": lambda: png_with(png_chunk(b"prVt", jpeg())),
    "compressed text of a PNG": lambda: png_with(
        png_chunk(b"zTXt", b"Raw\x00\x00" + zlib.compress(b"\nexif\n  9\n" + jpeg().hex().encode() + b"\n"))
    ),
    "chunk of a WebP": lambda: webp_with(b"PRVT", jpeg()),
    "extension of a GIF": lambda: gif_with_extension(jpeg(quality=60)),
    "still picture of an APNG": apng_whose_still_is_no_frame,
    "second frame of a GIF": lambda: encode(
        COVER.resize((360, 300)).quantize(64),
        "GIF",
        save_all=True,
        append_images=[SECRET.quantize(128)],
        duration=90,
    ),
    "frame of a GIF behind a stray byte": gif_with_stray_byte,
    "second frame of a WebP": lambda: encode(
        COVER.resize((360, 300)), "WEBP", save_all=True, append_images=[SECRET], quality=90
    ),
    "second frame of an AVIF": lambda: encode(
        COVER.resize((360, 300)), "AVIF", save_all=True, append_images=[SECRET], duration=90
    ),
    "sequence of an AVIF that claims to be a still": lambda: renamed(
        encode(COVER.resize((360, 300)), "AVIF", save_all=True, append_images=[SECRET], duration=90),
        b"ftypavis",
        b"ftypavif",
    ),
    "second picture of a HEIF": lambda: heif(COVER, SECRET),
    "hidden picture of a HEIF": lambda: hidden_item(heif(COVER, SECRET), 2),
    "auxiliary of a HEIF": lambda: renamed(heif(_with_opacity()), b"auxid:1", b"auxid:9"),
    "auxiliary of an AVIF": lambda: renamed(
        encode(_with_opacity(), "AVIF", quality=90), b"auxiliary:alpha", b"auxiliary:depth"
    ),
    "opacity of a HEIF": lambda: heif(_with_opacity()),
    "gain map of a JPEG XL": gain_map_in_jxl,
}
"""Every place in which `SECRET` is hidden, in a file that shows `COVER`."""


def _with_opacity() -> Image.Image:
    covered = COVER.resize(SECRET.size).convert("RGBA")
    covered.putalpha(SECRET.convert("L"))
    return covered
