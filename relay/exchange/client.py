"""Ask peers: what they attest about some bytes, what is new in their feed, what their scanner was.

Every question is signed, goes through the guarded client as exactly one request, and counts only if its
answer is signed by the peer that was asked. Failures are values: a peer that does not answer spares nobody a
scan, and that is all.

What the answers hold is cut out as the bytes that were signed, and verified by nobody here: see
`relay.exchange.intake`.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from db.feed import FeedItem, FeedKind
from relay.exchange.commitments import MAX_OPENING_BYTES
from relay.exchange.envelopes import cut_listing, cut_members, cut_table
from relay.exchange.prefixes import Prefix, pad_prefixes
from relay.exchange.signing import verify_answer
from relay.metrics import Metrics
from relay.model import FetchFailure
from relay.tools.urls import MalformedUrlError, parse_url
from signatures.digests import digest_multibase
from signatures.errors import MalformedError, VerificationError
from signatures.message import RequestMessage, ResponseMessage
from signatures.objects import MAX_OBJECT_BYTES, MAX_OBJECT_DEPTH
from signatures.strictjson import MAX_SAFE_INTEGER, parse_json_object

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from db.peers import Peer
    from relay.clock import Clock
    from relay.exchange.signing import PeerSigner
    from relay.tools.hops import Answer
    from signatures.message import Headers
    from signatures.strictjson import JsonObject

MAX_DIGESTS: Final = 128
"""How many digests one look-up may name."""

MAX_PAGE: Final = 500
"""How many items a page of the feed has at the most. Source: section 4 of the design of the exchange."""

MAX_WAIT_S: Final = 30
"""How long a peer may be asked to wait for something new. Source: as above."""

# A page of the longest objects there are, with what stands around each.
MAX_PAGE_BYTES: Final = MAX_PAGE * (MAX_OBJECT_BYTES + 128) + 1_024
MAX_LOOKUP_BYTES: Final = 16 * 1024 * 1024
"""How large an answer to a look-up may be: 32 buckets of attestations of the usual length take 10 MB."""

_MAX_SHORT_BYTES: Final = 65_536
_OK: Final = 200
_ACCEPTED: Final = 202
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,15}")
# The part of the API stands first in every path; what follows may be a digest.
_KIND: Final = re.compile(r"[/?]")
_KINDS: Final = {f'"{kind.value}"': kind for kind in FeedKind}
_NO_MEMBER: Final = "null"


class PeerFailureReason(StrEnum):
    """Why a peer's answer brought nothing."""

    NO_API = "no_api"
    """Where it answers was never discovered."""
    UNREACHABLE = "unreachable"
    """It could not be asked; `PeerFailure.failure` says why."""
    REFUSED = "refused"
    """It does not answer us: our Follow is not accepted, or our clock or key are not what it knows."""
    BUSY = "busy"
    """It asks to be asked less often, or later."""
    NOT_THERE = "not_there"
    """It has no such thing."""
    FUTURE_CURSOR = "future_cursor"
    """It has not got as far as we have read: it lost a part of its past."""
    TOO_BROAD = "too_broad"
    """The prefixes have too few bits for how much it has; `PeerFailure.bits` says how many it takes."""
    UNVERIFIED = "unverified"
    """The answer is not signed by the peer's key that we know."""
    MALFORMED = "malformed"
    """The answer is not what was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerFailure:
    """A peer was asked and brought nothing.

    Attributes:
        reason: Why.
        detail: More about it, of our own words and the parser's.
        failure: Why it could not be asked.
        bits: How many bits the prefixes must have.
    """

    reason: PeerFailureReason
    detail: str = ""
    failure: FetchFailure | None = None
    bits: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedPage:
    """What came next in a peer's feed.

    Attributes:
        cursor: Where to go on from.
        items: In their order; verified by nobody yet.
        bits: How many bits prefixes of its digests are to have.
        oldest: The oldest number that it retains, where what came between is lost to us; else None.
    """

    cursor: int
    items: tuple[FeedItem, ...]
    bits: int
    oldest: int | None = None


class Asking(Protocol):
    """What makes one request; the guarded client is one."""

    async def request(  # noqa: D102 (the class says it)
        self,
        method: str,
        url: str,
        *,
        headers: Headers = (),
        body: bytes | None = None,
        max_bytes: int | None = None,
        patience: timedelta = timedelta(),
    ) -> Answer | FetchFailure: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerClient:
    """Asks peers in this relay's name.

    Attributes:
        client: Makes the requests.
        signer: Signs them.
        clock: The time.
        metrics: Counts the questions.
    """

    client: Asking
    signer: PeerSigner
    clock: Clock
    metrics: Metrics = field(default_factory=Metrics)

    async def lookup(self, peer: Peer, digests: Sequence[bytes]) -> tuple[bytes, ...] | PeerFailure:
        """Ask what a peer attests about some bytes, at most `MAX_DIGESTS` of them.

        It learns the digests: ask only whoever knows anyway that we have the bytes.

        Returns:
            The signed objects as they came. None about some bytes says nothing about them.
        """
        return await self._look_up(peer, {"digests": [digest_multibase(one) for one in digests]})

    async def buckets(self, peer: Peer, prefixes: Sequence[Prefix]) -> tuple[bytes, ...] | PeerFailure:
        """Ask what a peer attests about all bytes whose digests begin so, hidden among as many again.

        Args:
            peer: Whom to ask.
            prefixes: At least one, of equally many bits; `FeedPage.bits` or a failure says of how many.

        Returns:
            Everything in the buckets that were meant or drawn: the caller picks out its own. Where one
            question of several fails, its failure.
        """
        found: list[bytes] = []
        bits = prefixes[0].bits
        for padded in pad_prefixes(prefixes, bits=bits, draw=secrets.randbelow):
            answer = await self._look_up(peer, {"bits": bits, "prefixes": [str(one) for one in padded]})
            if isinstance(answer, PeerFailure):
                return answer
            found.extend(answer)
        return tuple(found)

    async def feed(self, peer: Peer, cursor: int | None, wait_s: int) -> FeedPage | PeerFailure:
        """Ask what comes after a cursor in a peer's feed.

        Args:
            peer: Whom to ask.
            cursor: The last number that was read; 0 for everything retained, None for where the feed is now.
            wait_s: How long it is to wait until there is something, at most `MAX_WAIT_S`.
        """
        path = f"/feed?wait={wait_s}" if cursor is None else f"/feed?cursor={cursor}&wait={wait_s}"
        answer = await self._ask(
            peer, "GET", path, max_bytes=MAX_PAGE_BYTES, patience=timedelta(seconds=wait_s)
        )
        if isinstance(answer, PeerFailure):
            return answer
        try:
            return _read_page(answer, after=cursor)
        except MalformedError as error:
            return _malformed(error)

    async def state(self, peer: Peer, digest: bytes) -> JsonObject | PeerFailure:
        """Ask for the salted description of a peer's scanner that has this digest.

        Returns:
            The document, whose digest is the one that was asked for.
        """
        answer = await self._ask(
            peer, "GET", f"/states/{digest_multibase(digest)}", max_bytes=_MAX_SHORT_BYTES
        )
        if isinstance(answer, PeerFailure):
            return answer
        # The document is sent in its canonical form, so that its bytes are what the digest is of.
        if hashlib.sha256(answer.body).digest() != digest:
            return PeerFailure(reason=PeerFailureReason.MALFORMED, detail="another state than was asked for")
        try:
            return parse_json_object(answer.body, max_bytes=_MAX_SHORT_BYTES, max_depth=MAX_OBJECT_DEPTH)
        except MalformedError as error:
            return _malformed(error)

    async def opening(self, peer: Peer, commitment: bytes) -> bytes | PeerFailure:
        """Ask what a commitment in a peer's attestation is of.

        Returns:
            What it answered, signed by the peer; whether it is what the digest is of is not checked here.
        """
        answer = await self._ask(
            peer, "GET", f"/commitments/{digest_multibase(commitment)}", max_bytes=MAX_OPENING_BYTES
        )
        return answer if isinstance(answer, PeerFailure) else answer.body

    async def send_alert(self, peer: Peer, alert: bytes) -> PeerFailure | None:
        """Send a signed alert; None if the peer has it."""
        answer = await self._ask(
            peer, "POST", "/alerts", body=alert, max_bytes=_MAX_SHORT_BYTES, expected=_ACCEPTED
        )
        return answer if isinstance(answer, PeerFailure) else None

    async def _look_up(
        self, peer: Peer, question: Mapping[str, int | list[str]]
    ) -> tuple[bytes, ...] | PeerFailure:
        body = json.dumps(question, separators=(",", ":")).encode()
        answer = await self._ask(peer, "POST", "/lookup", body=body, max_bytes=MAX_LOOKUP_BYTES)
        if isinstance(answer, PeerFailure):
            return answer
        try:
            _, found = cut_listing(_decode(answer), "attestations")
        except MalformedError as error:
            return _malformed(error)
        return tuple(one.encode() for one in found)

    async def _ask(
        self,
        peer: Peer,
        method: str,
        path: str,
        *,
        max_bytes: int,
        body: bytes = b"",
        expected: int = _OK,
        patience: timedelta = timedelta(),
    ) -> ResponseMessage | PeerFailure:
        """Ask one question, and count how it ends; return the verified answer, or why there is none."""
        answer = await self._request(
            peer, method, path, max_bytes=max_bytes, body=body, expected=expected, patience=patience
        )
        outcome = answer.reason.value if isinstance(answer, PeerFailure) else "answered"
        self.metrics.count_peer_question(kind=_KIND.split(path)[1], outcome=outcome)
        return answer

    async def _request(
        self,
        peer: Peer,
        method: str,
        path: str,
        *,
        max_bytes: int,
        body: bytes,
        expected: int,
        patience: timedelta,
    ) -> ResponseMessage | PeerFailure:
        if not peer.api_url:
            return PeerFailure(reason=PeerFailureReason.NO_API)
        try:
            url = parse_url(f"{peer.api_url}{path}")
        except MalformedUrlError as error:
            return PeerFailure(reason=PeerFailureReason.NO_API, detail=str(error))
        asked = self.signer.sign(
            RequestMessage(
                method=method,
                scheme=url.scheme,
                authority=url.authority,
                target=url.target,
                headers=(("Accept", "application/json"),)
                + ((("Content-Type", "application/json"),) if body else ()),
                body=body,
            )
        )
        got = await self.client.request(
            method, str(url), headers=asked.headers, body=body or None, max_bytes=max_bytes, patience=patience
        )
        if isinstance(got, FetchFailure):
            return PeerFailure(reason=PeerFailureReason.UNREACHABLE, failure=got)
        answer = ResponseMessage(status=got.status, headers=got.headers, body=got.body.data)
        try:
            verify_answer(answer, peer=peer, now=self.clock.now())
        except (MalformedError, VerificationError) as error:
            # A proxy in front of the peer signs nothing; that it is away is all that can be told.
            detail = f"an answer of status {answer.status}: {error}"
            return PeerFailure(reason=PeerFailureReason.UNVERIFIED, detail=detail)
        return answer if answer.status == expected else _read_refusal(answer)


def _read_page(answer: ResponseMessage, *, after: int | None) -> FeedPage:
    members, listed = cut_table(_decode(answer), "items")
    oldest = _read_number(members.get("oldest", "")) if members.get("error") == '"OutdatedCursor"' else None
    items = tuple(_read_item(one) for one in listed)
    numbers = [item.seq for item in items]
    begin = max(after or 0, (oldest or 0) - 1)
    cursor = _read_number(members.get("cursor", ""))
    # A feed that went backwards would be read for ever.
    if sorted(set(numbers)) != numbers or not all(begin < number <= cursor for number in numbers):
        raise MalformedError("items that are not in the order of their numbers")
    if cursor < begin or len(items) > MAX_PAGE:
        raise MalformedError("a page that does not go on from the cursor")
    return FeedPage(cursor=cursor, items=items, bits=_read_number(members.get("bits", "")), oldest=oldest)


def _read_item(members: Mapping[str, str]) -> FeedItem:
    kind = _KINDS.get(members.get("kind", ""))
    if kind is None or "object" not in members:
        raise MalformedError("an item of a kind that we do not know")
    return FeedItem(seq=_read_number(members.get("seq", "")), kind=kind, object=members["object"].encode())


def _read_number(text: str) -> int:
    if _NUMBER.fullmatch(text) is None or int(text) > MAX_SAFE_INTEGER:
        raise MalformedError("not a number")
    return int(text)


def _read_refusal(answer: ResponseMessage) -> PeerFailure:
    try:
        members = cut_members(_decode(answer))
        bits = _read_number(members["bits"]) if "bits" in members else None
    except MalformedError:
        members, bits = {}, None
    reason = _ERRORS.get(members.get("error", _NO_MEMBER)) or _STATUSES.get(answer.status)
    if reason is None:
        detail = f"an answer of status {answer.status}"
        return PeerFailure(reason=PeerFailureReason.MALFORMED, detail=detail)
    return PeerFailure(reason=reason, bits=bits)


# What the statuses of the exchange mean to whoever asks; see `relay.web.problems` for whoever answers.
_STATUSES: Final = {
    401: PeerFailureReason.REFUSED,
    403: PeerFailureReason.REFUSED,
    404: PeerFailureReason.NOT_THERE,
    429: PeerFailureReason.BUSY,
    503: PeerFailureReason.BUSY,
}
_ERRORS: Final = {
    '"FutureCursor"': PeerFailureReason.FUTURE_CURSOR,
    '"TooBroad"': PeerFailureReason.TOO_BROAD,
}


def _decode(answer: ResponseMessage) -> str:
    try:
        return answer.body.decode()
    except UnicodeDecodeError as error:
        raise MalformedError("not UTF-8") from error


def _malformed(error: MalformedError) -> PeerFailure:
    return PeerFailure(reason=PeerFailureReason.MALFORMED, detail=str(error))
