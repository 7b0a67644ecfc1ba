"""Answer what peers ask about bytes: by digest, or by the beginnings of digests.

Whatever is not given out (unknown, not scanned yet, of the share that is never issued, matched, not public)
is answered alike, which is to say not at all: there is one query, and what is not given out is not in its
index.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

from db import given
from relay.errors import BreakwaterError
from relay.exchange.client import MAX_DIGESTS, MAX_LOOKUP_BYTES
from relay.exchange.prefixes import MAX_BITS, MAX_PREFIXES, Prefix, decide_bits, parse_prefix
from relay.exchange.taken_back import tell_taken_back
from signatures.digests import parse_digest_multibase
from signatures.errors import MalformedError
from signatures.strictjson import parse_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from db.pool import Database
    from signatures.strictjson import JsonObject, JsonValue

MAX_QUESTION_BYTES: Final = 16_384
"""128 digests take 6.5 kB."""

_MAX_DEPTH: Final = 4

# 48 buckets of the usual size; the bound on bytes is reached sooner.
_MAX_OBJECTS: Final = 12_288

# How many bits are published follows the number of attestations, which doubles in days.
_COUNT_EVERY: Final = timedelta(minutes=10)

# A peer that asks with what it was told before the number doubled is still answered.
_TOLERATED_BITS: Final = 1


class MalformedQuestionError(BreakwaterError):
    """A body is no question about digests or prefixes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Digests:
    """A question about exactly these bytes."""

    sha256: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Buckets:
    """A question about all bytes whose digests begin so."""

    bits: int
    prefixes: tuple[Prefix, ...]


Question: TypeAlias = Digests | Buckets


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What is given out.

    Attributes:
        objects: The signed objects as they were stored.
        bits: How many bits prefixes are to have.
    """

    objects: tuple[bytes, ...]
    bits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TooBroad:
    """The question is about more than an answer may hold; `bits` is how many prefixes are to have."""

    bits: int


def parse_question(body: bytes) -> Question:
    """Parse the body of a look-up.

    Raises:
        MalformedQuestionError: It asks neither by digests nor by prefixes, or both, none or too many.
    """
    try:
        return _parse_question(body)
    except MalformedError as error:
        raise MalformedQuestionError(f"This is no look-up: {error}.") from error


def _parse_question(body: bytes) -> Question:
    value = parse_json(body, max_bytes=MAX_QUESTION_BYTES, max_depth=_MAX_DEPTH)
    if not isinstance(value, dict) or ("digests" in value) == ("prefixes" in value):
        raise MalformedError("it has not exactly one of digests and prefixes")
    if "digests" in value:
        texts = _get_texts(value["digests"], "digests", most=MAX_DIGESTS)
        return Digests(sha256=tuple({parse_digest_multibase(text): None for text in texts}))
    bits = _get_bits(value)
    texts = _get_texts(value["prefixes"], "prefixes", most=MAX_PREFIXES)
    return Buckets(bits=bits, prefixes=tuple({parse_prefix(text, bits=bits): None for text in texts}))


def _get_texts(value: JsonValue, name: str, *, most: int) -> list[str]:
    texts = [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
    if not isinstance(value, list) or len(texts) != len(value) or not 1 <= len(texts) <= most:
        raise MalformedError(f"{name} is not a list of 1 to {most} strings")
    return texts


def _get_bits(value: JsonObject) -> int:
    bits = value.get("bits")
    if not isinstance(bits, int) or isinstance(bits, bool) or not 0 <= bits <= MAX_BITS:
        raise MalformedError(f"bits is not a number from 0 to {MAX_BITS}")
    return bits


class BucketWidth:
    """How many bits prefixes are to have, found out now and then."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counting = asyncio.Lock()
        self._bits = 0
        self._counted_at: datetime | None = None

    async def find(self, *, now: datetime) -> int:
        """Return how many bits prefixes are to have.

        Raises:
            DatabaseError: It could not be found out.
        """
        async with self._counting:
            if self._counted_at is None or now - self._counted_at >= _COUNT_EVERY:
                async with self._database.connection() as conn:
                    live = await given.estimate_given(conn, now=now)
                self._bits, self._counted_at = decide_bits(live), now
        return self._bits


async def look_up(
    question: Question, *, database: Database, width: BucketWidth, now: datetime
) -> Given | TooBroad:
    """Look up what is given out about some bytes.

    Raises:
        DatabaseError: The database does not answer.
    """
    bits = await width.find(now=now)
    if isinstance(question, Digests):
        async with database.connection() as conn:
            objects = await given.find_given(conn, question.sha256, now=now)
        return Given(objects=await _leave_out_taken_back(objects, database=database), bits=bits)
    if question.bits < bits - _TOLERATED_BITS:
        return TooBroad(bits=bits)
    ranges = [(prefix.first, prefix.last) for prefix in question.prefixes]
    async with database.connection() as conn:
        objects = await given.find_given_between(conn, ranges, now=now, limit=_MAX_OBJECTS)
    if _is_too_much(objects):
        return TooBroad(bits=bits)
    return Given(objects=await _leave_out_taken_back(objects, database=database), bits=bits)


async def _leave_out_taken_back(objects: tuple[bytes, ...], *, database: Database) -> tuple[bytes, ...]:
    taken_back = await tell_taken_back(objects, database=database)
    return tuple(one for one, is_gone in zip(objects, taken_back, strict=True) if not is_gone)


def _is_too_much(objects: Sequence[bytes]) -> bool:
    """Tell whether an answer would not fit; half of one would look like there were no more."""
    with_commas = sum(map(len, objects)) + len(objects) + 1_024
    return len(objects) >= _MAX_OBJECTS or with_commas > MAX_LOOKUP_BYTES
