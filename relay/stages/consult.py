"""Consult: what is already known of exactly these bytes?

A ruling by the admin's own moderators comes first, then our own verdict under the scanner's present
state. A verdict under another state (older lists, another model) is no answer. Peers' attestations
will be asked here too; whatever they say only ever spares the costly detectors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from db import cases, known
from db.rulings import RulingKind
from relay.model import Evidence, EvidenceBasis, Media, MediaReference
from relay.tools.reuse import is_reusable
from scanner.report import UnscannableReason, Verdict, report_from_json

if TYPE_CHECKING:
    from db.pool import Database


async def consult(
    media: Media, reference: MediaReference, *, database: Database, state_digest: bytes
) -> Evidence | None:
    """Find evidence on these bytes that spares a scan; None where there is none."""
    declared_type = media.content_type or reference.declared_type
    return await consult_digest(
        media.sha256, declared_type, reference, database=database, state_digest=state_digest
    )


async def consult_digest(
    sha256: bytes,
    declared_type: str | None,
    reference: MediaReference,
    *,
    database: Database,
    state_digest: bytes,
) -> Evidence | None:
    """Find evidence on bytes of which only the digest is in hand; None where there is none.

    Raises:
        DatabaseError: It cannot be known.
    """
    async with database.connection() as conn:
        stored = await known.find_known(conn, sha256, state_digest)
    if stored.ruling is not None:
        return Evidence(
            reference=reference,
            basis=EvidenceBasis.RULING,
            sha256=sha256,
            is_allowed=stored.ruling is RulingKind.ALLOW,
        )
    if stored.report is None:
        return None
    report = report_from_json(stored.report)
    # Whether a page is a link or broken media depends on the reference, which the scan stage weighs; to look
    # again costs no more than a digest.
    is_page = report.reason is UnscannableReason.NOT_MEDIA and report.verdict is Verdict.UNSCANNABLE
    if is_page or not is_reusable(report, declared_type):
        return None
    return Evidence(
        reference=reference,
        basis=EvidenceBasis.OWN_VERDICT,
        sha256=sha256,
        report=report,
        state_digest=state_digest,
        warning=stored.warning,
    )


async def was_released_unseen(delivery_id: int, *, database: Database) -> bool:
    """Tell whether a person released a delivery although not everything in it could be looked at.

    Raises:
        DatabaseError: It cannot be known.
    """
    async with database.connection() as conn:
        ruled = await cases.list_cases_of(conn, delivery_id)
    return any(case.sha256 is None and case.state is cases.CaseState.RELEASED for case in ruled)
