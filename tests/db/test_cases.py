"""Cases and rulings."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import cases, rulings
from db.cases import CaseState
from db.rulings import Ruling, RulingKind
from tests.db.builders import NOW, sha256

if TYPE_CHECKING:
    from db.pool import Database

SECOND = timedelta(seconds=1)


async def open_case(
    database: Database, delivery_id: int | None = 1, media: bytes | None = None
) -> int | None:
    async with database.connection() as conn:
        return await cases.open_case(
            conn, category="spam", delivery_id=delivery_id, sha256=media, basis="near_hash", now=NOW
        )


async def test_a_case_is_opened_once_for_a_delivery_and_its_bytes(database: Database) -> None:
    opened = [
        await open_case(database, 1, sha256("a")),
        await open_case(database, 1, sha256("b")),
        await open_case(database, 1),
        await open_case(database, 2),
        await open_case(database, None, sha256("a")),
    ]
    assert None not in opened
    assert len(set(opened)) == len(opened)
    assert await open_case(database, 1, sha256("a")) is None
    assert await open_case(database, 1) is None
    assert await open_case(database, None, sha256("a")) is None


async def test_a_case_that_expired_is_opened_again_and_one_that_was_ruled_on_is_not(
    database: Database,
) -> None:
    expired, ruled = await open_case(database, 1), await open_case(database, 2)
    assert ruled is not None
    async with database.connection() as conn:
        assert await cases.expire_cases(conn, delivery_id=1, now=NOW) == 1
        assert await cases.rule_case(conn, ruled, to=CaseState.UPHELD, ruled_by="mo", now=NOW)

    assert await open_case(database, 1) == expired
    assert await open_case(database, 2) is None
    async with database.connection() as conn:
        states = {case.id: (case.state, case.ruled_at) for case in await cases.list_cases_of(conn, 1)}
    assert states == {expired: (CaseState.OPEN, None)}


async def test_a_case_is_listed_viewed_and_ruled_on_once(database: Database) -> None:
    case_id = await open_case(database)
    assert case_id is not None
    other = await open_case(database, 2)

    async def rule(to: CaseState) -> bool:
        async with database.connection() as conn:
            return await cases.rule_case(conn, case_id, to=to, ruled_by="mo", now=NOW + SECOND, note="seen\0")

    async with database.connection() as conn:
        assert [case.id for case in await cases.list_cases(conn, limit=1)] == [case_id]
        assert [case.id for case in await cases.list_cases(conn, limit=9, after_id=case_id)] == [other]
        assert await cases.record_view(conn, case_id)
        assert not await cases.record_view(conn, 999)
    results = await asyncio.gather(*(rule(to) for to in (CaseState.RELEASED, CaseState.UPHELD) * 3))
    assert results.count(True) == 1
    async with database.connection() as conn:
        case = await cases.find_case(conn, case_id)
        assert case is not None
        assert case.state in {CaseState.RELEASED, CaseState.UPHELD}
        assert (case.was_viewed, case.ruled_by, case.ruled_at) == (True, "mo", NOW + SECOND)
        counts = await cases.count_cases(conn)
        assert counts[CaseState.OPEN] == counts[case.state] == 1
        assert counts[CaseState.EXPIRED] == 0
        assert await cases.find_case(conn, 999) is None
        with pytest.raises(ValueError, match="releases or upholds"):
            await cases.rule_case(conn, case_id, to=CaseState.OPEN, ruled_by="mo", now=NOW)


async def test_open_cases_expire_with_their_delivery(database: Database) -> None:
    first = await open_case(database, 1, sha256("a"))
    await open_case(database, 1, sha256("b"))
    await open_case(database, 2)
    assert first is not None
    async with database.connection() as conn:
        await cases.rule_case(conn, first, to=CaseState.UPHELD, ruled_by="mo", now=NOW)
        assert await cases.expire_cases(conn, delivery_id=1, now=NOW) == 1
        counts = await cases.count_cases(conn)
    assert (counts[CaseState.OPEN], counts[CaseState.UPHELD], counts[CaseState.EXPIRED]) == (1, 1, 1)


async def test_a_ruling_holds_for_exactly_its_bytes_until_it_is_changed(database: Database) -> None:
    allow = Ruling(sha256=sha256("a"), ruling=RulingKind.ALLOW, ruled_by="mo", ruled_at=NOW)
    block = replace(allow, ruling=RulingKind.BLOCK, ruled_at=NOW + SECOND)
    assert allow.is_allowed
    assert not block.is_allowed
    async with database.connection() as conn:
        assert await rulings.find_ruling(conn, allow.sha256) is None
        await rulings.set_ruling(conn, allow)
        assert await rulings.find_ruling(conn, allow.sha256) == allow
        assert await rulings.find_ruling(conn, sha256("b")) is None
        await rulings.set_ruling(conn, block)
        assert await cases.find_ruling(conn, allow.sha256) == block
        assert await rulings.delete_ruling(conn, allow.sha256)
        assert not await rulings.delete_ruling(conn, allow.sha256)
