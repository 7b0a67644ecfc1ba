"""HEIF and the items of AVIF: every picture in the file, each through the codec that it is coded by.

The pictures are put together here, out of tiles and layers, turned and cut as their properties say: the
usual library starts threads for each picture, which the sandbox denies. The coded pictures themselves are
decoded by FFmpeg's decoders in the calling thread.

Not applied: colour profiles, gain maps and pixel aspect ratios.

Source: ISO/IEC 23008-12 (HEIF), 6.5 (properties) and 6.6 (derived images).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, cast

import av
from PIL import Image

from scanner.errors import MalformedError
from scanner.formats.items import Items, parse_items
from scanner.pictures.gathering import RefusedError
from scanner.pictures.hevc import HevcPicture
from scanner.reduced import choose_places
from scanner.report import UnscannableReason

if TYPE_CHECKING:
    from av import VideoCodecContext, VideoFrame

    from scanner.formats.items import Item
    from scanner.pictures.gathering import Gathering

MAX_DERIVED: Final = 4
"""A picture made of pictures made of pictures: a layer, cut out of a grid, turned."""

MAX_TILES: Final = 4_096
"""66 megapixels in tiles of 128 x 128."""

_CODECS: Final = {
    b"hvc1": ("hevc", b"hvcC"),
    b"hev1": ("hevc", b"hvcC"),
    b"av01": ("libdav1d", b"av1C"),
    b"avc1": ("h264", b"avcC"),
}
_ALPHA_KINDS: Final = (
    b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha",
    b"urn:mpeg:hevc:2015:auxid:1",
    b"urn:mpeg:avc:2015:auxid:1",
)


def decode_heif(data: bytes, gathering: Gathering) -> bytes:
    """Decode and hash every picture of a HEIF file.

    Returns:
        Its EXIF block.

    Raises:
        RefusedError: A picture is too large, or of a kind that no decoder here takes.
        MalformedError: Its boxes are broken.
        EOFError: An item is missing at the end.
        av.FFmpegError: A picture is broken.
    """
    items = parse_items(data)
    pictures = items.pictures()
    if items.primary not in pictures:
        raise MalformedError("the picture that is to be shown does not exist")
    shown = [number for number in pictures if not items.is_attached(number)]
    if not gathering.is_embedded:
        gathering.frames = len(shown)
    if gathering.job.copies is not None:
        shown = [shown[place] for place in choose_places(len(shown), gathering.job.copies.count)]
    elif gathering.job.is_first_frame_only:
        shown = shown[:1]
    for place, number in enumerate(shown[: gathering.job.max_frames]):
        gathering.add(_build(items, number, gathering), place, orientation=1)
    if len(shown) > gathering.job.max_frames:
        raise RefusedError(UnscannableReason.TOO_MANY_FRAMES)
    if not gathering.job.is_first_frame_only:
        for number in pictures:
            if items.is_attached(number):
                _add_embedded(items, number, gathering)
    return b"".join(_exif_blocks(items))


def decode_beside(items: Items, gathering: Gathering, *, is_primary_seen: bool) -> None:
    """Decode and hash what another decoder does not show of a file: thumbnails, gain maps, depth, opacity.

    Raises:
        RefusedError: A picture is too large, or of a kind that no decoder here takes.
        MalformedError: Its boxes are broken.
        EOFError: An item is missing at the end.
        av.FFmpegError: A picture is broken.
    """
    for number in items.pictures():
        if number != items.primary or not is_primary_seen:
            _add_embedded(items, number, gathering)


def _add_embedded(items: Items, number: int, gathering: Gathering) -> None:
    gathering.begin_embedded()
    gathering.add(_build(items, number, gathering), orientation=1)


def _exif_blocks(items: Items) -> list[bytes]:
    blocks = [items.read(number) for number, item in items.by_number.items() if item.kind == b"Exif"]
    # The offset of the TIFF header goes before. Source: ISO/IEC 23008-12, A.2.1.
    return [block[4 + int.from_bytes(block[:4], "big") :] for block in blocks]


def _build(items: Items, number: int, gathering: Gathering, depth: int = 0) -> Image.Image:
    """Put one picture together: its pixels or what it is made of, its opacity, turned and cut."""
    item = items.by_number.get(number)
    if item is None or depth > MAX_DERIVED:
        raise MalformedError("a picture is made of what does not exist, or of itself")
    extent = item.find(b"ispe")
    if extent is not None and len(extent) >= 12:  # noqa: PLR2004 - version and flags, width, height
        gathering.check_size(*struct.unpack_from(">II", extent, 4))
    if item.kind in _CODECS:
        image = _decode(items, item, gathering)
    elif item.kind == b"grid":
        image = _grid(items, item, gathering, depth)
    elif item.kind == b"iovl":
        image = _overlay(items, item, gathering, depth)
    elif item.kind == b"iden":
        image = _build(items, _only(items.targets(b"dimg", number)), gathering, depth + 1)
    else:
        raise RefusedError(UnscannableReason.UNSUPPORTED)
    alpha = _alpha_of(items, number)
    if alpha is not None and depth == 0:
        opacity = _build(items, alpha, gathering, depth + 1).convert("L")
        image = image.convert("RGB")
        image.putalpha(opacity if opacity.size == image.size else opacity.resize(image.size))
    return _transform(image, item)


def _alpha_of(items: Items, number: int) -> int | None:
    for one in items.references:
        if one.kind == b"auxl" and number in one.targets and one.source in items.by_number:
            kind = items.by_number[one.source].find(b"auxC") or b""
            if kind[4:].startswith(_ALPHA_KINDS):
                return one.source
    return None


def _decode(items: Items, item: Item, gathering: Gathering) -> Image.Image:
    """Decode one coded picture."""
    name, box = _CODECS[item.kind]
    data, configuration = items.read(item.number), item.find(box) or b""
    max_pixels = gathering.job.max_pixels
    if name == "hevc":
        frame = HevcPicture(data, configuration, max_pixels=max_pixels).decode()
    else:
        frame = _decode_once(name, data, configuration, max_pixels)
    gathering.check_size(frame.width, frame.height)
    layout = "gray" if frame.format.name.startswith("gray") else "rgb24"
    return Image.fromarray(frame.reformat(format=layout, threads=1).to_ndarray())


def _decode_once(name: str, data: bytes, configuration: bytes, max_pixels: int) -> VideoFrame:
    context = cast("VideoCodecContext", av.CodecContext.create(name, "r"))
    context.thread_count = 1
    context.extradata = configuration
    # What the coded data claims is refused before it is allocated, whatever the boxes say.
    context.options = {"max_pixels": str(max_pixels), "err_detect": "explode"}
    frames = context.decode(av.Packet(data)) + context.decode(None)
    if len(frames) != 1 or frames[0].is_corrupt:
        raise MalformedError("a coded picture does not hold together")
    return frames[0]


def _grid(items: Items, item: Item, gathering: Gathering, depth: int) -> Image.Image:
    """Lay tiles out. Source: ISO/IEC 23008-12, 6.6.2.3.2."""
    recipe = items.read(item.number)
    letter = "I" if recipe[1] & 1 else "H"
    rows, columns, width, height = struct.unpack_from(f">BB{letter}{letter}", recipe, 2)
    gathering.check_size(width, height)
    tiles = items.targets(b"dimg", item.number)
    if len(tiles) != (rows + 1) * (columns + 1) or len(tiles) > MAX_TILES:
        raise MalformedError("a grid has not as many tiles as places")
    canvas: Image.Image | None = None
    for place, number in enumerate(tiles):
        tile = _build(items, number, gathering, depth + 1)
        canvas = canvas or Image.new(tile.mode, (width, height))
        row, column = divmod(place, columns + 1)
        # "All input images shall have the same width and height" (6.6.2.3.1), so that nothing is left out.
        if row * tile.height >= height or column * tile.width >= width:
            raise MalformedError("a tile lies outside of its grid")
        canvas.paste(tile, (column * tile.width, row * tile.height))
    if canvas is None:
        raise MalformedError("a grid has no tiles")
    return canvas


def _overlay(items: Items, item: Item, gathering: Gathering, depth: int) -> Image.Image:
    """Lay pictures over each other. Source: ISO/IEC 23008-12, 6.6.2.2."""
    recipe = items.read(item.number)
    letter, signed = ("I", "i") if recipe[1] & 1 else ("H", "h")
    red, green, blue, _, width, height = struct.unpack_from(f">4H{letter}{letter}", recipe, 2)
    gathering.check_size(width, height)
    canvas = Image.new("RGB", (width, height), (red >> 8, green >> 8, blue >> 8))
    at = 10 + 2 * struct.calcsize(letter)
    for number in items.targets(b"dimg", item.number):
        left, top = struct.unpack_from(f">{signed}{signed}", recipe, at)
        at += 2 * struct.calcsize(signed)
        layer = _build(items, number, gathering, depth + 1)
        canvas.paste(layer, (left, top), layer if layer.mode == "RGBA" else None)
    return canvas


def _transform(image: Image.Image, item: Item) -> Image.Image:
    """Cut, turn and mirror, in the order of the properties. Source: ISO/IEC 23008-12, 6.5.9, 10 and 12."""
    for kind, body in item.properties:
        if kind == b"irot" and body:
            # Anti-clockwise, in steps of 90 degrees.
            image = image.rotate(90 * (body[0] & 3), expand=True)
        elif kind == b"imir" and body:
            is_sideways = body[0] & 1
            method = Image.Transpose.FLIP_LEFT_RIGHT if is_sideways else Image.Transpose.FLIP_TOP_BOTTOM
            image = image.transpose(method)
        elif kind == b"clap" and len(body) >= 32:  # noqa: PLR2004 - eight numbers
            image = _cut(image, struct.unpack_from(">IIIIiIiI", body))
    return image


def _cut(image: Image.Image, numbers: tuple[int, ...]) -> Image.Image:
    """Cut the clean aperture out. Source: ISO/IEC 14496-12, 12.1.4."""
    width_n, width_d, height_n, height_d, across_n, across_d, down_n, down_d = numbers
    if 0 in (width_d, height_d, across_d, down_d):
        raise MalformedError("a clean aperture divides by zero")
    width, height = width_n / width_d, height_n / height_d
    left = across_n / across_d + (image.width - width) / 2
    top = down_n / down_d + (image.height - height) / 2
    box = (round(left), round(top), round(left + width), round(top + height))
    if box[0] < 0 or box[1] < 0 or box[2] > image.width or box[3] > image.height or width < 1 or height < 1:
        raise MalformedError("a clean aperture lies outside of its picture")
    return image.crop(box)


def _only(targets: tuple[int, ...]) -> int:
    if len(targets) != 1:
        raise MalformedError("a picture that is made of one other is made of none, or of many")
    return targets[0]
