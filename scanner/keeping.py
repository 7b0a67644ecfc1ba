"""Pack perceptual hashes for keeping, so that media can be compared with lists that come later.

What is packed is what the matching detectors read of a sample: every orientation and both variants of each
picture, 518 bytes a picture. Pixels are never kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from scanner.detector import PictureHashes
from scanner.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_KEPT: Final = 64
"""Pictures kept of one file, 33 kB; of longer animations and videos so many evenly spaced ones."""

_ORIENTATIONS: Final = 8
_VERSION: Final = b"\x01"
_ROW: Final = np.dtype(
    [
        ("frame", "<i4"),
        ("quality", "u1"),
        ("is_approximate", "u1"),
        ("dihedral", "u1", (_ORIENTATIONS, 32)),
        ("resized", "u1", (_ORIENTATIONS, 32)),
    ]
)


def pack_pictures(pictures: Sequence[PictureHashes]) -> bytes:
    """Pack the hashes of a file's pictures; empty for none."""
    if not pictures:
        return b""
    places = np.linspace(0, len(pictures) - 1, min(len(pictures), MAX_KEPT)).round().astype(int)
    table = np.zeros(len(places), dtype=_ROW)
    for row, place in zip(table, places.tolist(), strict=True):
        one = pictures[place]
        row["frame"], row["quality"], row["is_approximate"] = one.frame, one.quality, one.is_approximate
        row["dihedral"] = np.frombuffer(b"".join(one.dihedral), np.uint8).reshape(_ORIENTATIONS, -1)
        row["resized"] = np.frombuffer(b"".join(one.resized), np.uint8).reshape(_ORIENTATIONS, -1)
    return _VERSION + table.tobytes()


def unpack_pictures(packed: bytes) -> tuple[PictureHashes, ...]:
    """Unpack what `pack_pictures` packed.

    Raises:
        MalformedError: It was packed in another way.
    """
    if not packed:
        return ()
    if packed[:1] != _VERSION or (len(packed) - 1) % _ROW.itemsize:
        raise MalformedError("these hashes were packed in a way that is not known")
    return tuple(
        PictureHashes(
            frame=int(row["frame"]),
            quality=int(row["quality"]),
            dihedral=tuple(bits.tobytes() for bits in row["dihedral"]),
            resized=tuple(bits.tobytes() for bits in row["resized"]),
            is_approximate=bool(row["is_approximate"]),
        )
        for row in np.frombuffer(packed, _ROW, offset=1)
    )
