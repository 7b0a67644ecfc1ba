"""Find pictures in a file of sound that its demuxer passes over.

A demuxer gives the covers whose tag names a type that it knows, in the tags that it reads. Players are not so
strict: they look at the bytes, and read tags at the end of a file as well. Chance does not write the
beginning of a picture into sound (`scanner.embedded` says why), so whatever begins like one counts.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final

from scanner.embedded import Embedded, find_anywhere
from scanner.formats.carriers import gaps
from scanner.report import UnscannableReason
from scanner.sniff import PLAYED, MediaType
from scanner.video.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_HEAD_BYTES: Final = 12
"""The file's own mark lies in these."""

_SPELLED: Final = re.compile(rb"(?i:METADATA_BLOCK_PICTURE|COVERART)=([A-Za-z0-9+/=]{64,})")
"""Source: Ogg Vorbis I comments, as `METADATA_BLOCK_PICTURE` (FLAC's block) and the older `COVERART`."""

_PAGE: Final = re.compile(rb"OggS\x00.{21}(.)", re.DOTALL)

_UNSYNCHRONISED: Final = re.compile(rb"\xff(?=[\x00\xe0-\xff])")
"""Behind such a byte a tag may have a zero, so that nothing in it looks like sound. Source: ID3v2.4, 6.1."""


def find_hidden(data: bytes, media_type: MediaType, covers: Sequence[bytes]) -> Iterator[Embedded]:
    """Find the first picture in each part of a file of sound that holds none of its covers.

    What decodes it looks behind its end as well, so that the first of a part stands for all.

    Args:
        data: The file.
        media_type: What it is.
        covers: What the demuxer gave.

    Raises:
        RefusedError: A film begins in the file.
    """
    blocks = [*gaps(data, ((0, _HEAD_BYTES), *_places(data, covers)))]
    if media_type is MediaType.OGG:
        spelled = [_unspell(found[1]) for found in _SPELLED.finditer(_join_pages(data))]
        blocks += [part for block in spelled for part in gaps(block, _places(block, covers))]
    for block in blocks:
        found = next((one for one in find_anywhere(block) if isinstance(one, Embedded)), None)
        if found is not None and found.media_type in PLAYED:
            raise RefusedError(UnscannableReason.UNSUPPORTED)
        if found is not None:
            yield found


def _places(data: bytes, covers: Sequence[bytes]) -> list[tuple[int, int]]:
    """Say where covers lie, as they are or as a tag writes them."""
    forms = [form for one in covers for form in (one, _UNSYNCHRONISED.sub(b"\xff\x00", one))]
    found = [(data.find(form), len(form)) for form in forms]
    return [(start, start + length) for start, length in found if start >= 0]


def _join_pages(data: bytes) -> bytes:
    """Put the bodies of pages together: what they carry is cut wherever a page ends."""
    bodies: list[bytes] = []
    at = 0
    while page := _PAGE.match(data, at):
        body = page.end() + page[1][0]
        at = body + sum(data[page.end() : body])
        bodies.append(data[body:at])
    return b"".join(bodies)


def _unspell(letters: bytes) -> bytes:
    plain = letters.rstrip(b"=")
    # One letter alone carries no byte; what is missing otherwise is filling.
    plain = plain[:-1] if len(plain) % 4 == 1 else plain
    return base64.b64decode(plain + b"=" * (-len(plain) % 4))
