"""Make sortable identifiers: 48 bits of time and 80 of chance in Crockford's base 32.

Source: github.com/ulid/spec.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CHARACTERS: Final = 26
_CHANCE_BITS: Final = 80


def build_ulid(now: datetime, chance: bytes) -> str:
    """Build an identifier from the time and 10 random bytes."""
    milliseconds = int(now.timestamp() * 1000)
    number = (milliseconds << _CHANCE_BITS) | int.from_bytes(chance[:10], "big")
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range((_CHARACTERS - 1) * 5, -1, -5))
