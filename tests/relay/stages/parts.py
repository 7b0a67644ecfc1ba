"""Values of the line, built for one stage at a time."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from db import deliveries
from relay.lifecycle import LEASE
from relay.model import (
    Audience,
    Decision,
    Delivery,
    DeliveryDecision,
    Evidence,
    EvidenceBasis,
    Location,
    Media,
    MediaDecision,
    MediaOutcome,
    MediaReference,
    Sender,
)
from relay.stages.extract import extract
from scanner.labels import Category
from scanner.report import (
    Basis,
    DetectorRun,
    Finding,
    Fingerprints,
    MediaFacts,
    Report,
    RunOutcome,
    UnscannableReason,
    Verdict,
)
from scanner.sniff import MediaType
from signatures.message import RequestMessage
from tests.fediverse.clock import START

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from db.delivery_rows import StoredDelivery
    from db.pool import Database

ALICE = "https://alpha.example/users/alice"
NOTE = f"{ALICE}/notes/1"
PICTURE = "https://files.example/p.png"
PUBLIC = "https://www.w3.org/ns/activitystreams#Public"
STATE = bytes(range(32))
WORKER = "worker"
DEFAULT_SENDER = Sender(actor=ALICE, key_id=f"{ALICE}#main-key")


def reference(
    url: str = PICTURE, *, is_declared: bool = True, declared_type: str | None = None
) -> MediaReference:
    return MediaReference(
        url=url, location=Location.ATTACHMENT, is_declared=is_declared, declared_type=declared_type
    )


def media(data: bytes, content_type: str | None = "image/png") -> Media:
    return Media(data=data, sha256=hashlib.sha256(data).digest(), content_type=content_type)


def report(
    verdict: Verdict = Verdict.NO_MATCH,
    *,
    data: bytes = b"bytes",
    reason: UnscannableReason | None = None,
    findings: tuple[Finding, ...] = (),
    facts: MediaFacts | None = None,
    outcome: RunOutcome = RunOutcome.RAN,
) -> Report:
    return Report(
        verdict=verdict,
        reason=reason,
        findings=findings,
        detectors=(DetectorRun(name="lists", version="1", essential=True, outcome=outcome),),
        fingerprints=Fingerprints(
            sha256=hashlib.sha256(data).digest(),
            sha1=hashlib.sha1(data, usedforsecurity=False).digest(),
            md5=hashlib.md5(data, usedforsecurity=False).digest(),
        ),
        facts=facts or MediaFacts(size=len(data), media_type=MediaType.PNG),
    )


def finding(
    category: Category = Category.SPAM, basis: Basis = Basis.EXACT_HASH, *, advisory: bool = False
) -> Finding:
    return Finding(detector="lists", version="1", category=category, basis=basis, advisory=advisory)


def evidence(
    of: Report | None = None, *, basis: EvidenceBasis = EvidenceBasis.SCAN, url: str = PICTURE
) -> Evidence:
    given = of or report()
    return Evidence(
        reference=reference(url),
        basis=basis,
        sha256=given.fingerprints.sha256,
        report=given,
        state_digest=STATE,
    )


def outcome(
    of: Evidence | None = None,
    decision: MediaDecision = MediaDecision.RELEASE,
    *,
    category: str | None = None,
    needs_case: bool = False,
    purge: bool = False,
) -> MediaOutcome:
    return MediaOutcome(
        evidence=of or evidence(), decision=decision, category=category, needs_case=needs_case, purge=purge
    )


def decision(
    delivery: DeliveryDecision = DeliveryDecision.FORWARD, *outcomes: MediaOutcome, reason: str = "released"
) -> Decision:
    return Decision(delivery=delivery, outcomes=outcomes, reason=reason)


def document(kind: str = "Create", *, number: int = 1, actor: str = ALICE) -> dict[str, object]:
    """An activity on `NOTE`; the number makes it another one."""
    note = {"id": NOTE, "type": "Note", "attributedTo": actor, "to": [PUBLIC], "content": str(number)}
    return {
        "id": f"{actor}/activities/{kind}/{number}",
        "type": kind,
        "actor": actor,
        "to": [PUBLIC],
        "object": NOTE if kind == "Delete" else note,
    }


def delivery(
    kind: str = "Create",
    *,
    number: int = 1,
    actor: str = ALICE,
    sender: Sender | None = DEFAULT_SENDER,
    received_at: datetime = START,
) -> Delivery:
    given = document(kind, number=number, actor=actor)
    return Delivery(
        message=RequestMessage(
            method="POST",
            scheme="https",
            authority="instance.example",
            target="/inbox",
            headers=(("Host", "instance.example"),),
            body=repr(given).encode(),
        ),
        remote_address="192.0.2.7",
        received_at=received_at,
        document=given,
        activity=replace(extract(given), audience=Audience.PUBLIC),
        sender=sender,
    )


async def claim(database: Database, *, now: datetime = START, lease: timedelta = LEASE) -> StoredDelivery:
    """Claim the next delivery."""
    async with database.connection() as conn:
        claimed = await deliveries.claim_delivery(conn, worker=WORKER, lease=lease, now=now)
    assert claimed is not None
    return claimed


async def find(database: Database, delivery_id: int) -> StoredDelivery:
    """Read a delivery again."""
    async with database.connection() as conn:
        found = await deliveries.find_delivery(conn, delivery_id)
    assert found is not None
    return found
