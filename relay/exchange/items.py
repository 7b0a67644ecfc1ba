"""Take back single attestations, of bytes that a person has blocked since, without saying which they are.

A list or a model that changes takes back a whole state, which names no item. A ruling is about one; so its
revocation goes only to peers that have received the attestation, each time among at least nine others about
bytes that nobody blocked, and all of them ask for the same: scan again.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from db import given_out
from db.feed import FeedKind
from relay.exchange.publisher import publish_objects
from relay.tools.ulids import build_ulid
from signatures.attestation import parse_attestation
from signatures.revocation import RevocationBody, Scope, build_revocation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from db.given_out import Reader
    from db.pool import Connection
    from relay.tools.identity import Identity

DECOYS: Final = 9
"""How many others stand beside each at the least. Source: section 2 of the design of attestations."""

_AT_ONCE: Final = 100
# Some that are drawn have ended, or were blocked as well.
_OVERDRAW: Final = 3
_CHANCE_BYTES: Final = 10

_chance: Final = secrets.SystemRandom()


async def take_back_items(conn: Connection, *, identity: Identity, now: datetime) -> int:
    """Take back what was attested about bytes that are blocked by now; return how many.

    A peer that has not received nine others for each is told nothing: what it has ends by itself.

    Args:
        conn: The connection, in a transaction.
        identity: Whose attestations they are.
        now: The time.

    Raises:
        DatabaseError: Nothing was taken back.
    """
    blocked = await given_out.list_blocked(conn, now=now, limit=_AT_ONCE)
    if not blocked:
        return 0
    ended = {name for name, _ in blocked}
    for reader in await given_out.list_readers(conn):
        received = [
            name for name, seq in blocked if seq is not None and reader.served_from < seq <= reader.served_to
        ]
        decoys = await _draw(conn, reader, count=DECOYS * len(received), now=now)
        if received and len(decoys) == DECOYS * len(received):
            await _publish(conn, reader, [*received, *decoys], identity=identity, now=now)
            ended.update(decoys)
    await given_out.end(conn, sorted(ended), now=now)
    return len(blocked)


async def _draw(conn: Connection, reader: Reader, *, count: int, now: datetime) -> tuple[str, ...]:
    if count == 0:
        return ()
    drawn = await given_out.draw(conn, reader, count=count * _OVERDRAW)
    names = [parse_attestation(one, allow_http=True).body.id.rpartition("/")[2] for one in drawn]
    return (await given_out.keep_harmless(conn, names, now=now))[:count]


async def _publish(
    conn: Connection, reader: Reader, names: Sequence[str], *, identity: Identity, now: datetime
) -> None:
    signed = [
        build_revocation(
            RevocationBody(
                id=f"{identity.base_url}/revocations/{build_ulid(now, secrets.token_bytes(_CHANCE_BYTES))}",
                issuer=identity.actor,
                audience=reader.actor,
                published=now.replace(microsecond=0),
                scope=Scope.ATTESTATION,
                object=f"{identity.base_url}/attestations/{name}",
            ),
            key=identity.signing_key,
            verification_method=identity.verification_method,
        )
        for name in names
    ]
    _chance.shuffle(signed)
    await publish_objects(conn, FeedKind.REVOCATION, signed, now=now, peer=reader.actor)
