"""Look at what the backend's own people uploaded: fetch it as the world would, examine, attest, act.

By the time the backend tells of a post it has stored and shown it, so that nothing can be withheld here. What
is found leads to a case and, for known bytes, to what the admin wants done on the backend; where nothing is
found, the attestation is the origin's own word for the bytes that it serves.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from relay.errands.results import Carried, GivenUp, Later, Result
from relay.model import (
    Decision,
    DeliveryDecision,
    Door,
    FetchFailure,
    Location,
    Media,
    MediaOutcome,
    MediaReference,
    Place,
)
from relay.pipeline import look
from relay.services.exposure import Exposure
from relay.stages.act import plan_for_outcome
from relay.stages.attest import attest
from relay.stages.fetch import fetch
from relay.stages.publish import publish_outcome
from relay.stages.record import record_stored
from relay.tools.statuses import MalformedStatusError, Status, read_payload
from relay.tools.urls import MalformedUrlError, parse_url

if TYPE_CHECKING:
    from db.errands import Errand
    from relay.line import Tools
    from relay.stages.fetch import MediaSource

_log = logging.getLogger(__name__)

# One fetch may take a minute and one scan a third of it, as for a delivery; a post has four files, mostly.
_EXAMINE_WITHIN: Final = timedelta(minutes=10)

# What was deleted since needs no look, and is the one failure that is an answer.
_DELETED: Final = frozenset({FetchFailure.GONE})
_PASSING: Final = frozenset(
    {
        FetchFailure.UNRESOLVED,
        FetchFailure.UNREACHABLE,
        FetchFailure.TIMEOUT,
        FetchFailure.TOO_SLOW,
        FetchFailure.SERVER_ERROR,
        FetchFailure.TLS,
    }
)
_NOT_EXAMINED: Final = "not_examined: a detector could not look"
_UNKNOWN_HOST: Final = (
    "unknown_media_host: the media lie on a host that is not known as the server's own; name it in "
    "uploads.media_hosts"
)
_REMEDIES: Final = {
    FetchFailure.REFUSED_ADDRESS: "the server's media host resolves to a private address or to the relay's "
    "own; name that address and its port in fetch.allow_private",
    FetchFailure.REFUSED_URL: "the address is none that may be fetched; see fetch.ports and fetch.allow_http",
    FetchFailure.FORBIDDEN: "the server does not give its media to the relay; let it fetch them",
    FetchFailure.TOO_LARGE: "the media are longer than fetch.max_media_bytes; look at them yourself",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadTools:
    """What uploads are examined with.

    Attributes:
        line: What the line works with.
        hosts: The hosts that the server's own media are fetched from.
        source: Fetches them.
    """

    line: Tools
    hosts: frozenset[str]
    source: MediaSource


async def examine_upload(errand: Errand, *, tools: UploadTools) -> Result:
    """Examine the media of one post.

    Raises:
        DatabaseError: Something could not be looked up or recorded; the post is looked at again.
    """
    try:
        status = read_payload(errand.payload)
    except MalformedStatusError:
        return GivenUp(reason="malformed: the errand's own payload cannot be read")
    deadline = asyncio.get_running_loop().time() + _EXAMINE_WITHIN.total_seconds()
    outcomes: list[MediaOutcome] = []
    result: Result = Carried()
    for url in status.media:
        if not is_own(url, tools.hosts):
            result = _worse(result, GivenUp(reason=_UNKNOWN_HOST))
            continue
        found = await _examine_one(url, status, source=tools.source, tools=tools.line, deadline=deadline)
        if isinstance(found, MediaOutcome):
            outcomes.append(found)
            if found.retry:
                result = _worse(result, Later(reason=_NOT_EXAMINED))
        elif found not in _DELETED:
            result = _worse(result, _explain(found, errand))
    if status.is_public:
        # The rest of what may be attested, attest itself knows: our own scans, complete, without a finding.
        decision = Decision(
            delivery=DeliveryDecision.FORWARD, outcomes=tuple(outcomes), reason=Door.UPLOADS.value
        )
        issued = await attest(decision, tools=tools.line.vouching, now=tools.line.clock.now())
        for _ in range(issued):
            tools.line.metrics.count_attestation(outcome="issued")
    return result


def is_own(url: str, hosts: frozenset[str]) -> bool:
    """Tell whether an address is of the server's own media."""
    try:
        return parse_url(url).host in hosts
    except MalformedUrlError:
        return False


async def _examine_one(
    url: str, status: Status, *, source: MediaSource, tools: Tools, deadline: float
) -> MediaOutcome | FetchFailure:
    reference = MediaReference(url=url, location=Location.UPLOAD)
    try:
        async with asyncio.timeout_at(deadline), tools.memory.open_account() as account:
            media = await fetch(
                reference, client=source, max_bytes=tools.max_media_bytes, reserve=account.grow
            )
            if not isinstance(media, Media):
                tools.metrics.count_fetch_failure(reason=media.value)
                return media
            exposure = Exposure.PUBLIC if status.is_public else Exposure.RESTRICTED
            outcome = await look(media, reference, tools=tools, exposure=exposure)
    except TimeoutError:
        return FetchFailure.TIMEOUT
    place = Place(object_id=status.uri, actor_id=status.actor, may_be_removed=True)
    errands = await plan_for_outcome(outcome, place, acting=tools.acting, database=tools.database)
    case_id = await record_stored(
        outcome,
        place,
        door=Door.UPLOADS,
        database=tools.database,
        now=tools.clock.now(),
        errands=errands,
    )
    publish_outcome(outcome, door=Door.UPLOADS, is_new_case=case_id is not None, metrics=tools.metrics)
    return outcome


def _explain(failure: FetchFailure, errand: Errand) -> Result:
    remedy = _REMEDIES.get(failure, "")
    _log.error(
        "upload_not_fetched errand=%d reason=%s%s",
        errand.id,
        failure.value,
        f" remedy='{remedy}'" if remedy else "",
    )
    reason = f"{failure.value}: {remedy}" if remedy else failure.value
    return Later(reason=reason) if failure in _PASSING else GivenUp(reason=reason)


def _worse(first: Result, second: Result) -> Result:
    """Keep what must be tried again over what failed, so that nothing of a post is left out for the rest."""
    order = (Carried, GivenUp, Later)
    return max(first, second, key=lambda one: order.index(type(one)))
