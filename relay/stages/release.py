"""Release: bring a delivery to the backend, also when its signature has grown too old for it.

Four ways, in this order:

1. The request as it came in, while the backend still takes its signature. Nothing is lost in this way.
2. The same body, not a byte of it changed, in a request that the relay's own actor signs: where the activity
   carries a signature of its author that the backend verifies, or where the backend then fetches the
   object from its origin.
3. The backend is asked, through its API, to fetch the object from its origin. The post arrives; it may be
   missing from home timelines and notifications.
4. The request as it came in, once more. The window that we reckon with is shorter than the backend's own, by
   a margin; its refusal then means that the delivery is too old.

What finds no way is a dead letter with the reason, which a person can replay.

What the backend fetches by itself (the second half of 2, and 3) is not what was examined: between the look
and the fetch the origin can change the post and the media in it. Behind a media door of ours it does not
matter, for what is fetched is examined then. Without one it is what happens with every URL in a replayed
request as well, so that it is done only for what was released as a whole, is public, and comes from the
origin of the very sender who was authenticated: a stranger cannot have somebody else's post fetched.

For the second way the backend must be able to fetch the relay's actor, from a host name that is not its own:
servers look for actors under their own name in their own tables.

Not checked here: that the signature inside the activity is good. The backend verifies it, and may do so after
it has answered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol, assert_never

from db import media
from relay.backends.abilities import ApiFailure, Refusal, Resolved
from relay.model import Dispatched, MediaDecision, Receipt
from relay.tools.policy import DEFAULT_USER_AGENT
from relay.tools.ways import Extract, Letter, Way, decide_ways, read_letter, window_end
from signatures.errors import SignatureError
from signatures.http import Scheme
from signatures.message import without_headers

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from db.delivery_rows import StoredDelivery
    from db.pool import Database
    from relay.backends.intake import Intake
    from relay.tools.fetching import Signer
    from signatures.message import RequestMessage

TOO_OLD: Final = "too_old"
RESOLVED: Final = "resolved"
RELAY_SIGNED: Final = "relay_signed"

# What was about the first sender: its signature, its rights, its software.
_SENDERS_OWN: Final = ("signature", "signature-input", "authorization", "user-agent")

# An origin that restarts is back within a quarter of an hour; what is not to be had then may be deleted.
_NOT_FOUND_TRIES: Final = 4

Forward = Callable[["RequestMessage"], Awaitable[Dispatched]]
"""Hand a request to the backend."""


class Resolver(Protocol):
    """What makes the backend fetch an object from its origin."""

    async def resolve(self, url: str) -> Resolved | ApiFailure:
        """Make the backend fetch an object, unless it has it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseTools:
    """What a release works with.

    Attributes:
        signer: Signs as the relay's own actor, whose document the backend must be able to fetch.
        resolver: The backend's API; None where it has none or there is no token for it.
        intake: What the backend takes in from another actor.
        window: How old a signature may be when the backend sees it.
        enforces_media: What the backend fetches goes through a media door of ours.
    """

    signer: Signer
    resolver: Resolver | None
    intake: Intake
    window: timedelta
    enforces_media: bool


async def release(
    stored: StoredDelivery,
    message: RequestMessage,
    *,
    extract: Extract,
    forward: Forward,
    tools: ReleaseTools,
    database: Database,
    now: datetime,
) -> Dispatched:
    """Bring a decided delivery to the backend by the first way that leads there.

    Args:
        stored: The delivery.
        message: The request as it came in.
        extract: Reads the activity.
        forward: Hands a request to the backend.
        tools: Everything else that is needed.
        database: What was decided on its media.
        now: The time.

    Raises:
        DatabaseError: It is not known whether it was released as a whole; it is tried again later.
    """
    failed = Dispatched(receipt=Receipt.STALE, reason=TOO_OLD)
    if now < window_end(stored, message, tools.window):
        failed = await forward(message)
        if failed.receipt is not Receipt.STALE:
            return failed
    letter = read_letter(
        stored,
        message,
        window=tools.window,
        extract=extract,
        fetches_own=tools.enforces_media or await _is_released_whole(stored.id, database),
        fetches_any=tools.enforces_media,
    )
    for way in decide_ways(letter, intake=tools.intake, can_resolve=tools.resolver is not None, now=now):
        dispatched = await _go(way, letter, stored, message, forward=forward, tools=tools)
        if dispatched.receipt is not Receipt.STALE:
            return dispatched
        # Of several reasons the last one that says more than that it is old is the one to act upon.
        failed = failed if dispatched.reason == TOO_OLD else dispatched
    return failed


async def _go(
    way: Way,
    letter: Letter,
    stored: StoredDelivery,
    message: RequestMessage,
    *,
    forward: Forward,
    tools: ReleaseTools,
) -> Dispatched:
    """Go one way; STALE where it leads nowhere."""
    match way:
        case Way.LAST_REPLAY:
            return _as_too_old(await forward(message))
        case Way.SIGN_ANEW:
            return await _sign_anew(message, forward=forward, signer=tools.signer)
        case Way.RESOLVE:
            return await _resolve(letter.target, tries=stored.retries, resolver=tools.resolver)
    assert_never(way)


async def _sign_anew(message: RequestMessage, *, forward: Forward, signer: Signer) -> Dispatched:
    """Hand over the same body in a request of the relay's own."""
    headers = (*without_headers(message.headers, *_SENDERS_OWN), ("User-Agent", DEFAULT_USER_AGENT))
    try:
        signed = signer(replace(message, headers=headers), Scheme.CAVAGE)
    except SignatureError:
        # Some header stands there twice; nobody could say which of them is signed.
        return Dispatched(receipt=Receipt.STALE, reason=TOO_OLD)
    dispatched = await forward(signed)
    match dispatched.receipt:
        case Receipt.TAKEN:
            return Dispatched(receipt=Receipt.TAKEN, reason=RELAY_SIGNED)
        case Receipt.TRY_AGAIN:
            return dispatched
        case Receipt.STALE | Receipt.REFUSED:
            return Dispatched(receipt=Receipt.STALE, reason=f"{RELAY_SIGNED}_{dispatched.reason}")
    assert_never(dispatched.receipt)


async def _resolve(url: str, *, tries: int, resolver: Resolver | None) -> Dispatched:
    """Have the backend fetch the object."""
    if resolver is None:
        return Dispatched(receipt=Receipt.STALE, reason=TOO_OLD)
    answer = await resolver.resolve(url)
    if isinstance(answer, Resolved):
        return Dispatched(receipt=Receipt.TAKEN, reason=RESOLVED)
    may_pass = answer.may_pass or (answer.kind is Refusal.NOT_FOUND and tries < _NOT_FOUND_TRIES)
    receipt = Receipt.TRY_AGAIN if may_pass else Receipt.STALE
    return Dispatched(receipt=receipt, reason=f"resolve_{answer.kind.value}")


def _as_too_old(dispatched: Dispatched) -> Dispatched:
    """Take every refusal of an old request for what it most likely is."""
    if dispatched.receipt in {Receipt.STALE, Receipt.REFUSED}:
        return Dispatched(receipt=Receipt.STALE, reason=TOO_OLD)
    return dispatched


async def _is_released_whole(delivery_id: int, database: Database) -> bool:
    async with database.connection() as conn:
        rows = await media.list_delivery_media(conn, delivery_id)
    return all(row.decision == MediaDecision.RELEASE for row in rows)
