"""Write videos as vPDQ does, for lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scanner.listvideos import ListedVideo, read_video
from tests.scanner.video.test_media import run

if TYPE_CHECKING:
    from collections.abc import Iterable


def write_frames(frames: Iterable[bytes], *, quality: int = 90) -> list[str]:
    """Write frames as the array that vPDQ writes of a video."""
    return [f"{one.hex()},{quality},{number}.0" for number, one in enumerate(frames)]


def hash_video(data: bytes) -> list[str]:
    """Hash the frames of a video and write them so."""
    pictures = run(data, closer=True).pictures
    return [f"{one.dihedral[0].hex()},{one.quality},{(one.timestamp_ms or 0) / 1000}" for one in pictures]


def name_of(written: object) -> ListedVideo:
    """Say under which name a list holds a video."""
    found = read_video(written)
    assert found is not None
    return found
