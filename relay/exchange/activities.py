"""Read the four activities that a relay's own inbox takes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from relay.errors import BreakwaterError
from relay.tools.urls import is_same_origin
from signatures.errors import MalformedError
from signatures.origins import MAX_URL_CHARS
from signatures.strictjson import parse_json

if TYPE_CHECKING:
    from signatures.strictjson import JsonValue

MAX_ACTIVITY_BYTES: Final = 65_536
"""A Follow has 300 bytes; what brings its whole actor along has some thousands."""

_MAX_DEPTH: Final = 16


class Verb(StrEnum):
    """The activities that a relay's inbox takes."""

    FOLLOW = "Follow"
    ACCEPT = "Accept"
    REJECT = "Reject"
    UNDO = "Undo"


class MalformedFollowError(BreakwaterError):
    """A body is not one of the activities that a relay's inbox takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowActivity:
    """One of the four activities, read and not yet believed.

    Attributes:
        verb: Its type.
        id: Its id.
        actor: Whom it says that it is from.
        object_id: For a Follow whom it is about, else the id of the Follow that it is about.
    """

    verb: Verb
    id: str
    actor: str
    object_id: str


def parse_follow_activity(body: bytes) -> FollowActivity:
    """Parse the body of a delivery to a relay's own inbox.

    Raises:
        MalformedFollowError: It is no JSON object, or not one of the four activities with an actor, an object
            and an id on the actor's own origin.
    """
    try:
        value = parse_json(
            body,
            max_bytes=MAX_ACTIVITY_BYTES,
            max_depth=_MAX_DEPTH,
            allow_floats=True,
            allow_big_ints=True,
        )
    except MalformedError as error:
        raise MalformedFollowError(f"This is no activity: {error}.") from error
    if not isinstance(value, dict):
        raise MalformedFollowError("This is no activity: it is not an object.")
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in set(Verb):
        raise MalformedFollowError("A relay's inbox takes Follow, Accept, Reject and Undo only.")
    own_id, actor, target = (_id_of(value.get(name)) for name in ("id", "actor", "object"))
    if not actor or not target:
        raise MalformedFollowError(f"The {kind} names no actor or no object.")
    # FEP-fe34: an actor names its activities on its own origin; an Undo could else be made to fit another's.
    if not is_same_origin(own_id, actor):
        raise MalformedFollowError(f"The {kind} has no id on its actor's own server.")
    return FollowActivity(verb=Verb(kind), id=own_id, actor=actor, object_id=target)


def _id_of(value: JsonValue) -> str:
    """Return the id of what is named or embedded; empty for none, and for one that no row could hold."""
    found = value.get("id") if isinstance(value, dict) else value
    return found if isinstance(found, str) and len(found) <= MAX_URL_CHARS and "\0" not in found else ""
