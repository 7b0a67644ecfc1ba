"""Record: write down what was decided and move the delivery on, all in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, assert_never

from db import alert_hits, audit, cases, media, whereabouts
from relay.exchange.alerts import warn_of_match
from relay.lifecycle import LEASE, State, decide_retry, move
from relay.model import INLINE, Audience, DeliveryDecision, Door, EvidenceBasis, Receipt
from relay.tools.errand_book import enter_errands
from scanner.report import Basis

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from db.delivery_rows import StoredDelivery
    from db.errands import NewErrand
    from db.pool import Connection, Database
    from relay.model import Decision, Dispatched, MediaOutcome, Place
    from scanner.report import Finding

# What stands in place of the address of media of which nothing is to be kept.
_ERASED: Final = ""
_RELAY: Final = "relay"


async def record_decision(
    stored: StoredDelivery,
    decision: Decision,
    *,
    database: Database,
    worker: str,
    now: datetime,
    planned: Mapping[bytes, Sequence[NewErrand]] | None = None,
) -> State | None:
    """Record the decision and move the delivery on; None if the lease was lost meanwhile.

    Args:
        stored: The delivery.
        decision: What was decided.
        database: Where all of it is recorded at once.
        worker: Who holds the lease.
        now: The time.
        planned: What follows on the backend, by the digest of the media that it follows from.

    Raises:
        DatabaseError: Nothing was recorded; the delivery is examined again when its lease ends.
    """
    to, due_at, reason = _next_state(stored, decision, now)
    async with database.transaction() as conn:
        is_ours = await move(
            conn,
            stored.id,
            expected=State.EXAMINING,
            to=to,
            now=now,
            worker=worker,
            due_at=due_at,
            reason=reason,
            erase_body=to is State.DROPPED,
        )
        if not is_ours:
            return None
        await media.put_delivery_media(
            conn,
            stored.id,
            [_build_row(stored.id, ordinal, outcome) for ordinal, outcome in enumerate(decision.outcomes)],
        )
        await _open_cases(conn, stored, decision, now)
        for sha256, errands in (planned or {}).items():
            await _enter(conn, errands, delivery_id=stored.id, sha256=sha256, now=now)
    return to


async def record_outcome(
    outcome: MediaOutcome, *, door: Door, database: Database, now: datetime
) -> int | None:
    """Open the case of bytes that came by another door than the inbox; None where there is one already.

    Raises:
        DatabaseError: Nothing was recorded; the same bytes open it the next time.
    """
    if not outcome.needs_case:
        return None
    async with database.transaction() as conn:
        return await _open_outcome_case(conn, outcome, door=door, now=now)


async def record_stored(
    outcome: MediaOutcome,
    place: Place,
    *,
    door: Door,
    database: Database,
    now: datetime,
    errands: Sequence[NewErrand] = (),
) -> int | None:
    """Record what was found in media that the backend stores already, where it is, and what follows there.

    Returns:
        The number of the case that was opened; None where there is one already or need not be one.

    Raises:
        DatabaseError: Nothing was recorded; the same look records it the next time.
    """
    sha256 = outcome.evidence.sha256
    if sha256 is None or not (outcome.needs_case or errands):
        return None
    async with database.transaction() as conn:
        case_id = None
        if outcome.needs_case:
            case_id = await _open_outcome_case(conn, outcome, door=door, now=now)
            if place.object_id or place.actor_id or place.alias:
                # A ruling may come weeks later, and then it must be known where the media lies.
                await whereabouts.put_sighting(conn, _build_sighting(sha256, place, now))
        await _enter(conn, errands, delivery_id=None, sha256=sha256, now=now)
        return case_id


def _build_sighting(sha256: bytes, place: Place, now: datetime) -> whereabouts.Sighting:
    return whereabouts.Sighting(
        sha256=sha256,
        object_id=place.object_id,
        actor_id=place.actor_id,
        alias=place.alias,
        seen_at=now,
    )


async def record_rescan(
    outcome: MediaOutcome,
    *,
    door: Door,
    database: Database,
    now: datetime,
    errands: Sequence[NewErrand] = (),
) -> int | None:
    """Record what a later look found in media that was let go before, and what follows on the backend.

    Returns:
        The number of the case that was opened; None where there is one already or need not be one.

    Raises:
        DatabaseError: Nothing was recorded; the same look records it the next time.
    """
    sha256 = outcome.evidence.sha256
    if sha256 is None or not (outcome.needs_case or errands):
        return None
    async with database.transaction() as conn:
        case_id = None
        if outcome.needs_case:
            # It may have come with posts that only some may see, and with no others.
            is_public = await media.was_public(conn, sha256)
            case_id = await _open_outcome_case(conn, outcome, door=door, now=now, is_public=is_public)
        await _enter(conn, errands, delivery_id=None, sha256=sha256, now=now)
        return case_id


async def _open_outcome_case(
    conn: Connection, outcome: MediaOutcome, *, door: Door, now: datetime, is_public: bool = True
) -> int | None:
    case_id = await _open_case(
        conn,
        None,
        category=outcome.category or cases.UNEXAMINED,
        sha256=outcome.evidence.sha256,
        basis=_basis(outcome),
        door=door,
        now=now,
    )
    await _heed_and_warn(conn, outcome, case_id, is_public=is_public, now=now)
    return case_id


async def _heed_and_warn(
    conn: Connection, outcome: MediaOutcome, case_id: int | None, *, is_public: bool, now: datetime
) -> None:
    """Note which warnings a new case goes back to, and warn peers in turn of what a list holds exactly."""
    evidence = outcome.evidence
    if case_id is None or evidence.sha256 is None:
        return
    if evidence.warning is not None:
        await alert_hits.link_case(conn, evidence.sha256, case_id=case_id)
    exact = _exact_matches(outcome)
    # Of what only some may see, nobody outside hears.
    if exact and is_public and outcome.category is not None:
        lists = [finding.list_name for finding in exact]
        await warn_of_match(conn, evidence.sha256, category=outcome.category, lists=lists, now=now)


def _exact_matches(outcome: MediaOutcome) -> list[Finding]:
    report = outcome.evidence.report
    return [
        finding
        for finding in (() if report is None else report.findings)
        if finding.basis is Basis.EXACT_HASH
        and not finding.advisory
        and finding.category.value == outcome.category
    ]


async def _enter(
    conn: Connection,
    errands: Sequence[NewErrand],
    *,
    delivery_id: int | None,
    sha256: bytes,
    now: datetime,
) -> None:
    """Enter errands under the case that they follow from, which may have been opened by an earlier look."""
    if not errands:
        return
    case = await cases.find_case_on(conn, delivery_id=delivery_id, sha256=sha256)
    case_id = None if case is None else case.id
    await enter_errands(conn, errands, case_id=case_id, ordered_by=_RELAY, now=now)


async def record_dispatch(
    stored: StoredDelivery, dispatched: Dispatched, *, database: Database, worker: str, now: datetime
) -> State | None:
    """Record what the backend said and move the delivery on; None if the lease was lost meanwhile.

    Raises:
        DatabaseError: Nothing was recorded; the delivery is sent again when its lease ends.
    """
    to, due_at = State.FORWARDED, None
    match dispatched.receipt:
        case Receipt.TAKEN | Receipt.REFUSED:
            pass  # Either way the backend has had it and decided.
        case Receipt.STALE:
            to = State.DEAD
        case Receipt.TRY_AGAIN:
            due_at = decide_retry(tries=stored.retries + 1, queued_at=stored.queued_at, now=now)
            to = State.DEAD if due_at is None else State.DECIDED
        case _:
            assert_never(dispatched.receipt)
    async with database.connection() as conn:
        is_ours = await move(
            conn,
            stored.id,
            expected=State.FORWARDING,
            to=to,
            now=now,
            worker=worker,
            due_at=due_at,
            reason=dispatched.reason,
        )
    return to if is_ours else None


def _next_state(
    stored: StoredDelivery, decision: Decision, now: datetime
) -> tuple[State, datetime | None, str]:
    match decision.delivery:
        case DeliveryDecision.FORWARD:
            return State.FORWARDING, now + LEASE, decision.reason
        case DeliveryDecision.DROP:
            return State.DROPPED, None, decision.reason
        case DeliveryDecision.HOLD:
            return State.HELD, None, decision.reason
        case DeliveryDecision.RETRY:
            due_at = decide_retry(tries=stored.retries + 1, queued_at=stored.queued_at, now=now)
            if due_at is None:
                return State.DEAD, None, decision.reason
            return State.RECEIVED, due_at, decision.reason
    assert_never(decision.delivery)


def _build_row(delivery_id: int, ordinal: int, outcome: MediaOutcome) -> media.DeliveryMedia:
    evidence = outcome.evidence
    # What rests on a peer's word is no verdict of ours.
    report = None if evidence.basis is EvidenceBasis.PEER else evidence.report
    url = INLINE if evidence.reference.is_inline else evidence.reference.url
    return media.DeliveryMedia(
        delivery_id=delivery_id,
        ordinal=ordinal,
        url=_ERASED if outcome.purge else url,
        location=evidence.reference.location.value,
        sha256=evidence.sha256,
        verdict=None if report is None else report.verdict.value,
        decision=outcome.decision.value,
        category=outcome.category,
        failure=None if evidence.failure is None else evidence.failure.value,
    )


async def _open_cases(conn: Connection, stored: StoredDelivery, decision: Decision, now: datetime) -> None:
    for outcome in decision.outcomes:
        if outcome.needs_case:
            case_id = await _open_case(
                conn,
                stored.id,
                category=outcome.category or cases.UNEXAMINED,
                sha256=outcome.evidence.sha256,
                basis=_basis(outcome),
                now=now,
            )
            await _heed_and_warn(
                conn, outcome, case_id, is_public=stored.audience == Audience.PUBLIC, now=now
            )
    if decision.delivery is DeliveryDecision.HOLD and not any(one.needs_case for one in decision.outcomes):
        # What is held and nobody is asked about would be held until it is given up.
        await _open_case(
            conn, stored.id, category=cases.UNEXAMINED, sha256=None, basis=decision.reason, now=now
        )


async def _open_case(
    conn: Connection,
    delivery_id: int | None,
    *,
    category: str,
    sha256: bytes | None,
    basis: str,
    now: datetime,
    door: Door = Door.INBOX,
) -> int | None:
    case_id = await cases.open_case(
        conn, category=category, delivery_id=delivery_id, sha256=sha256, basis=basis, now=now, door=door
    )
    if case_id is not None:
        # The audit log says that there is a case, never what it is about.
        await audit.append(conn, at=now, actor=_RELAY, event="case_opened", detail={"case": case_id})
    return case_id


def _basis(outcome: MediaOutcome) -> str:
    evidence = outcome.evidence
    if evidence.basis is EvidenceBasis.FETCH or evidence.report is None:
        return evidence.basis.value
    strongest = next((finding for finding in evidence.report.findings if not finding.advisory), None)
    if strongest is None and evidence.warning is not None:
        return Basis.PEER.value
    return evidence.report.verdict.value if strongest is None else strongest.basis.value
