"""A listed hash that fits many different pictures is noticed; a flood of one picture is not."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from db import noisy
from db.hashlists import NewHashList, import_list
from db.noisy import NoiseState, NoisyEntry
from relay.tools.hash_lists import load_lists
from relay.tools.noise import MIN_UNLIKE, WINDOW, count_unlike, find_noise, note_near
from scanner.hashtable import HashKind, name_entry
from scanner.labels import Category
from scanner.report import (
    Basis,
    Finding,
    Fingerprints,
    MediaFacts,
    PdqHash,
    Report,
    Verdict,
)
from tests.fediverse.clock import START

if TYPE_CHECKING:
    from db.pool import Database

LISTED = random.Random(1).randbytes(32)
ENTRY = name_entry(HashKind.PDQ, LISTED)


def unlike(number: int) -> bytes:
    """A hash 31 bits from the listed one, and far from all others."""
    bits = int.from_bytes(LISTED)
    for place in random.Random(number).sample(range(256), 31):
        bits ^= 1 << place
    return bits.to_bytes(32)


def alike(number: int) -> bytes:
    """A hash of a copy of one and the same picture."""
    return (int.from_bytes(unlike(0)) ^ (1 << number)).to_bytes(32)


async def import_one(database: Database, category: Category) -> None:
    new = NewHashList(
        name="makers",
        version="1",
        category=category.value,
        distance=31,
        min_quality=50,
        is_dihedral=False,
        digest=bytes(32),
    )
    async with database.connection() as conn:
        await import_list(conn, new, {"pdq": LISTED}, now=START)


async def note(database: Database, hashes: list[bytes], *, basis: Basis = Basis.NEAR_HASH) -> None:
    for number, bits in enumerate(hashes):
        report = Report(
            verdict=Verdict.MATCH,
            reason=None,
            findings=(
                Finding(
                    detector="pdq",
                    version="1",
                    category=Category.SPAM,
                    basis=basis,
                    list_name="makers",
                    entry=ENTRY,
                ),
            ),
            detectors=(),
            fingerprints=Fingerprints(
                sha256=number.to_bytes(32),
                sha1=bytes(20),
                md5=bytes(16),
                pdq=(PdqHash(bits=bits, quality=100, frame=0),),
            ),
            facts=MediaFacts(size=1, media_type=None),
        )
        async with database.connection() as conn:
            await note_near(conn, report, now=START)


async def suspended(database: Database) -> frozenset[str]:
    (one,) = await load_lists(database, now=START)
    return one.suspended


async def test_a_hash_that_fits_many_different_pictures_is_suspended(database: Database) -> None:
    await import_one(database, Category.SPAM)
    await note(database, [unlike(number) for number in range(MIN_UNLIKE)])
    (found,) = await find_noise(database=database, now=START)
    assert (found.state, found.unlike, found.entry) == (NoiseState.SUSPENDED, MIN_UNLIKE, ENTRY)
    assert await suspended(database) == {ENTRY}
    # It is decided about once.
    assert await find_noise(database=database, now=START) == ()


@pytest.mark.parametrize(
    "category", [Category.CSAM_KNOWN, Category.CSEM_OTHER, Category.NCII_REPORTED, Category.TVEC]
)
async def test_what_protects_people_goes_on_being_matched_and_raises_an_alarm(
    database: Database, category: Category
) -> None:
    await import_one(database, category)
    await note(database, [unlike(number) for number in range(MIN_UNLIKE)])
    (found,) = await find_noise(database=database, now=START)
    assert found.state is NoiseState.ALARM
    assert await suspended(database) == frozenset()


async def test_a_flood_of_copies_of_one_picture_is_no_noise(database: Database) -> None:
    await import_one(database, Category.SPAM)
    await note(database, [alike(number) for number in range(100)])
    assert await find_noise(database=database, now=START) == ()


async def test_exact_matches_are_never_noise(database: Database) -> None:
    await import_one(database, Category.SPAM)
    await note(database, [unlike(number) for number in range(MIN_UNLIKE)], basis=Basis.EXACT_HASH)
    assert await find_noise(database=database, now=START) == ()


async def test_what_was_long_ago_is_not_sudden(database: Database) -> None:
    await import_one(database, Category.SPAM)
    await note(database, [unlike(number) for number in range(MIN_UNLIKE)])
    assert await find_noise(database=database, now=START + 2 * WINDOW) == ()


async def test_a_person_has_the_last_word(database: Database) -> None:
    await import_one(database, Category.SPAM)
    await note(database, [unlike(number) for number in range(MIN_UNLIKE)])
    await find_noise(database=database, now=START)
    kept = NoisyEntry(
        list_name="makers",
        entry=ENTRY,
        state=NoiseState.KEPT,
        unlike=0,
        noticed_at=START,
        decided_by="mo",
    )
    async with database.connection() as conn:
        await noisy.put_noisy(conn, kept)
    assert await find_noise(database=database, now=START) == ()
    assert await suspended(database) == frozenset()


def test_pictures_count_by_their_looks() -> None:
    assert count_unlike([]) == 0
    assert count_unlike([alike(number) for number in range(50)]) == 1
    assert count_unlike([unlike(1), unlike(1), unlike(2)]) == 2


async def test_what_a_person_decided_meanwhile_is_not_decided_again_by_the_relay(database: Database) -> None:
    kept = NoisyEntry(
        list_name="makers",
        entry=ENTRY,
        state=NoiseState.KEPT,
        unlike=MIN_UNLIKE,
        noticed_at=START,
        decided_by="mo",
    )
    async with database.connection() as conn:
        await noisy.put_noisy(conn, kept)
        # The relay has counted before, and is only now about to say so.
        late = replace(kept, state=NoiseState.SUSPENDED, decided_by="relay")
        assert not await noisy.put_noticed(conn, late)
        assert await noisy.list_noisy(conn) == (kept,)
