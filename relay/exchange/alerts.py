"""Compare peers' warnings with bytes of ours, and write our own.

A warning is the keyed digest of some bytes: nothing can be read from it, but whoever holds bytes and the key
of the pair can tell whether it means them. So every digest of ours is sealed with the key of each peer and
looked up: new ones before they are scanned, earlier ones by `relay.exchange.matching`, after which
`relay.rescans.warned` looks at their bytes again.
"""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Final

from db import alert_hits, alert_letters, alerts, audit, cases, rulings
from db.cases import CaseState
from relay.tools.ulids import build_ulid
from scanner.labels import Category
from scanner.report import Basis
from signatures.alert import seal_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from db.pool import Connection

_log = logging.getLogger(__name__)

LEAST_RULED: Final = 10
"""How many cases of a peer's warnings have to be ruled on before it is judged by them."""

_CHANCE_BYTES: Final = 10
_RELAY: Final = "relay"
_CATEGORIES: Final = frozenset(category.value for category in Category)


def is_suspended(ruled: Mapping[str, int]) -> bool:
    """Tell whether a peer's warnings are heard no more: our own moderators let most of what it meant go.

    Args:
        ruled: What became of the cases, by their state.
    """
    upheld, released = ruled.get(CaseState.UPHELD, 0), ruled.get(CaseState.RELEASED, 0)
    return upheld + released >= LEAST_RULED and upheld < released


async def find_warning(conn: Connection, sha256: bytes, *, now: datetime) -> str | None:
    """Find the category of a peer's warning of exactly these bytes, and note that it fits.

    Args:
        conn: The connection, in a transaction.
        sha256: The digest of the bytes, 32 bytes.
        now: The time.
    """
    known = await alert_hits.find_hit(conn, sha256)
    if known is not None:
        return known
    keys = await alert_hits.list_alert_keys(conn)
    if not keys:
        return None
    sealed = {(one.actor, seal_digest(sha256, key=one.key)) for one in keys}
    found = [
        one
        for one in await alerts.find_alerts(conn, [mac for _, mac in sealed])
        if (one.issuer, one.mac) in sealed
    ]
    heard = [one for one in found if not is_suspended(await alerts.count_rulings(conn, one.issuer))]
    for one in heard:
        await alert_hits.put_hit(conn, sha256, issuer=one.issuer, mac=one.mac, category=one.category, now=now)
    return min((one.category for one in heard), default=None)


async def open_case_of(
    conn: Connection, sha256: bytes, *, issuer: str, mac: bytes, category: str, now: datetime
) -> bool:
    """Withhold bytes that were seen before, and put them before a person; False if that was done or ruled on.

    That the bytes are looked at again, and kept for that person, is `relay.rescans.warned`'s to do.

    Args:
        conn: The connection, in a transaction.
        sha256: The digest of the bytes, 32 bytes.
        issuer: Who warned.
        mac: The warning.
        category: What it says.
        now: The time.
    """
    if await rulings.find_ruling(conn, sha256) is not None:
        return False
    is_new = await alert_hits.put_hit(
        conn, sha256, issuer=issuer, mac=mac, category=category, now=now, look_at=now
    )
    case_id = await cases.open_case(
        conn, category=category, delivery_id=None, sha256=sha256, basis=Basis.PEER.value, now=now
    )
    if case_id is None:
        known = await cases.find_case_on(conn, delivery_id=None, sha256=sha256)
        case_id = None if known is None else known.id
    else:
        await audit.append(conn, at=now, actor=_RELAY, event="case_opened", detail={"case": case_id})
    if case_id is not None:
        await alert_hits.link_case(conn, sha256, case_id=case_id)
    return is_new


async def warn_of_match(
    conn: Connection, sha256: bytes, *, category: str, lists: Iterable[str | None], now: datetime
) -> int:
    """Warn peers of bytes that a list of ours holds exactly, if its terms allow that; return how many.

    Args:
        conn: Inside of the transaction that opens the case.
        sha256: The digest of the bytes, 32 bytes.
        category: What they are.
        lists: The names of the lists that hold them.
        now: The time.
    """
    names = [name for name in lists if name is not None]
    if not await alert_hits.list_allowing(conn, names):
        return 0
    return await _warn(conn, sha256, category=category, now=now)


async def warn_of_ruling(conn: Connection, sha256: bytes, *, category: str, basis: str, now: datetime) -> int:
    """Warn peers of bytes that a person of ours upheld; return how many.

    What only repeats an exact match of a list was told when it was found, if its terms allow that.

    Args:
        conn: Inside of the transaction that records the ruling.
        sha256: The digest of the bytes, 32 bytes.
        category: What they are.
        basis: What the case rests on.
        now: The time.
    """
    if basis == Basis.EXACT_HASH:
        return 0
    return await _warn(conn, sha256, category=category, now=now)


async def _warn(conn: Connection, sha256: bytes, *, category: str, now: datetime) -> int:
    if category not in _CATEGORIES:
        return 0  # What nobody could look at is nobody's to warn of.
    count = 0
    for one in await alert_hits.list_alert_keys(conn):
        if category in one.categories:
            # Sealed here: what waits in the table names nothing.
            count += await alert_letters.add_alert_letter(
                conn,
                build_ulid(now, secrets.token_bytes(_CHANCE_BYTES)),
                actor=one.actor,
                mac=seal_digest(sha256, key=one.key),
                category=category,
                now=now,
            )
    return count
