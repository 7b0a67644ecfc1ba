"""What is known of bytes answers for exactly these bytes, in exactly this state of the scanner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from db import rulings, verdicts
from relay.model import EvidenceBasis
from relay.stages.consult import consult
from scanner.report import Report, UnscannableReason, Verdict, report_to_json
from tests.fediverse.clock import START
from tests.relay.stages.parts import STATE, finding, media, reference, report

if TYPE_CHECKING:
    from db.pool import Database

DATA = b"some bytes"


async def _put(database: Database, given: Report, *, state: bytes = STATE) -> None:
    async with database.connection() as conn:
        await verdicts.put_verdict(
            conn,
            verdicts.StoredVerdict(
                sha256=media(DATA).sha256,
                state_digest=state,
                verdict=given.verdict.value,
                reason=None if given.reason is None else given.reason.value,
                report=report_to_json(given),
                scanned_at=START,
            ),
        )


async def _rule(database: Database, kind: rulings.RulingKind, data: bytes = DATA) -> None:
    async with database.connection() as conn:
        await rulings.set_ruling(
            conn,
            rulings.Ruling(sha256=media(data).sha256, ruling=kind, ruled_by="moderator", ruled_at=START),
        )


async def test_about_unknown_bytes_nothing_is_known(database: Database) -> None:
    assert await consult(media(DATA), reference(), database=database, state_digest=STATE) is None


@pytest.mark.parametrize(("kind", "is_allowed"), [("allow", True), ("block", False)])
async def test_a_moderators_ruling_outweighs_every_verdict(
    kind: str, *, is_allowed: bool, database: Database
) -> None:
    await _put(database, report(Verdict.MATCH, findings=(finding(),)))
    await _rule(database, rulings.RulingKind(kind))

    found = await consult(media(DATA), reference(), database=database, state_digest=STATE)

    assert found is not None
    assert (found.basis, found.is_allowed, found.report) == (EvidenceBasis.RULING, is_allowed, None)


async def test_a_ruling_says_nothing_about_other_bytes(database: Database) -> None:
    await _rule(database, rulings.RulingKind.ALLOW, DATA + b".")

    assert await consult(media(DATA), reference(), database=database, state_digest=STATE) is None


async def test_a_verdict_of_the_present_state_spares_a_scan_and_says_which_state_it_is_of(
    database: Database,
) -> None:
    """Without the state, what was scanned for a private post could never be attested for a public one."""
    await _put(database, report())

    found = await consult(media(DATA), reference(), database=database, state_digest=STATE)

    assert found is not None
    assert (found.basis, found.report, found.state_digest) == (EvidenceBasis.OWN_VERDICT, report(), STATE)


async def test_a_verdict_of_another_state_is_no_answer(database: Database) -> None:
    await _put(database, report(), state=bytes(32))

    assert await consult(media(DATA), reference(), database=database, state_digest=STATE) is None


async def test_bytes_served_under_another_type_are_looked_at_again(database: Database) -> None:
    await _put(database, report())
    as_jpeg = media(DATA, "image/jpeg")

    assert await consult(as_jpeg, reference(), database=database, state_digest=STATE) is None


async def test_the_type_of_the_activity_counts_where_the_server_names_none(database: Database) -> None:
    await _put(database, report())
    untyped = media(DATA, None)
    declared = reference(declared_type="image/gif")

    assert await consult(untyped, declared, database=database, state_digest=STATE) is None
    assert await consult(untyped, reference(), database=database, state_digest=STATE) is not None


async def test_a_match_holds_whatever_the_bytes_are_called(database: Database) -> None:
    await _put(database, report(Verdict.MATCH, findings=(finding(),)))

    found = await consult(media(DATA, "text/plain"), reference(), database=database, state_digest=STATE)

    assert found is not None


@pytest.mark.parametrize(
    "reason",
    [
        UnscannableReason.DETECTOR_UNAVAILABLE,
        UnscannableReason.TIMEOUT,
        UnscannableReason.TYPE_MISMATCH,
        UnscannableReason.NOT_MEDIA,
    ],
)
async def test_a_failure_that_another_look_may_end_otherwise_is_no_answer(
    reason: UnscannableReason, database: Database
) -> None:
    await _put(database, report(Verdict.UNSCANNABLE, reason=reason))

    assert await consult(media(DATA), reference(), database=database, state_digest=STATE) is None
