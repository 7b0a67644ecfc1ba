"""Attestations, states and revocations."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from db import attestations
from db.attestations import StoredAttestation, StoredRevocation
from tests.db.builders import NOW, sha256

if TYPE_CHECKING:
    from db.pool import Database

SECOND = timedelta(seconds=1)
ATTESTATION = StoredAttestation(
    id="01KAN3ZK8W6V2J7S4Q0XTR9M5B",
    sha256=sha256("bytes"),
    profile="https://relay.a.example/profiles/image-2",
    state_digest=sha256("state"),
    published=NOW,
    end_time=NOW + timedelta(days=1),
    is_withheld_share=False,
    audience="public",
    object=b'{ "signed":  true }',
)
REVOCATION = StoredRevocation(
    id="https://relay.a.example/revocations/1",
    issuer="https://relay.a.example/actor",
    scope="state",
    subject="zQmXs",
    published=NOW,
    received_at=NOW + SECOND,
    object=b"{}",
)


async def test_an_attestation_is_stored_once_and_comes_back_to_the_byte(database: Database) -> None:
    async with database.connection() as conn:
        assert await attestations.find_attestation(conn, ATTESTATION.id) is None
        assert await attestations.insert_attestation(conn, ATTESTATION)
        assert not await attestations.insert_attestation(conn, replace(ATTESTATION, object=b"{}"))
        assert await attestations.find_attestation(conn, ATTESTATION.id) == ATTESTATION


async def test_the_newest_of_the_same_bytes_and_profile_is_found(database: Database) -> None:
    newer = replace(ATTESTATION, id="02", published=NOW + SECOND)
    async with database.connection() as conn:
        for one in (
            newer,
            ATTESTATION,
            replace(newer, id="03", profile="other", published=NOW + 2 * SECOND),
            replace(newer, id="04", sha256=sha256("other"), published=NOW + 2 * SECOND),
        ):
            await attestations.insert_attestation(conn, one)
        assert await attestations.find_newest(conn, ATTESTATION.sha256, ATTESTATION.profile) == newer
        assert await attestations.find_newest(conn, ATTESTATION.sha256, "none") is None


async def test_attestations_are_purged_after_their_end(database: Database) -> None:
    async with database.connection() as conn:
        await attestations.insert_attestation(conn, ATTESTATION)
        end = ATTESTATION.end_time
        assert await attestations.purge_attestations(conn, before=end, limit=10) == 0
        assert await attestations.purge_attestations(conn, before=end + SECOND, limit=10) == 1


async def test_a_revocation_is_stored_once_and_found_by_its_subject(database: Database) -> None:
    async with database.connection() as conn:
        assert await attestations.put_revocation(conn, REVOCATION)
        assert not await attestations.put_revocation(conn, replace(REVOCATION, subject="else"))
        assert await attestations.list_revocations_of(conn, ["none", REVOCATION.subject]) == (REVOCATION,)
        assert await attestations.list_revocations_of(conn, ["else"]) == ()
        issuer = REVOCATION.issuer
        assert await attestations.list_revocations(conn, issuer=issuer, since=NOW, limit=9) == (REVOCATION,)
        later = NOW + SECOND
        assert await attestations.list_revocations(conn, issuer=issuer, since=later, limit=9) == ()


async def test_a_state_comes_back_exactly_and_is_never_replaced(database: Database) -> None:
    document = {"salt": "u", "thresholds": {"b": 900, "a": 1}, "lists": [["x", 1]], "large": 2**53 - 1}
    digest = sha256("state")
    async with database.connection() as conn:
        assert await attestations.find_state(conn, digest) is None
        await attestations.put_state(conn, state_digest=digest, document=document, now=NOW)
        await attestations.put_state(conn, state_digest=digest, document={}, now=NOW)
        assert await attestations.find_state(conn, digest) == document
