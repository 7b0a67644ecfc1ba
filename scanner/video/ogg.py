"""Count the streams of an Ogg file that may hold pictures, also those that begin in its middle.

Ogg files may be chained: behind the last page of one another begins, with other streams. A demuxer that took
the first for sound alone passes over the pictures of the second.

Source: RFC 3533, 4 and 6; the first packets as their codecs' mappings to Ogg describe them.
"""

from __future__ import annotations

import re
from typing import Final

_BEGINNING: Final = re.compile(rb"OggS\x00[\x02\x03\x06\x07]")
"""A page, of version 0, with which a stream begins. Looked for everywhere: a reader that finds a page damaged
looks for the next inside it."""

_SEGMENTS_AT: Final = 26

_SHOW_NOTHING: Final = (
    b"\x01vorbis",
    b"OpusHead",
    b"\x7fFLAC",
    b"Speex   ",
    b"CELT    ",
    b"fishead\x00",
    b"\x80kate\x00\x00\x00",
)
"""How sound, text and the index of a file begin."""


def count_picture_streams(data: bytes) -> int:
    """Count the streams that begin like nothing that is known to show no pictures."""
    count = 0
    for page in _BEGINNING.finditer(data):
        segments = data[page.start() + _SEGMENTS_AT : page.start() + _SEGMENTS_AT + 1]
        count += not data.startswith(_SHOW_NOTHING, page.start() + _SEGMENTS_AT + 1 + sum(segments))
    return count
