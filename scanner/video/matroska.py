"""Tell whether a Matroska or WebM file was cut short, which its demuxer passes over in silence.

Source: RFC 8794 (EBML), sections 4, 5 and 7; RFC 9559 (Matroska), section 5.1.
"""

from __future__ import annotations

from typing import Final

_SEGMENT: Final = 0x18538067
_MAX_ID_BYTES: Final = 4
_MAX_SIZE_BYTES: Final = 8


def is_cut_short(data: bytes) -> bool:
    """Tell whether the segment claims to be longer than the bytes are; a live recording does not say."""
    head = _read_number(data, 0, _MAX_ID_BYTES, keeps_marker=True)
    while head is not None:
        name, at = head
        length = _read_number(data, at, _MAX_SIZE_BYTES, keeps_marker=False)
        if length is None:
            return False
        size, body = length
        is_unknown = size == (1 << 7 * (body - at)) - 1
        if name == _SEGMENT or is_unknown:
            return not is_unknown and body + size > len(data)
        head = _read_number(data, body + size, _MAX_ID_BYTES, keeps_marker=True)
    return False


def _read_number(data: bytes, at: int, longest: int, *, keeps_marker: bool) -> tuple[int, int] | None:
    """Read a number of variable length; returns it and where it ends, or None where there is none."""
    if at >= len(data) or data[at] == 0:
        return None
    length = 9 - data[at].bit_length()
    raw = data[at : at + length]
    if length > longest or len(raw) < length:
        return None
    value = int.from_bytes(raw)
    return (value if keeps_marker else value ^ 1 << 7 * length), at + length
