"""Base64, multibase and multicodec, in their one canonical spelling each.

A decoder that accepts two spellings of one value makes signatures malleable, so everything here
refuses what it would not itself have written.
"""

from __future__ import annotations

import binascii
from typing import Final

import base58

from signatures.errors import MalformedError

# base58 is quadratic in its length: 100,000 characters take seconds. The longest value we have a use
# for is the Multikey of an RSA-8192 key: 2 + 1,036 bytes, 1,421 characters.
MAX_BASE58_CHARS: Final = 1_424

# The bit that says that another byte of a varint follows.
_CONTINUES: Final = 0x80

_BASE58_VALUES: Final = {chr(symbol): value for value, symbol in enumerate(base58.BITCOIN_ALPHABET)}
_BASE64URL_TO_BASE64: Final = str.maketrans("-_", "+/")
_BASE64_TO_BASE64URL: Final = str.maketrans("+/", "-_")


def encode_base64(data: bytes) -> str:
    """Return standard base64 with padding."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def decode_base64(text: str) -> bytes:
    """Decode standard base64 with exact padding and zero trailing bits.

    Raises:
        MalformedError: it is not the canonical spelling of any bytes.
    """
    try:
        raw = text.encode("ascii")
        data = binascii.a2b_base64(raw, strict_mode=True)
    except ValueError as error:  # binascii.Error and UnicodeEncodeError are both ValueErrors
        raise MalformedError("not base64") from error
    if binascii.b2a_base64(data, newline=False) != raw:
        raise MalformedError("base64 with loose ends")
    return data


def encode_base64url(data: bytes) -> str:
    """Return multibase base64url without padding: "u" and the digits."""
    return "u" + encode_base64(data).rstrip("=").translate(_BASE64_TO_BASE64URL)


def decode_base64url(text: str, *, size: int) -> bytes:
    """Decode multibase base64url without padding that holds exactly `size` bytes.

    Raises:
        MalformedError: it does not.
    """
    digits = text[1:]
    if not text.startswith("u") or len(digits) != (size * 8 + 5) // 6 or "+" in digits or "/" in digits:
        raise MalformedError(f"not {size} bytes of multibase base64url")
    return decode_base64(digits.translate(_BASE64URL_TO_BASE64) + "=" * (-len(digits) % 4))


def encode_base58btc(data: bytes) -> str:
    """Return multibase base58btc: "z" and the digits."""
    return "z" + base58.b58encode(data).decode("ascii")


def decode_base58btc(text: str, *, max_chars: int = MAX_BASE58_CHARS) -> bytes:
    """Decode multibase base58btc of at most `max_chars` characters, the "z" included.

    Raises:
        MalformedError: it is too long, or not base58btc.
    """
    # The length comes first: see MAX_BASE58_CHARS.
    if len(text) > max_chars or not text.startswith("z"):
        raise MalformedError("not multibase base58btc of a sensible length")
    digits = text[1:]
    number = 0
    try:
        for digit in digits:
            number = number * 58 + _BASE58_VALUES[digit]
    except KeyError as error:
        raise MalformedError("not base58btc") from error
    zeros = len(digits) - len(digits.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def encode_varint(value: int) -> bytes:
    """Return an unsigned LEB128 varint, as multicodec prefixes use it."""
    out = bytearray()
    while value >= _CONTINUES:
        out.append(value % _CONTINUES | _CONTINUES)
        value //= _CONTINUES
    out.append(value)
    return bytes(out)


def decode_varint(data: bytes) -> tuple[int, bytes]:
    """Return the varint at the start of `data` and what follows it.

    Raises:
        MalformedError: it is cut short, longer than 9 bytes or not minimal.
    """
    value = 0
    # Source: multiformats/unsigned-varint, "maximum of 9 bytes" and "MUST encode minimally".
    for index, octet in enumerate(data[:9]):
        value |= octet % _CONTINUES << (7 * index)
        if octet < _CONTINUES:
            if octet == 0 and index > 0:
                raise MalformedError("a varint with needless bytes")
            return value, data[index + 1 :]
    raise MalformedError("a varint that does not end")
