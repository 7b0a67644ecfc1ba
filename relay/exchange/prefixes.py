"""Ask by the beginning of a digest, so that whoever answers learns little about what is asked for.

A bucket is everything whose digest begins with the same bits. With as many bits as make a bucket hold about
256 attestations, an answer hides the one that is meant among them, and further buckets, drawn by chance, hide
how many are meant at all.

On the wire a prefix is lower-case hexadecimal, as many digits as its bits need; the bits beyond are zero. All
prefixes of a question have the same number of bits, which stands beside them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from signatures.digests import SHA256_SIZE
from signatures.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

BUCKET_SIZE: Final = 256
"""About how many attestations a bucket holds. Source: section 4 of the design of the exchange."""

MAX_BITS: Final = 64
"""A finer question is one for a digest, which is another question."""

MAX_PREFIXES: Final = 128
"""How many prefixes a question may have; it is padded to one of `PADDED_TO`."""

PADDED_TO: Final = (8, 32, MAX_PREFIXES)

_DIGITS: Final = re.compile(r"[0-9a-f]{0,16}")
_DIGIT_BITS: Final = 4
_DIGEST_BITS: Final = SHA256_SIZE * 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """The first bits of a digest.

    Attributes:
        bits: How many.
        value: What they are, as a number below 2**bits.
    """

    bits: int
    value: int

    @property
    def first(self) -> bytes:
        """The lowest digest that begins with it, 32 bytes."""
        return (self.value << (_DIGEST_BITS - self.bits)).to_bytes(SHA256_SIZE, "big")

    @property
    def last(self) -> bytes:
        """The highest digest that begins with it, 32 bytes."""
        return (((self.value + 1) << (_DIGEST_BITS - self.bits)) - 1).to_bytes(SHA256_SIZE, "big")

    def __str__(self) -> str:
        digits = -(-self.bits // _DIGIT_BITS)
        return f"{self.value << (digits * _DIGIT_BITS - self.bits):0{digits}x}" if digits else ""


def cut_prefix(sha256: bytes, *, bits: int) -> Prefix:
    """Return the first bits of a digest."""
    return Prefix(bits=bits, value=int.from_bytes(sha256, "big") >> (_DIGEST_BITS - bits))


def parse_prefix(text: str, *, bits: int) -> Prefix:
    """Parse a prefix of so many bits, at most `MAX_BITS`.

    Raises:
        MalformedError: It has another number of digits, or bits beyond its own.
    """
    digits = -(-bits // _DIGIT_BITS)
    if len(text) != digits or _DIGITS.fullmatch(text) is None:
        raise MalformedError(f"not a prefix of {digits} hexadecimal digits")
    beyond = digits * _DIGIT_BITS - bits
    number = int(text or "0", 16)
    if number % (1 << beyond):
        raise MalformedError(f"a prefix with more than {bits} bits")
    return Prefix(bits=bits, value=number >> beyond)


def decide_bits(live: int) -> int:
    """Decide how many bits make a bucket hold about 256 of so many live attestations.

    Source: section 4 of the design of the exchange: floor(log2(M / 256)); 0, for one bucket, where there are
    few.
    """
    return min(max((live // BUCKET_SIZE).bit_length() - 1, 0), MAX_BITS)


def pad_prefixes(
    wanted: Iterable[Prefix], *, bits: int, draw: Callable[[int], int]
) -> Iterator[tuple[Prefix, ...]]:
    """Make questions of prefixes that are wanted: each in an order by value, padded with others by chance.

    Args:
        wanted: What is asked for.
        bits: How many bits each has.
        draw: Draws a number below the given one by chance that nobody foresees.
    """
    values = sorted({prefix.value for prefix in wanted})
    there_are = 1 << bits
    for begin in range(0, len(values), MAX_PREFIXES):
        part = values[begin : begin + MAX_PREFIXES]
        size = next(size for size in PADDED_TO if size >= len(part))
        question = set(part)
        while len(question) < min(size, there_are):
            question.add(draw(there_are))
        yield tuple(Prefix(bits=bits, value=value) for value in sorted(question))
