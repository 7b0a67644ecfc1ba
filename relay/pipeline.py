"""The line.

    delivery ─ authenticate ─ extract ─┐
                                       ├─ per media: fetch ─ consult ─ scan ─► evidence ─┐
    gateway / validator / sweep ───────┘                                                 │
                                         decide ─ dispatch ─ attest ─ publish ◄──────────┘

`receive` is what the inbox door calls: it says what a delivery points at and who sent it, and either
hands it straight through (no media) or stores it, so that the sender can be answered. `examine` is
what a worker calls for a stored delivery: it turns every media reference into evidence and the
evidence into a decision. `deliver` hands the delivery to the backend, and `vouch` signs what our own
scan did not find. Two sentences hold throughout: the bytes delivered are the bytes scanned, and not
knowing is evidence.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, assert_never

from relay.backends.answer import BackendAnswer
from relay.line import (
    Accepted,
    LookTools,
    Overloaded,
    PassedThrough,
    Refused,
    Reply,
    Tools,
    Vanished,
)
from relay.looks import choose_scans, look, weigh
from relay.model import (
    Activity,
    Audience,
    Decision,
    Delivery,
    DeliveryDecision,
    Dispatched,
    Door,
    Evidence,
    EvidenceBasis,
    FetchFailure,
    Media,
    MediaOutcome,
    MediaReference,
    Sender,
)
from relay.services.exposure import Exposure
from relay.stages.attest import attest
from relay.stages.authenticate import (
    Authenticated,
    Rejected,
    Unverifiable,
    UnverifiableReason,
    authenticate,
)
from relay.stages.bind import is_bound
from relay.stages.consult import consult_digest, was_released_unseen
from relay.stages.decide import decide, judge
from relay.stages.dereference import follow
from relay.stages.dispatch import forward, pass_through
from relay.stages.extract import extract, parse_activity
from relay.stages.fetch import fetch
from relay.stages.gather import Reach
from relay.stages.publish import publish, publish_outcome
from relay.stages.record import record_outcome
from relay.stages.release import release
from relay.stages.store import is_queued_behind, store
from relay.tools.key_limits import BoundedKeys
from relay.tools.references import MAX_REFERENCES, merge_references
from signatures.message import RequestMessage, header_values

if TYPE_CHECKING:
    from datetime import datetime

    from db.delivery_rows import StoredDelivery
    from relay.stages.authenticate import Keys
    from signatures.strictjson import JsonValue

__all__ = [
    "Accepted",
    "Overloaded",
    "PassedThrough",
    "Refused",
    "Reply",
    "Tools",
    "deliver",
    "examine",
    "examine_bytes",
    "find_outcome",
    "judge_unseen",
    "look",
    "note",
    "receive",
    "vouch",
    "weigh",
]

# Media of one delivery that are looked at side by side: enough to hide the network's latency, few
# enough that one delivery cannot take every worker.
_SIDE_BY_SIDE: Final = 4

# One fetch may take a minute and one scan a third of it. What has not been seen by then is not known yet, and
# is looked at again later.
_EXAMINE_WITHIN: Final = timedelta(minutes=2)

# Senders give up after 5 s at the soonest; whose key takes longer is stored and verified by a worker.
_KEY_WITHIN: Final = timedelta(seconds=4)


async def receive(message: RequestMessage, *, remote_address: str, tools: Tools) -> Reply:
    """Take in one POST to an inbox.

    Raises:
        MalformedActivityError: The body is not an activity.
        DatabaseUnavailableError: It could not be stored; nothing was accepted.
        DatabaseError: As above, and it is no use to try again.
    """
    if not header_values(message.headers, "signature"):
        # Before the body costs anything: reading a hostile one to its end takes a quarter of a second.
        return Refused(reason="no_signature")
    now = tools.clock.now()
    document = parse_activity(message.body)
    activity = extract(document)
    keys = BoundedKeys(
        directory=tools.keys, fair_share=tools.lookups, address=remote_address, clock=tools.clock
    )
    sender: Sender | Vanished | Refused | None = None
    try:
        async with asyncio.timeout(_KEY_WITHIN.total_seconds()):
            sender = await identify(message, activity, document, keys=keys, tools=tools, now=now)
    except TimeoutError:
        pass  # It stays unknown, like one whose origin is down.
    if isinstance(sender, Refused):
        return sender
    delivery = Delivery(
        message=message,
        remote_address=remote_address,
        received_at=now,
        document=document,
        activity=activity,
        sender=sender if isinstance(sender, Sender) else None,
    )
    is_selftest = tools.backends.is_selftest(delivery.sender)
    if not needs_examination(activity, examines_restricted=tools.examines_restricted) and sender is not None:
        is_queued = await is_queued_behind(delivery, database=tools.database)
        backend = tools.backends.choose(is_selftest=is_selftest)
        answer = None if is_queued else await pass_through(message, backend=backend)
        if isinstance(answer, BackendAnswer):
            return PassedThrough(answer=answer)
    refused = await store(delivery, database=tools.database, hold=tools.hold, is_selftest=is_selftest)
    return Accepted() if refused is None else Overloaded(is_flood=refused.is_flood)


async def identify(
    message: RequestMessage,
    activity: Activity,
    document: JsonValue,
    *,
    keys: Keys,
    tools: Tools,
    now: datetime,
) -> Sender | Vanished | Refused | None:
    """Find out who sent a delivery; None while the key's origin does not answer.

    Raises:
        DatabaseUnavailableError: A key could not be looked up.
        DatabaseError: As above, and it is no use to try again.
    """
    authenticated = await authenticate(message, keys=keys, now=now, policy=tools.authentication)
    match authenticated:
        case Rejected(reason=reason):
            return Refused(reason=reason.value)
        case Unverifiable(reason=UnverifiableReason.GONE):
            return Vanished() if _is_farewell(activity, document) else Refused(reason="key_gone")
        case Unverifiable():
            return None
        case Authenticated(sender=sender):
            return sender if is_bound(activity, document, sender) else Refused(reason="wrong_origin")
    assert_never(authenticated)


def _is_farewell(activity: Activity, document: JsonValue) -> bool:
    """Tell whether an activity is what arrives from an actor that is gone: a Delete and nothing else.

    Nobody can sign any more for such an actor. The backend knows whether it ever knew it, and decides;
    but nothing is fetched on the word of nobody.
    """
    is_delete = isinstance(document, dict) and document.get("type") == "Delete"
    return is_delete and activity.type == "Delete" and not activity.points_at_something


def needs_examination(activity: Activity, *, examines_restricted: bool) -> bool:
    """Tell whether an activity points at anything that the line must look at."""
    return activity.points_at_something and (activity.audience is Audience.PUBLIC or examines_restricted)


async def examine(stored: StoredDelivery, *, tools: Tools) -> Decision:
    """Examine everything that a stored delivery points at, and decide.

    Raises:
        MalformedActivityError: The stored body is no activity that can be read.
        DatabaseError: Verdicts could not be read or kept, possibly inside an ExceptionGroup; the
            delivery is examined again later.
    """
    document = parse_activity(stored.body)
    activity = extract(document)
    if stored.sender_actor is None:
        # Its key could not be had when it came in. Nothing goes on before its sender is known.
        sender = await identify(
            _message(stored), activity, document, keys=tools.keys, tools=tools, now=stored.received_at
        )
        if sender is None:
            return Decision(delivery=DeliveryDecision.RETRY, outcomes=(), reason="sender_unknown")
        if isinstance(sender, Refused):
            return Decision(delivery=DeliveryDecision.DROP, outcomes=(), reason=sender.reason)
    if not needs_examination(activity, examines_restricted=tools.examines_restricted):
        return decide((), tools.policy)
    deadline = asyncio.get_running_loop().time() + _EXAMINE_WITHIN.total_seconds()
    named = await follow(
        activity, extract=extract, client=tools.client, signer=tools.signer, deadline=deadline
    )
    references = merge_references((*activity.references, *named.references))
    is_complete = not (activity.is_truncated or named.is_truncated or len(references) > MAX_REFERENCES)
    gate = asyncio.Semaphore(_SIDE_BY_SIDE)
    # Whoever is asked about bytes learns that somebody here may see them.
    is_public = stored.audience == Audience.PUBLIC
    reach = Reach.ASKING if is_public else Reach.AT_HAND
    exposure = Exposure.PUBLIC if is_public else Exposure.RESTRICTED

    async def examine_in_turn(reference: MediaReference) -> Evidence:
        try:
            async with asyncio.timeout_at(deadline), gate:
                return await examine_media(
                    reference, tools=tools, reach=reach, sender=stored.sender_actor, exposure=exposure
                )
        except TimeoutError:
            return Evidence(reference=reference, basis=EvidenceBasis.FETCH, failure=FetchFailure.TIMEOUT)

    async with asyncio.TaskGroup() as group:
        looks = [group.create_task(examine_in_turn(one)) for one in references[:MAX_REFERENCES]]
    evidence = (*(look.result() for look in looks), *named.unknown)
    if await was_released_unseen(stored.id, database=tools.database):
        # A person has let it go knowing that not everything in it could be seen.
        evidence = tuple(_let_go(one) if one.basis is EvidenceBasis.FETCH else one for one in evidence)
        is_complete = True
    return decide(evidence, tools.policy, is_complete=is_complete)


def _let_go(evidence: Evidence) -> Evidence:
    return Evidence(reference=evidence.reference, basis=EvidenceBasis.RULING, is_allowed=True)


async def examine_media(
    reference: MediaReference,
    *,
    tools: Tools,
    reach: Reach = Reach.NOWHERE,
    sender: str | None = None,
    exposure: Exposure = Exposure.UNSTATED,
) -> Evidence:
    """Turn one media reference into evidence.

    Args:
        reference: What is pointed at.
        tools: What the line works with.
        reach: How far to go for the word of a peer.
        sender: Who pointed at it, whose server's relay may know it.
        exposure: Who can see it anyway.
    """
    async with tools.memory.open_account() as account:
        media = await fetch(
            reference, client=tools.client, max_bytes=tools.max_media_bytes, reserve=account.grow
        )
        if not isinstance(media, Media):
            return Evidence(reference=reference, basis=EvidenceBasis.FETCH, failure=media)
        outcome = await look(media, reference, tools=tools, reach=reach, sender=sender, exposure=exposure)
    return outcome.evidence


async def examine_bytes(
    media: Media, reference: MediaReference, *, door: Door, tools: LookTools
) -> MediaOutcome:
    """Examine bytes that a door holds in its hands, and note what a person has to see to.

    The door releases exactly these bytes if the decision says so, and nothing else.

    Raises:
        DatabaseError: Verdicts could not be read or kept; nothing is known, and nothing is released.
    """
    # While a backend waits, nobody is asked; and what our own people bring is ours to look at.
    reach = Reach.AT_HAND if door is Door.GATEWAY else Reach.NOWHERE
    outcome = await look(media, reference, tools=tools, reach=reach)
    await note(outcome, door=door, tools=tools)
    return outcome


async def find_outcome(
    sha256: bytes, reference: MediaReference, *, door: Door, tools: Tools
) -> MediaOutcome | None:
    """Judge bytes by what is known of their digest, with one question and without the bytes.

    None where nothing is known, or where a person would need the bytes to rule on them: the door then has
    them examined.

    Raises:
        DatabaseError: It cannot be known; nothing is released.
    """
    scans = await choose_scans(sha256, Exposure.UNSTATED, tools=tools)
    evidence: Evidence | None = None
    for state in dict.fromkeys((tools.scans.state_digest, scans.state_digest)):
        evidence = evidence or await consult_digest(
            sha256, reference.declared_type, reference, database=tools.database, state_digest=state
        )
    if evidence is None:
        return None
    outcome = judge(evidence, tools.policy)
    if outcome.needs_case or outcome.purge:
        return None
    await note(outcome, door=door, tools=tools)
    return outcome


async def judge_unseen(reference: MediaReference, *, door: Door, tools: Tools) -> MediaOutcome:
    """Judge media that a door cannot have examined as a whole: too long, in parts, or in an unknown coding.

    Raises:
        DatabaseError: The case could not be opened.
    """
    # Without a report, it counts as unscannable, whatever the reason.
    outcome = judge(Evidence(reference=reference, basis=EvidenceBasis.SCAN), tools.policy)
    await note(outcome, door=door, tools=tools)
    return outcome


async def note(outcome: MediaOutcome, *, door: Door, tools: LookTools) -> None:
    """Write down what a door decided: the case, if there is a new one, and the count.

    Raises:
        DatabaseError: The case could not be opened.
    """
    case = await record_outcome(outcome, door=door, database=tools.database, now=tools.clock.now())
    publish_outcome(outcome, door=door, is_new_case=case is not None, metrics=tools.metrics)


async def deliver(stored: StoredDelivery, *, tools: Tools) -> Dispatched:
    """Bring a decided delivery to the backend: byte for byte, or another way once it is too old for that.

    Raises:
        DatabaseError: It is not known what was decided on its media; it is tried again later.
    """
    backend = tools.backends.choose(is_selftest=stored.is_selftest)
    if stored.is_selftest:
        return await forward(_message(stored), backend=backend)
    return await release(
        stored,
        _message(stored),
        extract=extract,
        forward=partial(forward, backend=backend),
        tools=tools.releasing,
        database=tools.database,
        now=tools.clock.now(),
    )


def _message(stored: StoredDelivery) -> RequestMessage:
    """Return the request as it came in."""
    return RequestMessage(
        method=stored.method,
        scheme=stored.scheme,
        authority=stored.authority,
        target=stored.target,
        headers=stored.headers,
        body=stored.body,
    )


async def vouch(stored: StoredDelivery, decision: Decision, *, tools: Tools) -> None:
    """Attest what our own scan found in media that everybody may see, and tell whoever watches."""
    publish(decision, metrics=tools.metrics)
    if stored.audience == Audience.PUBLIC and stored.sender_actor is not None:
        for _ in range(await attest(decision, tools=tools.vouching, now=tools.clock.now())):
            tools.metrics.count_attestation(outcome="issued")
