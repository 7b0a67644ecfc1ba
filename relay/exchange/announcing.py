"""Tell peers by ourselves what we take back: a state when a list or a model changed, a profile, a stolen key.

Nobody has to think of it: at every start and after every change of the lists, what was given out and has not
ended is compared with what the scanner is made of now. What is said is about the scanner or a key; of single
items see `relay.exchange.items`.

The processes of one relay are to have the same lists, models and profile; where they differ, each takes back
what the other stands by, and peers scan more than they need to.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from db import attestations, audit, retiring
from db.attestations import StoredRevocation
from db.errors import DatabaseError
from db.feed import FeedKind
from relay.exchange.items import take_back_items
from relay.exchange.publisher import publish_objects
from relay.tools.naps import wait_within
from relay.tools.ulids import build_ulid
from signatures.digests import digest_multibase
from signatures.revocation import RevocationBody, Scope, build_revocation

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Connection, Database
    from relay.clock import Clock
    from relay.tools.identity import Identity
    from relay.tools.key_files import RetiredKey
    from relay.tools.scanning import Scanning

_log = logging.getLogger(__name__)

_AFTER_ERROR: Final = timedelta(seconds=5)
# What people ruled is taken back this often, so that its moment tells nothing of theirs.
_EVERY: Final = timedelta(minutes=10)
_CHANCE_BYTES: Final = 10
# Some 50 ms of the database's time; whoever attests meanwhile waits no longer than that.
_BATCH: Final = 2_000
_RELAY: Final = "relay"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnounceTools:
    """What revocations are issued with.

    Attributes:
        database: Where attestations, states and the feed are.
        identity: Whose they are.
        scanning: The scanner as it is now.
        profile: The name of the scanning policy.
        clock: The time.
    """

    database: Database
    identity: Identity
    scanning: Scanning
    profile: str
    clock: Clock


class Announcer:
    """Takes back what is out of date, whenever something may have changed."""

    def __init__(self, tools: AnnounceTools) -> None:
        self._tools = tools
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()

    def wake(self) -> None:
        """Compare now: something has changed."""
        self._changed.set()

    def stop(self) -> None:
        """Compare nothing more; the next start does."""
        self._stopping.set()

    async def run(self) -> None:
        """Compare at once, after every change and now and then, until stopped."""
        self._changed.set()
        async with asyncio.TaskGroup() as group:
            comparing = group.create_task(self._compare())
            await self._stopping.wait()
            comparing.cancel()

    async def _compare(self) -> None:
        while True:
            await wait_within(self._changed, _EVERY)
            self._changed.clear()
            try:
                await announce(self._tools)
            except DatabaseError as error:
                _log.error("revocations_not_issued error=%s", type(error).__name__)
                await asyncio.sleep(_AFTER_ERROR.total_seconds())
                self._changed.set()


async def announce(tools: AnnounceTools) -> int:
    """Take back what was given out and does not hold any more; return how much.

    Raises:
        DatabaseError: Some were not issued; the next time they are.
    """
    now = tools.clock.now()
    count = 0
    for retired in tools.identity.retired:
        if retired.revoked is not None and now < retired.expires:
            count += await _take_back_key(retired, retired.revoked, tools=tools, now=now)
    count += await _take_back_states(tools, now=now)
    count += await _take_back_profiles(tools, now=now)
    async with tools.database.transaction() as conn:
        return count + await take_back_items(conn, identity=tools.identity, now=now)


async def _take_back_key(retired: RetiredKey, since: datetime, *, tools: AnnounceTools, now: datetime) -> int:
    identity, database = tools.identity, tools.database
    key_id = f"{identity.actor}#{retired.key.to_multikey()}"
    # The same in every process that starts, so that of several one is stored.
    name = _build_id(identity, since, hashlib.sha256(key_id.encode()).digest())
    async with database.connection() as conn:
        if await retiring.is_announced(conn, name):
            return 0
    # What the key signed since is attested anew, by the key that took its place.
    while await _end(database, since=since, now=now):
        pass
    body = RevocationBody(
        id=name,
        issuer=identity.actor,
        audience=identity.peers_collection,
        # Receivers read from this since when the key is not ours alone.
        published=since,
        scope=Scope.KEY,
        object=key_id,
    )
    async with database.transaction() as conn:
        return await _issue(conn, body, identity=identity, now=now)


async def _end(database: Database, *, since: datetime, now: datetime) -> int:
    async with database.connection() as conn:
        return await retiring.end_since(conn, since=since, now=now, limit=_BATCH)


async def _take_back_states(tools: AnnounceTools, *, now: datetime) -> int:
    count = 0
    async with tools.database.connection() as conn:
        others = await retiring.list_other_states(conn, current=tools.scanning.state_digest, now=now)
    for digest in others:
        body = _build_body(tools.identity, Scope.STATE, digest_multibase(digest), now=now)
        async with tools.database.transaction() as conn:
            if await retiring.retire_state(conn, digest, now=now):
                count += await _issue(conn, body, identity=tools.identity, now=now)
    is_more = True
    while is_more:
        async with tools.database.connection() as conn:
            is_more = await retiring.end_retired(conn, now=now, limit=_BATCH) == _BATCH
    return count


async def _take_back_profiles(tools: AnnounceTools, *, now: datetime) -> int:
    count = 0
    current = tools.identity.profile(tools.profile)
    while True:
        async with tools.database.connection() as conn:
            profile = await retiring.find_other_profile(conn, current=current, now=now)
        if profile is None:
            return count
        body = _build_body(tools.identity, Scope.PROFILE, profile, now=now)
        async with tools.database.transaction() as conn:
            # Ended with its announcement, so that a profile is found once.
            while await retiring.end_profile(conn, profile, now=now, limit=_BATCH):
                pass
            count += await _issue(conn, body, identity=tools.identity, now=now)


def _build_body(identity: Identity, scope: Scope, target: str, *, now: datetime) -> RevocationBody:
    return RevocationBody(
        id=_build_id(identity, now, secrets.token_bytes(_CHANCE_BYTES)),
        issuer=identity.actor,
        audience=identity.peers_collection,
        published=now.replace(microsecond=0),
        scope=scope,
        object=target,
    )


def _build_id(identity: Identity, at: datetime, chance: bytes) -> str:
    return f"{identity.base_url}/revocations/{build_ulid(at, chance)}"


async def _issue(conn: Connection, body: RevocationBody, *, identity: Identity, now: datetime) -> int:
    """Sign, store and publish a revocation; return how many that were."""
    signed = build_revocation(
        body, key=identity.signing_key, verification_method=identity.verification_method
    )
    is_new = await attestations.put_revocation(
        conn,
        StoredRevocation(
            id=body.id,
            issuer=body.issuer,
            scope=body.scope.value,
            subject=body.object,
            published=body.published,
            received_at=now,
            object=signed,
        ),
    )
    if not is_new:
        return 0
    await audit.append(
        conn, at=now, actor=_RELAY, event="revocation_issued", detail={"scope": body.scope.value}
    )
    await publish_objects(conn, FeedKind.REVOCATION, (signed,), now=now)
    _log.warning("revocation_issued scope=%s", body.scope.value)
    return 1
