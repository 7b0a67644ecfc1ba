"""JPEG XL through libjxl.

Said to be unsupported, after what can be seen was hashed: animations (the decoder gives one frame), previews
and channels other than opacity inside the codestream, and metadata that is compressed by Brotli.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from pillow_jxl import Decoder

from scanner.formats.jxl import ALPHA, Layout, parse_layout
from scanner.pictures.gathering import RefusedError
from scanner.pictures.jpeg import decode_jpeg
from scanner.report import UnscannableReason

if TYPE_CHECKING:
    from scanner.pictures.gathering import Gathering


def decode_jxl(data: bytes, gathering: Gathering) -> bytes:
    """Decode and hash a JPEG XL, its gain maps, and the JPEG that it was made of.

    Returns:
        That JPEG, whose metadata may hold pictures; nothing where there is none.

    Raises:
        RefusedError: It is too large, or something in it cannot be seen.
        MalformedError: Its headers are broken.
        RuntimeError: It is broken.
    """
    layout = parse_layout(data)
    gathering.check_size(layout.header.width, layout.header.height)
    if not gathering.is_embedded:
        gathering.frames = 1
    # Told to put the JPEG together, the decoder gives that one alone; what viewers show comes first.
    picture = _decode(data.replace(b"jbrd", b"skip", 1) if layout.is_transcoded else data)
    # The decoder has turned it, whatever EXIF says. Source: ISO/IEC 18181-2, 9.4.
    gathering.add(picture, orientation=1)
    del picture
    if gathering.job.is_first_frame_only:
        return b""
    for gain_map in layout.gain_maps:
        gathering.begin_embedded()
        decode_jxl(gain_map, gathering)
    original = b""
    if layout.is_transcoded:
        is_original, _, original, *_ = Decoder(num_threads=0)(data)
        if not is_original:
            raise RefusedError(UnscannableReason.UNSUPPORTED)
        gathering.begin_embedded()
        decode_jpeg(original, gathering)
    _refuse_unseen(layout)
    return original


def _refuse_unseen(layout: Layout) -> None:
    header = layout.header
    # What is compressed beside a JPEG is part of it, and was seen there.
    is_metadata_unseen = layout.has_hidden_metadata and not layout.is_transcoded
    has_other_channels = len(header.channels) > 1 or any(kind != ALPHA for kind in header.channels)
    if header.is_animated or header.has_preview or has_other_channels or is_metadata_unseen:
        raise RefusedError(UnscannableReason.UNSUPPORTED)


def _decode(data: bytes) -> Image.Image:
    # Threads are denied in the sandbox; 0 decodes in the calling one.
    _, info, pixels, *_ = Decoder(num_threads=0)(data)
    size = (info.width, info.height)
    if info.mode in {"L", "LA", "RGB", "RGBA"}:
        return Image.frombytes(info.mode, size, pixels)
    if info.mode == "I;16":
        return Image.frombytes("I;16", size, pixels)
    if info.mode == "F":
        grey = np.frombuffer(pixels, np.float32).reshape(info.height, info.width)
        return Image.fromarray((np.nan_to_num(grey).clip(0, 1) * 255).round().astype(np.uint8))
    raise RefusedError(UnscannableReason.UNSUPPORTED)
