"""What peers ask: about bytes, for what is new, what our scanner was, and what a commitment is of.

    POST {base}/api/v1/lookup           {"digests": ["z…", …]} or {"bits": 12, "prefixes": ["a3f", …]}
    GET  {base}/api/v1/feed             ?cursor=17&wait=30
    GET  {base}/api/v1/states/{digest}
    GET  {base}/api/v1/commitments/{digest}

Signed objects stand in the answers as the very bytes that were signed.
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from aiohttp import web

from db import attestations, commitments, given_out
from relay.exchange.client import MAX_WAIT_S
from relay.exchange.feed_pages import FeedDesk, FutureCursor, Page
from relay.exchange.lookups import (
    MAX_QUESTION_BYTES,
    BucketWidth,
    MalformedQuestionError,
    TooBroad,
    look_up,
    parse_question,
)
from relay.tools.limits import FairShare
from relay.web import problems
from signatures.digests import parse_digest_multibase
from signatures.errors import MalformedError
from signatures.jcs import canonicalize
from signatures.strictjson import MAX_SAFE_INTEGER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from db.feed import FeedItem
    from db.pool import Database
    from relay.clock import Clock
    from relay.web.peer_door import Asked, PeerDoor

# A reader that catches up turns a page as soon as it has stored the last, some ten a second.
_PAGES_PER_SECOND: Final = 20.0
_PAGES_AT_ONCE: Final = 1_200
# One that reads, and one that took over from it a moment ago.
_POLLS_PER_PEER: Final = 4
# Each waits with a connection and no more; an admin accepts each peer by hand.
_POLLS: Final = 1_024

_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,15}")
_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerApi:
    """Answers peers; see `add_peer_routes`.

    Attributes:
        database: Where everything is.
        clock: The time.
        desk: Hands out pages of the feed.
        width: How many bits prefixes are to have.
        lookups: How many look-ups each peer may make.
        pages: How many pages each peer may turn.
        polls: Who waits for something new.
    """

    database: Database
    clock: Clock
    desk: FeedDesk
    width: BucketWidth
    lookups: FairShare
    pages: FairShare = field(
        default_factory=lambda: FairShare(per_second=_PAGES_PER_SECOND, burst=_PAGES_AT_ONCE)
    )
    polls: Counter[str] = field(default_factory=Counter)

    async def look_up(self, asked: Asked) -> web.Response:
        """Answer what is attested about some bytes."""
        now = self.clock.now()
        if not self.lookups.admits(asked.peer.actor, now=now):
            return problems.asking_too_often()
        try:
            question = parse_question(asked.body)
        except MalformedQuestionError as error:
            return problems.malformed(str(error))
        found = await look_up(question, database=self.database, width=self.width, now=now)
        if isinstance(found, TooBroad):
            return problems.too_broad(found.bits)
        return _answer(b'{"bits":%d,"attestations":[%b]}' % (found.bits, b",".join(found.objects)))

    async def turn_page(self, asked: Asked) -> web.Response:
        """Answer what is new in the feed, now or when there is something."""
        now = self.clock.now()
        if not self.pages.admits(asked.peer.actor, now=now):
            return problems.asking_too_often()
        try:
            cursor, wait_s = _parse_number(asked.query, "cursor"), _parse_number(asked.query, "wait") or 0
        except MalformedError as error:
            return problems.malformed(f"This is no place in the feed: {error}.")
        with self._wait_in_line(asked.peer.actor) as has_place:
            if not has_place:
                return problems.asking_too_often()
            turned = await self.desk.turn(
                asked.peer, cursor=cursor, wait=timedelta(seconds=min(wait_s, MAX_WAIT_S))
            )
        if isinstance(turned, FutureCursor):
            return problems.future_cursor()
        if cursor is not None:
            # What it has received is taken back from it, should that be needed, and from nobody else.
            async with self.database.connection() as conn:
                await given_out.note_served(conn, asked.peer.actor, cursor=cursor)
        return _answer(_write_page(turned, bits=await self.width.find(now=now)))

    async def show_state(self, asked: Asked) -> web.Response:
        """Answer the salted description of a scanner of ours, as the very bytes that its digest is of."""
        if not self.lookups.admits(asked.peer.actor, now=self.clock.now()):
            return problems.asking_too_often()
        try:
            digest = parse_digest_multibase(asked.parts["digest"])
        except MalformedError as error:
            return problems.malformed(f"This is no digest of a state: {error}.")
        async with self.database.connection() as conn:
            document = await attestations.find_state(conn, digest)
        return problems.not_here("No such state.") if document is None else _answer(canonicalize(document))

    async def open_commitment(self, asked: Asked) -> web.Response:
        """Answer what a commitment is of: the very bytes that its digest is of.

        The digest stands in the attestation alone, so that only who has that can ask. What is withheld was
        never stored, and is answered like what never was.
        """
        if not self.lookups.admits(asked.peer.actor, now=self.clock.now()):
            return problems.asking_too_often()
        try:
            digest = parse_digest_multibase(asked.parts["digest"])
        except MalformedError as error:
            return problems.malformed(f"This is no commitment: {error}.")
        async with self.database.connection() as conn:
            opening = await commitments.find_opening(conn, digest)
        return problems.not_here("No such commitment.") if opening is None else _answer(opening)

    @contextmanager
    def _wait_in_line(self, actor: str) -> Iterator[bool]:
        """Take a place among those who wait, if there is one."""
        has_place = self.polls[actor] < _POLLS_PER_PEER and self.polls.total() < _POLLS
        self.polls[actor] += has_place
        try:
            yield has_place
        finally:
            self.polls[actor] -= has_place
            if not self.polls[actor]:
                del self.polls[actor]


def add_peer_routes(doors: web.Application, api: PeerApi, *, door: PeerDoor, path: str) -> None:
    """Add the routes of the peer API below a path."""
    doors.add_routes(
        [
            web.post(f"{path}/lookup", door.open(api.look_up, max_bytes=MAX_QUESTION_BYTES)),
            web.get(f"{path}/feed", door.open(api.turn_page, max_bytes=0)),
            web.get(f"{path}/states/{{digest}}", door.open(api.show_state, max_bytes=0)),
            web.get(f"{path}/commitments/{{digest}}", door.open(api.open_commitment, max_bytes=0)),
        ]
    )


def _parse_number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if _NUMBER.fullmatch(text) is None or int(text) > MAX_SAFE_INTEGER:
        raise MalformedError(f"{name} is not a number")
    return int(text)


def _write_page(page: Page, *, bits: int) -> bytes:
    outdated = b"" if page.oldest is None else b'"error":"OutdatedCursor","oldest":%d,' % page.oldest
    items = b",".join(_write_item(item) for item in page.items)
    return b'{%b"cursor":%d,"bits":%d,"items":[%b]}' % (outdated, page.cursor, bits, items)


def _write_item(item: FeedItem) -> bytes:
    return b'{"seq":%d,"kind":"%b","object":%b}' % (item.seq, item.kind.value.encode(), item.object)


def _answer(body: bytes) -> web.Response:
    return web.Response(body=body, content_type=_JSON)
