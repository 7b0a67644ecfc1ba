"""Carry out what is to be done on the backend through its own API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, assert_never

from db import cases, deliveries, errands
from db.cases import CaseState
from db.errands import ErrandKind
from relay.backends.abilities import ApiFailure, Done, Resolved, Target, report_comment
from relay.errands.results import Carried, GivenUp, Later, Result
from relay.lifecycle import FINAL, State

if TYPE_CHECKING:
    from db.errands import Errand
    from db.pool import Database
    from relay.backends.abilities import BackendApi

NO_TOKEN: Final = "no_token: there is no API to act through; set backend.software and backend.token"  # noqa: S105 (a sentence about one)
_UNDER_WAY: Final = "delivery_under_way"


async def act(errand: Errand, *, api: BackendApi | None, database: Database) -> Result:
    """Carry out one errand, if there still is reason to and the backend has what it is about.

    Raises:
        DatabaseError: It is not known whether there is.
    """
    waiting = await _find_obstacle(errand, database=database)
    if waiting is not None:
        return waiting
    if api is None:
        return GivenUp(reason=NO_TOKEN)
    answer = await _ask(errand, api)
    match answer:
        case ApiFailure(kind=kind, detail=detail, retry_after=retry_after):
            reason = f"{kind.value}: {detail}"
            return Later(reason=reason, after=retry_after) if answer.may_pass else GivenUp(reason=reason)
        case Done() | Resolved():
            return Carried()
    assert_never(answer)


async def _find_obstacle(errand: Errand, *, database: Database) -> Result | None:
    """Find out why nothing can or must be done now; None where it can."""
    async with database.connection() as conn:
        case = None if errand.case_id is None else await cases.find_case(conn, errand.case_id)
        delivery_id = errand.payload.get("delivery")
        delivery = None
        if isinstance(delivery_id, int):
            delivery = await deliveries.find_delivery(conn, delivery_id)
    if case is not None and case.state is CaseState.RELEASED:
        # A person has looked meanwhile, and theirs is the last word.
        return Carried(reason=errands.NOT_NEEDED)
    if delivery_id is None:
        return None
    if delivery is not None and delivery.state not in FINAL:
        return Later(reason=_UNDER_WAY)
    if delivery is None or delivery.state is not State.FORWARDED:
        # The backend never had it. A delivery that is forgotten ended days ago, and this with it.
        return Carried(reason=errands.NOT_NEEDED)
    return None


async def _ask(errand: Errand, api: BackendApi) -> Done | Resolved | ApiFailure:
    target = Target(
        object_id=str(errand.payload.get("object") or ""), actor_id=str(errand.payload.get("actor") or "")
    )
    sentence = report_comment(str(errand.case_id or "unknown"))
    match errand.kind:
        case ErrandKind.REPORT:
            return await api.report(target, comment=sentence)
        case ErrandKind.REMOVE:
            return await api.remove(target, reason=sentence)
        case ErrandKind.PURGE_MEDIA:
            return await api.purge_media(errand.subject)
        case ErrandKind.RESOLVE:
            return await api.resolve(errand.subject)
        case ErrandKind.EXAMINE_UPLOAD:
            raise ValueError("an upload is examined, not acted upon")
    assert_never(errand.kind)
