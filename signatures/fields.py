"""Attestations in a header of the media response, so that they travel with the bytes.

`Media-Scan-Attestation` is an RFC 9651 byte sequence; `Repr-Digest` beside it names the bytes (RFC 9530).
"""

from __future__ import annotations

import re
from typing import Final

from signatures.encoding import decode_base64, encode_base64
from signatures.errors import MalformedError
from signatures.objects import MAX_OBJECT_BYTES

ATTESTATION_HEADER: Final = "Media-Scan-Attestation"

# Two colons and the base64 of the largest object there is.
MAX_FIELD_CHARS: Final = 2 + (MAX_OBJECT_BYTES + 2) // 3 * 4

_BYTE_SEQUENCE: Final = re.compile(r":[A-Za-z0-9+/]+={0,2}:")


def build_attestation_field(attestation: bytes) -> str:
    """Return the header's value for the bytes of an attestation."""
    return f":{encode_base64(attestation)}:"


def parse_attestation_field(value: str) -> bytes:
    """Return the bytes in the header's value; nothing about them was verified.

    Raises:
        MalformedError: it is not one byte sequence of a sensible length.
    """
    text = value.strip(" \t")
    if len(text) > MAX_FIELD_CHARS or _BYTE_SEQUENCE.fullmatch(text) is None:
        raise MalformedError("not a byte sequence")
    return decode_base64(text[1:-1])
