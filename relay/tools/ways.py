"""The ways by which a delivery can still reach a backend that would not take it as it came in; pure.

They are described in `relay.stages.release`, which goes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from relay.errors import MalformedActivityError
from relay.model import Activity, Audience
from relay.tools.documents import Document, read_document
from relay.tools.urls import is_same_origin
from signatures.errors import SignatureError
from signatures.http import fresh_until
from signatures.strictjson import JsonValue

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from db.delivery_rows import StoredDelivery
    from relay.backends.intake import Intake
    from signatures.message import RequestMessage

# No server's own window is longer than twice the one that we reckon with. Source: `SIGNATURE_WINDOWS`.
_MARGIN: Final = 2

_POSTS: Final = frozenset({"Create", "Update"})

Extract = Callable[[JsonValue], Activity]
"""Read what a document says; raises MalformedActivityError where it is no object."""


class Way(StrEnum):
    """How a delivery can reach a backend that would not take it as it came in."""

    SIGN_ANEW = "sign_anew"
    RESOLVE = "resolve"
    LAST_REPLAY = "last_replay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What decides about the ways of a delivery.

    Attributes:
        fresh_until: When the backend's window ends, less the margin.
        ends: When it ends for certain.
        type: The type of the activity.
        inner_signature: The type of the signature inside it; empty where there is none.
        target: The object that the backend may be made to fetch; empty where there is none.
        target_is_new: The activity brings that object for the first time.
    """

    fresh_until: datetime
    ends: datetime
    type: str = ""
    inner_signature: str = ""
    target: str = ""
    target_is_new: bool = False


def decide_ways(letter: Letter, *, intake: Intake, can_resolve: bool, now: datetime) -> tuple[Way, ...]:
    """Decide which ways are open to a delivery that the backend would not take as it came in."""
    ways: list[Way] = []
    is_fetched = letter.type in intake.fetches and bool(letter.target)
    if letter.inner_signature in intake.inner_signatures or is_fetched:
        ways.append(Way.SIGN_ANEW)
    if letter.target and can_resolve and (letter.target_is_new or intake.refreshes):
        ways.append(Way.RESOLVE)
    if letter.fresh_until <= now < letter.ends:
        ways.append(Way.LAST_REPLAY)
    return tuple(ways)


def read_letter(
    stored: StoredDelivery,
    message: RequestMessage,
    *,
    window: timedelta,
    extract: Extract,
    fetches_own: bool,
    fetches_any: bool,
) -> Letter:
    """Read what decides about the ways of a delivery.

    Args:
        stored: The delivery.
        message: The request as it came in.
        window: How old a signature may be when the backend sees it.
        extract: Reads the activity.
        fetches_own: The backend may fetch the object anew if it is of its sender's own origin.
        fetches_any: It may fetch whatever the activity brings.
    """
    letter = Letter(
        fresh_until=window_end(stored, message, window),
        ends=window_end(stored, message, window * _MARGIN),
    )
    document = read_document("", stored.body)
    if not isinstance(document, Document):
        return letter
    try:
        activity = extract(document.value)
        inner = document.value.get("object")
        carried = extract(inner) if activity.type == "Announce" and isinstance(inner, dict) else activity
    except MalformedActivityError:
        return letter
    is_own = stored.sender_actor is not None and is_same_origin(stored.sender_actor, carried.object_id)
    may_fetch = fetches_any or (fetches_own and is_own)
    is_post = carried.type in _POSTS and activity.audience is Audience.PUBLIC
    return replace(
        letter,
        type=activity.type,
        inner_signature=_inner_signature(document.value.get("signature")),
        target=carried.object_id if is_post and may_fetch else "",
        target_is_new=carried.type == "Create",
    )


def window_end(stored: StoredDelivery, message: RequestMessage, window: timedelta) -> datetime:
    """Return when a request becomes too old; one that cannot be read any more counts from its arrival."""
    try:
        return fresh_until(message, max_age=window)
    except SignatureError:
        return stored.received_at + window


def _inner_signature(value: JsonValue) -> str:
    kind = value.get("type") if isinstance(value, dict) else None
    return kind if isinstance(kind, str) else ""
