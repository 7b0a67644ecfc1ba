"""The outbox gives out what is due, each relay's in order, and nothing twice at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from db import peer_outbox

if TYPE_CHECKING:
    from db.peer_outbox import Letter
    from db.pool import Connection, Database

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=2)
ONE, TWO = "https://one.example/actor", "https://two.example/actor"


async def add(conn: Connection, actor: str = ONE, kind: str = "Follow") -> int:
    return await peer_outbox.add_letter(
        conn, actor=actor, inbox=f"{actor}/inbox", kind=kind, body=b"{}", now=NOW
    )


async def claim(conn: Connection, now: datetime = NOW, actor: str | None = None) -> Letter | None:
    return await peer_outbox.claim_letter(conn, now=now, again_at=now + timedelta(minutes=2), actor=actor)


async def test_a_letter_is_given_out_once_until_its_time_comes_again(database: Database) -> None:
    async with database.connection() as conn:
        number = await add(conn)
        letter = await claim(conn)
        assert letter is not None
        assert (letter.id, letter.actor, letter.kind, letter.body) == (number, ONE, "Follow", b"{}")
        assert (letter.tries, letter.reason, letter.due_at) == (1, None, LATER)
        assert await claim(conn) is None
        again = await claim(conn, LATER)
        assert again is not None
        assert (again.id, again.tries) == (number, 2)
        assert await peer_outbox.delete_letter(conn, number)
        assert not await peer_outbox.delete_letter(conn, number)
        assert await peer_outbox.next_due(conn) is None


async def test_no_letter_overtakes_an_earlier_one_to_the_same_relay(database: Database) -> None:
    async with database.connection() as conn:
        first, second, other = await add(conn), await add(conn, kind="Undo"), await add(conn, TWO)
        claimed = [await claim(conn), await claim(conn), await claim(conn)]
        assert [one and one.id for one in claimed] == [first, other, None]
        assert await peer_outbox.put_back_letter(conn, first, due_at=LATER, reason="away")
        assert await claim(conn) is None
        # What was given up is in nobody's way.
        assert await peer_outbox.put_back_letter(conn, first, due_at=None, reason="away")
        undo = await claim(conn)
        assert undo is not None
        assert undo.id == second


async def test_letters_can_be_claimed_of_one_relay_alone(database: Database) -> None:
    async with database.connection() as conn:
        await add(conn)
        mine = await add(conn, TWO)
        claimed = await claim(conn, actor=TWO)
        assert claimed is not None
        assert claimed.id == mine
        assert await claim(conn, actor=TWO) is None


async def test_what_was_given_up_stays_to_be_seen_and_then_goes(database: Database) -> None:
    async with database.connection() as conn:
        number = await add(conn)
        await peer_outbox.put_back_letter(conn, number, due_at=None, reason="refused with status 410")
        [letter] = await peer_outbox.list_letters(conn, ONE)
        assert (letter.due_at, letter.reason) == (None, "refused with status 410")
        assert await peer_outbox.purge_letters(conn, before=NOW) == 0
        assert await peer_outbox.purge_letters(conn, before=LATER) == 1
        assert await peer_outbox.list_letters(conn) == ()


async def test_what_waits_is_never_purged(database: Database) -> None:
    async with database.connection() as conn:
        await add(conn)
        assert await peer_outbox.purge_letters(conn, before=LATER) == 0


async def test_letters_are_taken_back_by_kind(database: Database) -> None:
    async with database.connection() as conn:
        await add(conn)
        await add(conn, kind="Accept")
        await add(conn, TWO)
        assert await peer_outbox.drop_letters(conn, ONE, kinds=("Follow", "Undo")) == 1
        assert [one.kind for one in await peer_outbox.list_letters(conn)] == ["Accept", "Follow"]
        assert await peer_outbox.drop_letters(conn, ONE) == 1
        assert [one.actor for one in await peer_outbox.list_letters(conn)] == [TWO]
