"""Find pictures inside the metadata of pictures: EXIF thumbnails, previews, second pictures, gain maps.

The coded data of a JPEG never holds the three bytes with which a JPEG begins (a zero follows each 255,
restart marks apart), so wherever they stand behind the first byte another JPEG begins: an EXIF thumbnail, a
Photoshop preview, the further pictures of the multi-picture format, or one that was glued to the end. No
directory needs to be believed for that.
"""

from __future__ import annotations

import re
from typing import Final

SOI: Final = re.compile(rb"\xff\xd8\xff")
"""Start of image and the first byte of the next marker. Source: ITU-T T.81, B.1.1.3."""


def find_embedded(data: bytes, limit: int) -> list[int] | None:
    """Find where JPEGs begin behind the first byte of `data`; None where there are more than `limit`."""
    places: list[int] = []
    # Of the ways to search bytes, an expression takes the least time over coded data, which is full of 255.
    for found in SOI.finditer(data, 1):
        places.append(found.start())
        if len(places) > limit:
            return None
    return places
