"""`breakwater cases`: what waits for a person, and what they decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from db import audit, cases, delivery_lists, errands, media, rulings
from db.cases import CaseState
from relay.errors import BreakwaterError
from relay.exchange.alerts import warn_of_ruling
from relay.lifecycle import State, move
from relay.stages.act import Acting, find_places, plan_for_ruling
from relay.tools.errand_book import enter_errands

if TYPE_CHECKING:
    from datetime import datetime

    from db.cases import Case
    from db.pool import Connection, Database

_LISTED = 200


class NoSuchCaseError(BreakwaterError):
    """There is no such case, or it is closed."""


async def list_open(database: Database) -> list[dict[str, Any]]:
    """List the open cases, without anything that would lead to the media."""
    async with database.connection() as conn:
        found = await cases.list_cases(conn, limit=_LISTED)
    return [
        {
            "id": one.id,
            "opened_at": one.opened_at.isoformat(timespec="seconds"),
            "category": one.category,
            "basis": one.basis,
            "delivery": one.delivery_id,
        }
        for one in found
    ]


async def list_stopped(database: Database, state: State) -> list[dict[str, Any]]:
    """List deliveries that are held or were given up, with the reason."""
    async with database.connection() as conn:
        found = await delivery_lists.list_deliveries(conn, state, _LISTED)
    return [
        {
            "id": one.id,
            "received_at": one.received_at.isoformat(timespec="seconds"),
            "type": one.activity_type,
            "sender": one.sender_actor,
            "reason": one.reason,
        }
        for one in found
    ]


async def list_places(database: Database, case_id: int, *, acting: Acting) -> list[dict[str, Any]]:
    """List where on the backend the media of a case is or may come to be, and what is done about it there.

    Raises:
        NoSuchCaseError: There is no such case.
    """
    async with database.connection() as conn:
        case = await cases.find_case(conn, case_id)
        if case is None:
            raise NoSuchCaseError(f"There is no case {case_id}. `breakwater cases list` shows the open ones.")
        places = await find_places(conn, case, own_host=acting.own_host)
        done = {one.subject: one for one in await errands.list_of_case(conn, case_id)}
    rows: list[dict[str, Any]] = []
    for place in places:
        found = (done.get(name) for name in (place.object_id, place.actor_id, place.alias) if name)
        errand = next((one for one in found if one is not None), None)
        rows.append(
            {
                "post": place.object_id,
                "account": place.actor_id,
                "file": place.alias,
                "errand": None
                if errand is None
                else f"{errand.id} {errand.kind.value}: {errand.state.value}",
            }
        )
    return rows


async def rule(
    database: Database,
    case_id: int,
    *,
    to: CaseState,
    ruled_by: str,
    note: str,
    now: datetime,
    acting: Acting,
) -> str:
    """Rule on a case and return what became of its delivery, and what follows on the backend.

    A release allows exactly these bytes from now on; to uphold blocks exactly these bytes, and warns the
    peers with whom that was agreed. The delivery goes on when no other case of it is open and none was
    upheld. What the backend has of upheld bytes is acted upon as the policy says.

    Raises:
        NoSuchCaseError: There is no such case, or somebody ruled on it already.
    """
    async with database.transaction() as conn:
        case = await cases.find_case(conn, case_id)
        is_ruled = case is not None and await cases.rule_case(
            conn, case_id, to=to, ruled_by=ruled_by, now=now, note=note
        )
        if case is None or not is_ruled:
            raise NoSuchCaseError(
                f"There is no open case {case_id}. Nothing was changed. `breakwater cases list` shows those."
            )
        if case.sha256 is not None:
            kind = rulings.RulingKind.ALLOW if to is CaseState.RELEASED else rulings.RulingKind.BLOCK
            await rulings.set_ruling(
                conn, rulings.Ruling(sha256=case.sha256, ruling=kind, ruled_by=ruled_by, ruled_at=now)
            )
        await audit.append(
            conn, at=now, actor=ruled_by, event="case_ruled", detail={"case": case_id, "to": to.value}
        )
        said = "the ruling is recorded"
        if case.delivery_id is not None:
            said = await _move_on(conn, case.delivery_id, now)
        if to is CaseState.UPHELD:
            if case.sha256 is not None and await _may_be_told(conn, case, case.sha256):
                await warn_of_ruling(conn, case.sha256, category=case.category, basis=case.basis, now=now)
            said += await _follow_up(conn, case, acting=acting, ruled_by=ruled_by, now=now)
        return said


async def _may_be_told(conn: Connection, case: Case, sha256: bytes) -> bool:
    """Tell whether peers may hear of a ruling: of what only some may see, nobody outside hears."""
    return case.delivery_id is None or await media.was_public(conn, sha256)


async def _follow_up(conn: Connection, case: Case, *, acting: Acting, ruled_by: str, now: datetime) -> str:
    """Enter what follows on the backend from an upheld case, and say what the person has to do by hand."""
    planned = await plan_for_ruling(conn, case, acting=acting)
    if planned:
        await enter_errands(conn, planned, case_id=case.id, ordered_by=ruled_by, now=now)
        return f"; to be done on your server: {len(planned)} (`breakwater errands list`)"
    places = await find_places(conn, case, own_host=acting.own_host)
    if not places:
        return ""
    why = f"policy.{case.category}.act is none" if acting.abilities else "no backend.token lets the relay act"
    return (
        f"; your server has or may get it in {len(places)} places, and nothing is done there, because {why}: "
        f"report or remove it by hand where `breakwater cases posts {case.id}` says"
    )


async def _move_on(conn: Connection, delivery_id: int, now: datetime) -> str:
    """Send a held delivery back to be examined under the rulings, or drop it."""
    of_delivery = await cases.list_cases_of(conn, delivery_id)
    if any(one.state is CaseState.OPEN for one in of_delivery):
        return "other cases of the same delivery are still open"
    if any(one.state is CaseState.UPHELD for one in of_delivery):
        is_moved = await move(
            conn,
            delivery_id,
            expected=State.HELD,
            to=State.DROPPED,
            now=now,
            reason="upheld",
            erase_body=True,
        )
        return "its delivery is dropped" if is_moved else "its delivery was not waiting any more"
    is_moved = await move(
        conn, delivery_id, expected=State.HELD, to=State.RECEIVED, now=now, reason="released"
    )
    return "its delivery goes on" if is_moved else "its delivery was not waiting any more"
