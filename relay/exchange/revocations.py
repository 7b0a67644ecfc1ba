"""Take in what peers take back. It means "scan again", and never that anything is harmful.

Only who issued something may take it back, and whoever does costs us scans, no more. What was let go on the
word that is gone is scanned by ourselves: spread over an hour where a list or a model changed, which happens
every day; at once where a key was stolen, whose words since then are deleted.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, assert_never

from db import attestations, audit, mirror, peer_keys, peers, taking_back
from db.attestations import StoredRevocation
from signatures.digests import parse_digest_multibase
from signatures.keys import parse_multikey
from signatures.revocation import Scope

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Connection
    from signatures.revocation import Revocation, RevocationBody

_log = logging.getLogger(__name__)

SPREAD: Final = timedelta(hours=1)
"""Over how long rescans are spread that nobody is in a hurry for: as long as an audit may be put off."""

_AT_ONCE: Final = timedelta()
_BATCH: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenBack:
    """A revocation that was taken in.

    Attributes:
        is_new: It did not come before.
        rescans: How much was made due for a scan of our own.
    """

    is_new: bool
    rescans: int


async def apply_revocation(conn: Connection, revocation: Revocation, *, now: datetime) -> TakenBack:
    """Store a revocation, and make what it takes back of no effect; twice is as good as once.

    Attestations that it covers stay where they are, for `relay.exchange.intake` and whoever looks one up asks
    whether it was taken back; those under a stolen key are deleted.

    The caller owes: `verify_revocation`, now.

    Args:
        conn: The connection, in a transaction.
        revocation: What was verified.
        now: When it was received.
    """
    body = revocation.body
    is_new = await attestations.put_revocation(
        conn,
        StoredRevocation(
            id=body.id,
            issuer=body.issuer,
            scope=body.scope.value,
            subject=body.object,
            published=body.published,
            received_at=now,
            object=revocation.raw,
        ),
    )
    rescans = await _apply(conn, body, now=now) if is_new else 0
    if is_new:
        # Which attestation it is would say something about an item.
        _log.info("revocation_taken_in issuer=%s scope=%s rescans=%d", body.issuer, body.scope, rescans)
    return TakenBack(is_new=is_new, rescans=rescans)


async def _apply(conn: Connection, body: RevocationBody, *, now: datetime) -> int:
    match body.scope:
        case Scope.ATTESTATION:
            return await taking_back.rescan_attestation(
                conn, issuer=body.issuer, attestation_id=body.object, now=now, within=SPREAD
            )
        case Scope.STATE:
            return await taking_back.rescan_state(
                conn,
                issuer=body.issuer,
                state_digest=parse_digest_multibase(body.object),
                now=now,
                within=SPREAD,
            )
        case Scope.PROFILE:
            return await taking_back.rescan_profile(
                conn, issuer=body.issuer, profile=body.object, now=now, within=SPREAD
            )
        case Scope.KEY:
            key = await peer_keys.find_peer_key(conn, body.object)
            if key is not None and key.revoked_at is not None and key.revoked_at <= body.published:
                return 0  # The owner's document has told us the same before.
            return await take_back_key(
                conn, issuer=body.issuer, key_id=body.object, since=body.published, now=now
            )
    assert_never(body.scope)


async def take_back_key(conn: Connection, *, issuer: str, key_id: str, since: datetime, now: datetime) -> int:
    """Distrust everything under a key that was received since a time, however it is dated.

    A thief dates attestations as it likes, so that the one time that counts is that of our receipt.

    Args:
        conn: The connection, in a transaction.
        issuer: Whose key it is; of others' keys nothing changes.
        key_id: The key.
        since: From when on its owner does not answer for it.
        now: The time.

    Returns:
        How much was made due for a scan of our own.
    """
    key = await peer_keys.find_peer_key(conn, key_id)
    peer = await peers.find_peer(conn, issuer)
    if key is None or peer is None or key.actor != issuer:
        return 0
    await peer_keys.revoke_peer_key(conn, key_id, since=since)
    # Before the copies go, which tell what was received when.
    rescans = await taking_back.rescan_key(
        conn, issuer=issuer, key_id=key_id, since=since, now=now, within=_AT_ONCE
    )
    deleted = 0
    while count := await mirror.delete_mirrored(
        conn, issuer=issuer, key_id=key_id, received_from=since, limit=_BATCH
    ):
        deleted += count
    await audit.append(
        conn,
        at=now,
        actor=issuer,
        event="peer_key_revoked",
        detail={
            "peer": peer.domain,
            "key": parse_multikey(key.multikey).fingerprint,
            "since": str(since),
            "deleted": deleted,
            "rescans": rescans,
        },
    )
    return rescans
