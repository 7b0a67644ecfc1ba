"""What moderators uphold becomes the instance's own list, and leaves it when they think better of it."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

from db import cases, hashlists, rulings
from db.cases import CaseState
from db.deliveries import insert_delivery
from db.media_hashes import MediaHashes, put_hashes
from db.rulings import Ruling, RulingKind
from relay.model import Door
from relay.own_lists import EVERY, Folded, OwnListKeeper, OwnListTools, fold
from scanner import canary
from scanner.detector import PictureHashes
from scanner.keeping import pack_pictures
from tests.db.builders import new_delivery
from tests.e2e.world import wait_until
from tests.fediverse import FrozenClock

if TYPE_CHECKING:
    from db.pool import Database


def sha256_of(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def bits_of(name: str) -> bytes:
    return hashlib.sha256(b"pdq" + name.encode()).digest()


def pictures_of(name: str, *, frames: int = 1, quality: int = 100, bits: bytes | None = None) -> bytes:
    shown = bits or bits_of(name)
    return pack_pictures(
        [
            PictureHashes(
                frame=frame,
                quality=quality,
                dihedral=(shown,) * 8,
                resized=(shown,) * 8,
                is_approximate=False,
            )
            for frame in range(frames)
        ]
    )


class Desk:
    """A moderator's desk."""

    def __init__(self, database: Database, *, handles_csam: bool = True) -> None:
        self.clock = FrozenClock()
        self.database = database
        self.tools = OwnListTools(database=database, clock=self.clock, handles_csam=handles_csam)

    async def see(self, name: str, pictures: bytes) -> None:
        hashes = MediaHashes(
            sha256=sha256_of(name),
            sha1=bytes(20),
            md5=bytes(16),
            pictures=pictures,
            lists_digest=bytes(32),
            seen_at=self.clock.now(),
        )
        async with self.database.connection() as conn:
            await put_hashes(conn, hashes)

    async def rule(self, name: str, to: CaseState, *, category: str = "spam") -> None:
        now, sha256 = self.clock.now(), sha256_of(name)
        kind = RulingKind.BLOCK if to is CaseState.UPHELD else RulingKind.ALLOW
        async with self.database.connection() as conn:
            case_id = await cases.open_case(
                conn,
                category=category,
                delivery_id=None,
                sha256=sha256,
                basis="near_hash",
                now=now,
                door=Door.GATEWAY,
            )
            if case_id is not None:
                await cases.rule_case(conn, case_id, to=to, ruled_by="mo", now=now, note="")
            await rulings.set_ruling(conn, Ruling(sha256=sha256, ruling=kind, ruled_by="mo", ruled_at=now))

    async def entries(self, name: str) -> dict[str, bytes]:
        async with self.database.connection() as conn:
            stored = await hashlists.find_list(conn, name)
            assert stored is not None
            return await hashlists.load_entries(conn, stored.id)


async def test_an_upheld_picture_is_listed_by_its_bytes_and_its_looks(database: Database) -> None:
    desk = Desk(database)
    await desk.see("picture", pictures_of("picture"))
    await desk.rule("picture", CaseState.UPHELD)
    assert await fold(desk.tools) == Folded(listed=1, added=1, dropped=0, changed=("own-spam",))
    assert await desk.entries("own-spam") == {
        "sha256": sha256_of("picture"),
        "pdq": bits_of("picture"),
    }


async def test_films_and_flat_pictures_are_listed_by_their_bytes_alone(database: Database) -> None:
    desk = Desk(database)
    await desk.see("film", pictures_of("film", frames=3))
    await desk.see("flat", pictures_of("flat", quality=20))
    for name in ("film", "flat", "forgotten"):
        await desk.rule(name, CaseState.UPHELD)
    await fold(desk.tools)
    assert await desk.entries("own-spam") == {
        "sha256": b"".join(sorted(sha256_of(name) for name in ("film", "flat", "forgotten")))
    }


async def test_what_is_overruled_leaves_the_list(database: Database) -> None:
    desk = Desk(database)
    await desk.see("picture", pictures_of("picture"))
    await desk.rule("picture", CaseState.UPHELD)
    await fold(desk.tools)
    await desk.rule("picture", CaseState.RELEASED)
    assert await fold(desk.tools) == Folded(listed=0, added=0, dropped=1, changed=("own-spam",))
    assert await desk.entries("own-spam") == {}


async def test_what_was_released_is_never_listed(database: Database) -> None:
    desk = Desk(database)
    await desk.rule("picture", CaseState.RELEASED)
    assert await fold(desk.tools) == Folded(listed=0, added=0, dropped=0, changed=())


async def test_categories_are_never_merged(database: Database) -> None:
    desk = Desk(database)
    await desk.rule("one", CaseState.UPHELD, category="ncii-known")
    await desk.rule("other", CaseState.UPHELD, category="csam-known")
    await desk.rule("unread", CaseState.UPHELD, category=cases.UNEXAMINED)
    folded = await fold(desk.tools)
    assert folded.changed == ("own-csam-known", "own-ncii-known")
    assert await desk.entries("own-csam-known") == {"sha256": sha256_of("other")}


