"""Who says two things under one name proves it by its own signatures, and nobody else can."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from db import equivocations, mirror, reliance
from db.equivocations import MOST_KEPT, Equivocation
from db.mirror import MirroredAttestation
from db.peers import Tier
from relay.exchange.equivocators import hold_against_issuers
from relay.exchange.intake import IntakeReason, Rejected, admit, admit_page
from relay.trust import Standing
from signatures.attestation import parse_attestation
from signatures.keys import generate_ed25519, parse_multikey
from signatures.objects import verify_object_signature
from tests.fediverse.clock import START
from tests.relay.exchange.issuer import Issuer

if TYPE_CHECKING:
    from db.pool import Database
    from relay.exchange.intake import Admitted
    from signatures.attestation import AttestationBody

DATA = b"some bytes"
HOUR = timedelta(hours=1)


@pytest.fixture
async def alpha(database: Database) -> Issuer:
    issuer = Issuer()
    await issuer.introduce(database, tier=Tier.TRUSTED)
    await issuer.stand(database, Standing(tier=Tier.TRUSTED, updated_at=START, credit=200.0))
    return issuer


async def _say(raw: bytes, database: Database) -> None:
    """Take in a first statement, and keep it."""
    found = await admit(raw, database=database, now=START)
    assert isinstance(found, MirroredAttestation)
    async with database.connection() as conn:
        await mirror.put_mirrored(conn, (found,))


async def _contradict(alpha: Issuer, database: Database) -> tuple[bytes, bytes, AttestationBody]:
    body = alpha.body(DATA)
    first, second = alpha.sign(body), alpha.sign(replace(body, size=11))
    await _say(first, database)
    return first, second, body


async def _find_proof(raw: bytes, database: Database, *, after: timedelta = HOUR) -> Equivocation | None:
    found = await admit(raw, database=database, now=START + after)
    assert isinstance(found, Rejected)
    assert found.reason is IntakeReason.CHANGED
    return found.equivocation


async def _list(alpha: Issuer, database: Database) -> tuple[Equivocation, ...]:
    async with database.connection() as conn:
        return await equivocations.list_equivocations(conn, alpha.actor)


async def test_two_statements_of_one_name_are_kept_as_they_were_signed(
    database: Database, alpha: Issuer
) -> None:
    first, second, body = await _contradict(alpha, database)
    found = await admit(second, database=database, now=START + HOUR)
    assert await hold_against_issuers((found,), database=database, now=START + HOUR) == 1
    (pair,) = await _list(alpha, database)
    assert (pair.attestation_id, pair.first, pair.second) == (body.id, first, second)
    for raw, multikey in ((pair.first, pair.first_multikey), (pair.second, pair.second_multikey)):
        verify_object_signature(parse_attestation(raw).signed, key=parse_multikey(multikey))


async def test_whoever_did_so_is_relied_on_no_more_and_what_was_let_go_is_scanned_again(
    database: Database, alpha: Issuer
) -> None:
    _, second, body = await _contradict(alpha, database)
    async with database.connection() as conn:
        await reliance.note_reliance(
            conn,
            sha256=body.sha256,
            issuer=alpha.actor,
            profile=alpha.profile,
            key_id=alpha.key_id,
            attestation_id=body.id,
            url="",
            audit_rate=0.1,
            due_at=None,
            now=START,
        )
    told: list[Any] = []

    async def on_doubt(_conn: Any, **about: Any) -> None:
        told.append(about)

    found = await admit(second, database=database, now=START + HOUR)
    await hold_against_issuers((found,), database=database, now=START + HOUR, on_doubt=on_doubt)

    assert await alpha.find_tier(database) is Tier.QUARANTINED
    assert [(one["issuer"], one["profile"], one["key_id"]) for one in told] == [
        (alpha.actor, alpha.profile, alpha.key_id)
    ]
    async with database.connection() as conn:
        (due,) = await reliance.find_reliance(conn, body.sha256)
    assert due.due_at == START + HOUR


async def test_two_in_one_page_give_it_away_too(database: Database, alpha: Issuer) -> None:
    body = alpha.body(DATA)
    raws = (alpha.sign(body), alpha.sign(replace(body, size=11)))
    first, second = await admit_page(raws, database=database, now=START)
    assert isinstance(first, MirroredAttestation)
    assert isinstance(second, Rejected)
    assert second.equivocation is not None
    assert (second.equivocation.first, second.equivocation.second) == raws


async def test_a_change_that_another_made_proves_nothing(database: Database, alpha: Issuer) -> None:
    _, second, _ = await _contradict(alpha, database)
    forged = json.loads(second) | {"size": 12}
    assert await _find_proof(json.dumps(forged).encode(), database) is None


async def test_a_name_that_another_actor_of_the_same_server_takes_accuses_neither(
    database: Database, alpha: Issuer
) -> None:
    class Neighbour(Issuer):
        @property
        def actor(self) -> str:
            return f"{self.base_url}/neighbour"

    neighbour = Neighbour()
    await neighbour.introduce(database, tier=Tier.TRUSTED)
    body = alpha.body(DATA)
    taken = replace(body, issuer=neighbour.actor, size=11)
    raws = (alpha.sign(body), neighbour.sign(taken))
    found = await admit_page(raws, database=database, now=START)

    assert isinstance(found[1], Rejected)
    assert found[1].equivocation is None
    assert await hold_against_issuers(found, database=database, now=START) == 0
    assert await alpha.find_tier(database) is Tier.TRUSTED


async def test_the_same_statement_signed_again_by_a_new_key_proves_nothing(
    database: Database, alpha: Issuer
) -> None:
    body = alpha.body(DATA)
    await _say(alpha.sign(body), database)
    renewed = replace(alpha, key=generate_ed25519())
    await renewed.admit_key(database)
    assert await _find_proof(renewed.sign(body), database) is None
    assert await _find_proof(renewed.sign(replace(body, size=11)), database) is not None


async def test_what_a_thief_signs_with_a_key_that_was_revoked_is_not_held_against_its_owner(
    database: Database, alpha: Issuer
) -> None:
    _, second, _ = await _contradict(alpha, database)
    await alpha.admit_key(database, revoked_at=START + 2 * HOUR)
    assert await _find_proof(second, database) is not None
    await alpha.admit_key(database, revoked_at=START + HOUR)
    assert await _find_proof(second, database) is None


async def test_statements_that_have_ended_prove_it_all_the_same(database: Database, alpha: Issuer) -> None:
    _, second, _ = await _contradict(alpha, database)
    assert await _find_proof(second, database, after=timedelta(days=3)) is not None


async def test_of_one_peer_so_many_are_kept_and_no_more(database: Database, alpha: Issuer) -> None:
    found: list[Admitted] = []
    for _ in range(MOST_KEPT + 2):
        _, second, _ = await _contradict(alpha, database)
        found.append(await admit(second, database=database, now=START + HOUR))
    # Two arrivals at once: the same pair twice is one.
    kept = await hold_against_issuers([found[0], *found], database=database, now=START + HOUR)
    assert kept == MOST_KEPT
    assert len(await _list(alpha, database)) == MOST_KEPT
