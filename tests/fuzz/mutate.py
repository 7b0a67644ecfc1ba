"""Mutate bytes in the ways in which files go wrong, or are made to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.fuzz import structure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    Mutation = Callable[[bytearray, Random, Sequence[bytes]], None]

_EXTREMES: Final = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_HEAD: Final = 256
"""Most of what a decoder believes without looking further stands at the beginning."""
_LONGEST_RUN: Final = 4_096
_STEPS: Final = (1, 1, 2, 3)
_STRUCTURAL_SHARE: Final = 0.45
"""What is aimed at the parts of a file gets further into decoders than what hits single bytes."""


def mutate(data: bytes, chance: Random, others: Sequence[bytes]) -> bytes:
    """Mutate some bytes in one to three steps, mostly in one.

    Args:
        data: A valid file.
        chance: Decides everything; seeded by the caller.
        others: Other valid files, pieces of which may be put in.
    """
    mutated = bytearray(data)
    for _ in range(chance.choice(_STEPS)):
        if not mutated:
            break
        if chance.random() < _STRUCTURAL_SHARE:
            chance.choice(_STRUCTURAL)(mutated, chance)
        else:
            chance.choice(_MUTATIONS)(mutated, chance, others)
    return bytes(mutated)


def _place(data: bytearray, chance: Random) -> int:
    limit = len(data) if chance.random() < 0.5 else min(len(data), _HEAD)
    return chance.randrange(limit)


def _flip_bits(data: bytearray, chance: Random, _others: Sequence[bytes]) -> None:
    for _ in range(chance.randint(1, 16)):
        data[_place(data, chance)] ^= 1 << chance.randrange(8)


def _set_bytes(data: bytearray, chance: Random, _others: Sequence[bytes]) -> None:
    at = _place(data, chance)
    for offset in range(chance.randint(1, 8)):
        if at + offset < len(data):
            data[at + offset] = chance.choice((0, 0xFF, chance.randrange(256)))


def _set_number(data: bytearray, chance: Random, _others: Sequence[bytes]) -> None:
    width = chance.choice((1, 2, 4, 8))
    value = chance.choice(_EXTREMES) & ((1 << 8 * width) - 1)
    at = _place(data, chance)
    data[at : at + width] = value.to_bytes(width, chance.choice(("big", "little")))


def _cut(data: bytearray, chance: Random, _others: Sequence[bytes]) -> None:
    del data[chance.randrange(len(data)) :]


def _delete(data: bytearray, chance: Random, _others: Sequence[bytes]) -> None:
    at = _place(data, chance)
    del data[at : at + chance.randint(1, _LONGEST_RUN)]


def _repeat(data: bytearray, chance: Random, _others: Sequence[bytes]) -> None:
    at = _place(data, chance)
    data[at:at] = data[at : at + chance.randint(1, _LONGEST_RUN)] * chance.randint(1, 3)


def _swap(data: bytearray, chance: Random, _others: Sequence[bytes]) -> None:
    length = chance.randint(1, min(_LONGEST_RUN, len(data)))
    one, other = _place(data, chance), _place(data, chance)
    first, second = bytes(data[one : one + length]), bytes(data[other : other + length])
    data[one : one + len(first)] = second[: len(first)]
    data[other : other + len(second)] = first[: len(second)]


def _splice(data: bytearray, chance: Random, others: Sequence[bytes]) -> None:
    other = chance.choice(others)
    start = chance.randrange(len(other))
    at = _place(data, chance)
    data[at : at + chance.choice((0, 64))] = other[start : start + chance.randint(1, _LONGEST_RUN)]


def _append(data: bytearray, chance: Random, others: Sequence[bytes]) -> None:
    data += chance.choice((*others, chance.randbytes(64)))


def _take_head(data: bytearray, chance: Random, others: Sequence[bytes]) -> None:
    other = chance.choice(others)
    length = chance.randint(4, 64)
    data[:length] = other[:length]


_MUTATIONS: Final[tuple[Mutation, ...]] = (
    _flip_bits,
    _flip_bits,
    _set_bytes,
    _set_number,
    _set_number,
    _cut,
    _delete,
    _repeat,
    _swap,
    _splice,
    _append,
    _take_head,
)

_STRUCTURAL: Final = (
    structure.change_length,
    structure.change_body,
    structure.change_body,
    structure.drop_part,
    structure.repeat_part,
    structure.exchange_parts,
    structure.cut_part,
    structure.repack_pixels,
)