async def test_without_an_answer_to_the_law_there_is_no_list_of_abuse_material(database: Database) -> None:
    desk = Desk(database, handles_csam=False)
    await desk.rule("other", CaseState.UPHELD, category="csam-known")
    assert (await fold(desk.tools)).changed == ()


async def test_a_list_that_the_admin_withdrew_stays_withdrawn(database: Database) -> None:
    desk = Desk(database)
    await desk.rule("one", CaseState.UPHELD)
    await fold(desk.tools)
    async with database.connection() as conn:
        await hashlists.withdraw_list(conn, "own-spam", at=desk.clock.now())
    await desk.rule("two", CaseState.UPHELD)
    assert (await fold(desk.tools)).changed == ()


async def test_lists_change_once_a_day_at_the_most(database: Database) -> None:
    desk = Desk(database)
    keeper = OwnListKeeper(desk.tools)
    await desk.rule("one", CaseState.UPHELD)
    assert await keeper._is_due()
    await fold(desk.tools)
    assert not await keeper._is_due()
    desk.clock.advance(EVERY - timedelta(seconds=1))
    assert not await keeper._is_due()
    desk.clock.advance(timedelta(seconds=1))
    assert await keeper._is_due()


async def test_what_is_upheld_in_another_category_moves_to_the_list_of_that(database: Database) -> None:
    desk = Desk(database)
    await desk.see("picture", pictures_of("picture"))
    await desk.rule("picture", CaseState.UPHELD)
    await fold(desk.tools)
    desk.clock.advance(EVERY)
    now, sha256 = desk.clock.now(), sha256_of("picture")
    async with database.connection() as conn:
        delivery_id = await insert_delivery(conn, new_delivery())
        case_id = await cases.open_case(
            conn, category="tvec", delivery_id=delivery_id, sha256=sha256, basis="peer", now=now
        )
        assert case_id is not None
        await cases.rule_case(conn, case_id, to=CaseState.UPHELD, ruled_by="mo", now=now)
    assert (await fold(desk.tools)).changed == ("own-spam", "own-tvec")
    assert await desk.entries("own-spam") == {}
    assert await desk.entries("own-tvec") == {"sha256": sha256, "pdq": bits_of("picture")}


async def test_the_canary_of_a_self_test_is_in_no_own_list(database: Database) -> None:
    desk = Desk(database)
    await desk.see("canary", pictures_of("canary", bits=canary.PDQ))
    # A self-test closes the case that it opened, and rules on nothing.
    async with database.connection() as conn:
        case_id = await cases.open_case(
            conn,
            category="spam",
            delivery_id=None,
            sha256=sha256_of("canary"),
            basis="near_hash",
            now=desk.clock.now(),
        )
        assert case_id is not None
        await cases.rule_case(conn, case_id, to=CaseState.UPHELD, ruled_by="selftest", now=desk.clock.now())
    assert await fold(desk.tools) == Folded(listed=0, added=0, dropped=0, changed=())


async def test_a_canary_that_a_person_upholds_is_listed_by_its_bytes_alone(database: Database) -> None:
    desk = Desk(database)
    await desk.see("canary", pictures_of("canary", bits=canary.PDQ))
    await desk.rule("canary", CaseState.UPHELD)
    await fold(desk.tools)
    assert await desk.entries("own-spam") == {"sha256": sha256_of("canary")}


async def test_a_list_that_is_withdrawn_while_it_is_made_anew_stays_withdrawn(database: Database) -> None:
    desk = Desk(database)
    await desk.rule("one", CaseState.UPHELD)
    await fold(desk.tools)
    await desk.rule("two", CaseState.UPHELD)

    async def is_waiting() -> bool | None:
        async with database.connection() as conn:
            return await conn.fetchval("SELECT true FROM pg_locks WHERE NOT granted LIMIT 1")

    async with asyncio.TaskGroup() as group, database.transaction() as withdrawing:
        assert await hashlists.withdraw_list(withdrawing, "own-spam", at=desk.clock.now())
        folding = group.create_task(fold(desk.tools))
        await wait_until(is_waiting, "the list to be waited for")
    assert folding.result().changed == ()
    async with database.connection() as conn:
        stored = await hashlists.find_list(conn, "own-spam")
    assert stored is not None
    assert stored.withdrawn_at is not None


async def test_two_relays_make_the_lists_at_once_as_one_would(database: Database) -> None:
    desk = Desk(database)
    await desk.see("picture", pictures_of("picture"))
    await desk.rule("picture", CaseState.UPHELD)
    both = await asyncio.gather(fold(desk.tools), fold(desk.tools))
    assert {one.listed for one in both} == {1}
    assert await desk.entries("own-spam") == {"sha256": sha256_of("picture"), "pdq": bits_of("picture")}
