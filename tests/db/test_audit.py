"""The audit log and its chain."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import audit
from db.errors import AuditChainError, DatabaseError
from tests.db.builders import NOW

if TYPE_CHECKING:
    from db.pool import Database

DETAIL = {"case": 7, "text": 'é"\\', "list": [None, True, {"b": 1, "a": -(2**70)}], "": ""}


async def append(database: Database, count: int = 1) -> None:
    for number in range(count):
        async with database.connection() as conn:
            at = NOW + timedelta(microseconds=number)
            await audit.append(conn, at=at, actor="mo", event="ruled", detail={"number": number, **DETAIL})


async def tamper(database: Database, statement: str) -> None:
    """Do what only the owner of the database can do: put the trigger out of force."""
    async with database.transaction() as conn:
        await conn.execute("ALTER TABLE audit_log DISABLE TRIGGER USER")
        await conn.execute(statement)
        await conn.execute("ALTER TABLE audit_log ENABLE TRIGGER USER")


async def verify(database: Database, head: tuple[int, bytes] | None = None) -> int:
    async with database.connection() as conn:
        return await audit.verify_chain(conn, head=head)


async def test_entries_come_back_as_they_were_appended_and_verify(database: Database) -> None:
    assert await verify(database) == 0
    async with database.connection() as conn:
        assert await audit.find_head(conn) is None
        first = await audit.append(conn, at=NOW, actor="mo", event="began")
        second = await audit.append(conn, at=NOW, actor="mo", event="ruled", detail=DETAIL)
        assert (first.seq, first.prev_hash, first.detail) == (1, bytes(32), {})
        assert (second.seq, second.prev_hash, second.detail) == (2, first.hash, DETAIL)
        listed = await audit.list_entries(conn, limit=5)
        assert [asdict(entry) for entry in listed] == [asdict(second), asdict(first)]
        assert await audit.list_entries(conn, limit=5, before_seq=2) == (first,)
        assert await audit.find_head(conn) == (2, second.hash)
    assert await verify(database) == 2
    assert await verify(database, head=(1, first.hash)) == 2


async def test_concurrent_entries_form_one_chain(database: Database) -> None:
    await asyncio.gather(*(append(database, 5) for _ in range(4)))
    assert await verify(database) == 20


async def test_an_entry_is_undone_with_its_transaction(database: Database) -> None:
    async def append_and_fail() -> None:
        async with database.transaction() as conn:
            await audit.append(conn, at=NOW, actor="mo", event="began")
            raise RuntimeError("undo")

    with pytest.raises(RuntimeError, match="undo"):
        await append_and_fail()
    await append(database)
    assert await verify(database) == 1


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"],
)
async def test_the_log_cannot_be_changed(database: Database, statement: str) -> None:
    await append(database)

    async def change() -> None:
        async with database.connection() as conn:
            await conn.execute(statement)

    with pytest.raises(DatabaseError):
        await change()
    assert await verify(database) == 1


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ("UPDATE audit_log SET actor = 'x' WHERE seq = 3", 3),
        ("UPDATE audit_log SET event = 'x' WHERE seq = 3", 3),
        ("UPDATE audit_log SET at = at + interval '1 microsecond' WHERE seq = 3", 3),
        ("UPDATE audit_log SET detail = detail || '{\"case\": 8}' WHERE seq = 3", 3),
        ("UPDATE audit_log SET hash = sha256('') WHERE seq = 3", 3),
        ("UPDATE audit_log SET prev_hash = sha256('') WHERE seq = 3", 3),
        ("UPDATE audit_log SET actor = event, event = actor WHERE seq = 3", 3),
        ("DELETE FROM audit_log WHERE seq = 1", 1),
        ("DELETE FROM audit_log WHERE seq = 3", 3),
        ("UPDATE audit_log SET seq = seq + 1 WHERE seq = 5", 5),
        ("DELETE FROM audit_log WHERE seq = 3; UPDATE audit_log SET seq = seq - 1 WHERE seq > 3", 3),
    ],
)
async def test_tampering_is_found_at_its_place(database: Database, statement: str, broken: int) -> None:
    await append(database, 5)
    await tamper(database, statement)
    with pytest.raises(AuditChainError) as caught:
        await verify(database)
    assert caught.value.seq == broken


async def test_a_cut_off_end_is_found_against_a_noted_head(database: Database) -> None:
    await append(database, 3)
    async with database.connection() as conn:
        head = await audit.find_head(conn)
    await tamper(database, "DELETE FROM audit_log WHERE seq = 3")
    assert await verify(database) == 2
    with pytest.raises(AuditChainError) as caught:
        await verify(database, head=head)
    assert caught.value.seq == 3
    await append(database)
    with pytest.raises(AuditChainError):
        await verify(database, head=head)


@pytest.mark.parametrize("value", [1.5, [1.5], {"a": {"b": 0.1}}, {"a": b"x"}, {1: "x"}])
async def test_values_without_one_exact_form_are_refused(database: Database, value: object) -> None:
    async with database.connection() as conn:
        with pytest.raises(ValueError, match="detail"):
            await audit.append(conn, at=NOW, actor="mo", event="x", detail={"value": value})
