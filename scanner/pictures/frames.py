"""PNG, GIF, WebP and AVIF: one picture or many frames, through Pillow."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

from PIL import Image

from scanner.outcome import MAX_SAMPLES
from scanner.pictures.gathering import spread
from scanner.sniff import MediaType

if TYPE_CHECKING:
    from scanner.pictures.gathering import Gathering

FORMATS: Final = {
    MediaType.PNG: "PNG",
    MediaType.APNG: "PNG",
    MediaType.GIF: "GIF",
    MediaType.WEBP: "WEBP",
    MediaType.AVIF: "AVIF",
}


def decode_frames(data: bytes, media_type: MediaType, gathering: Gathering, listed: int | None) -> bytes:
    """Decode and hash the frames of a file.

    Args:
        data: The file.
        media_type: One of `FORMATS`.
        gathering: Where it goes.
        listed: Frames that the headers list; None where the decoder must tell.

    Returns:
        The EXIF block.

    Raises:
        RefusedError: It is too large.
        OSError: It is broken.
    """
    with Image.open(io.BytesIO(data), formats=(FORMATS[media_type],)) as image:
        gathering.check_size(*image.size)
        # Counting the frames of a GIF by Pillow would walk it once more.
        known = listed if media_type is MediaType.GIF else None
        count = max(known or getattr(image, "n_frames", 1), 1)
        if not gathering.is_embedded:
            gathering.frames = count
        chosen = gathering.choose_frames(count, image.width * image.height)
        sampled = {chosen[place] for place in spread(len(chosen), MAX_SAMPLES)}
        for frame in chosen:
            if frame:
                image.seek(frame)
            gathering.check_size(*image.size)
            gathering.add(image, frame, wants_sample=frame in sampled)
        exif = image.info.get("exif", b"")
    return exif if isinstance(exif, bytes) else b""
