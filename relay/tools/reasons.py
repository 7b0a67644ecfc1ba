"""What the reason at a delivery says, for a person: what happened, what it means, what to do.

One table for every reason that the relay writes down; a test holds it against the code. Reasons with a
number or a word of the backend at their end are looked up by their beginning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from signatures.errors import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A reason in sentences.

    Attributes:
        happened: What happened.
        means: What it means for the post and its people.
        to_do: What to do now; empty where there is nothing to do.
    """

    happened: str
    means: str
    to_do: str = ""


_REPLAY: Final = "Then `breakwater deliveries replay` brings it back."
_NOT_THERE: Final = "Your users have not seen it."
_MEDIA_STAY: Final = "Your users see the text; the media stay withheld at the media door."
_TOKEN: Final = (
    "Give the relay a token for the backend's API (backend.token), with which the backend can be asked to "
    "fetch posts from their origin; `breakwater doctor` checks it. " + _REPLAY
)

_EXACT: Final[Mapping[str, Explanation]] = {
    # Where a delivery waits.
    "busy": Explanation(
        happened="Its examination took long while others did, too, and was put off.",
        means="It is examined in a moment.",
    ),
    "interrupted": Explanation(
        happened="The relay stopped while it was being examined.",
        means="It is examined again when the relay runs.",
    ),
    "not_examined": Explanation(
        happened="Its media could not be looked at: their server did not answer, or no decoder was free.",
        means="It is tried again for three days and then given up. " + _NOT_THERE,
        to_do="If the media's server is back, `breakwater deliveries replay` examines it again.",
    ),
    "sender_unknown": Explanation(
        happened="The server of its sender did not hand out the sender's key.",
        means="Nobody knows whether it is genuine, so that it is tried again for three days. " + _NOT_THERE,
        to_do="If that server is back, `breakwater deliveries replay` examines it again.",
    ),
    "media_withheld": Explanation(
        happened="Media in it are withheld by your policy.",
        means="Without a media door the whole post is held for a ruling; behind one its text goes through.",
        to_do="Rule on its cases: `breakwater cases list`.",
    ),
    "too_many_references": Explanation(
        happened="It points at more media than are examined for one post.",
        means="What nobody looked at is not let through, so that the whole post is held. " + _NOT_THERE,
        to_do="Rule on its case: `breakwater cases list`.",
    ),
    # What a person or the policy decided.
    "released": Explanation(
        happened="Nothing in it is withheld, by what was found or by a ruling.",
        means="It is handed to the backend.",
    ),
    "budget_over": Explanation(
        happened="The time for holding it was over.",
        means="It is handed to the backend. " + _MEDIA_STAY,
        to_do="Rule on its cases: `breakwater cases list`.",
    ),
    "replayed": Explanation(
        happened="A person brought it back from the dead letters.",
        means="It is examined again and then handed to the backend.",
    ),
    "policy": Explanation(
        happened="Your policy drops deliveries with what was found in it.",
        means="It is gone, with its text. " + _NOT_THERE,
    ),
    "ruled": Explanation(
        happened="A person has blocked exactly these media before.",
        means="It is gone, with its text. " + _NOT_THERE,
    ),
    "upheld": Explanation(
        happened="A person ruled that its media stay withheld.",
        means="It is gone, with its text. " + _NOT_THERE,
    ),
    "superseded": Explanation(
        happened="Its author deleted the post before it reached the backend.",
        means="It is gone, and the Delete went on to the backend.",
    ),
    "dropped_by_hand": Explanation(
        happened="A person dropped it from the dead letters.",
        means="It is gone. " + _NOT_THERE,
    ),
    # How it reached the backend.
    "relay_signed": Explanation(
        happened="Its signature was too old; the relay sent the same bytes in a request of its own.",
        means="The backend has it, and finds out by itself whether it is genuine.",
    ),
    "resolved": Explanation(
        happened="Its signature was too old; the backend fetched the post from its origin instead.",
        means="The post is there. It may be missing from home timelines and notifications.",
    ),
    # Why it was given up.
    "too_old": Explanation(
        happened="It waited longer than the backend accepts a signature, and there is no other way: its "
        "author did not sign inside it what the backend would verify, and it could not be fetched either.",
        means=_NOT_THERE,
        to_do="If it is a post: " + _TOKEN + " What is no post (a like, a follow, a deletion) cannot be "
        "fetched: drop it.",
    ),
    "never_ruled": Explanation(
        happened="It was held for a ruling, and nobody ruled within three days.",
        means="Its media stay withheld. " + _NOT_THERE,
        to_do="`breakwater deliveries replay` examines it again and asks for the ruling again, if its bytes "
        "are still kept.",
    ),
    "poison": Explanation(
        happened="The relay lost its worker again and again while working on it.",
        means="Something in it crashes or stalls the relay; it is set aside. " + _NOT_THERE,
        to_do="Look into the log around that time. After an update of the relay "
        "`breakwater deliveries replay` tries it again.",
    ),
    "malformed": Explanation(
        happened="Its body can no longer be read as an activity.",
        means="It was accepted under other bounds, or was damaged. " + _NOT_THERE,
        to_do="Nothing brings it back; drop it.",
    ),
    # What the sender's signature was found to be, once its key could be had.
    "key_gone": Explanation(
        happened="The key of its sender is gone for good.",
        means="Nobody can say who sent it, so that it was dropped.",
    ),
    "wrong_origin": Explanation(
        happened="Its sender does not speak for the actor that it names.",
        means="It is not genuine, and was dropped.",
    ),
}

_FORGED: Final = Explanation(
    happened="Its signature does not hold.",
    means="It is not what it claims to be, and was dropped.",
)

_FAMILIES: Final[Mapping[str, Explanation]] = {
    "relay_signed_backend_answered_": Explanation(
        happened="Its signature was too old, and the backend refused the same bytes in a request of the "
        "relay's own.",
        means=_NOT_THERE,
        to_do="See that the backend can reach the relay's actor (identity.base_url, on a host name of the "
        "relay's own), and look into the backend's log. " + _REPLAY,
    ),
    "backend_answered_401": Explanation(
        happened="The backend refused its signature, although the relay found it genuine.",
        means="The backend takes it for too old, or sees it under another host name or path. " + _NOT_THERE,
        to_do="See that the proxy in front and the relay pass on the Host that was signed, and that all "
        "clocks are right. " + _REPLAY,
    ),
    "backend_answered_2": Explanation(
        happened="The backend took it.", means="What becomes of it is up to the backend."
    ),
    "backend_answered_3": Explanation(
        happened="The backend answered with a redirect, which an inbox never does.",
        means="The relay reaches something else than the inbox. It is tried again for three days.",
        to_do="Check backend.url. " + _REPLAY,
    ),
    "backend_answered_408": Explanation(
        happened="The backend asked for another try.", means="It is tried again for three days."
    ),
    "backend_answered_429": Explanation(
        happened="The backend asked to be left alone for a while.",
        means="It is tried again for three days.",
        to_do="If this goes on, exempt the relay from the backend's rate limit. " + _REPLAY,
    ),
    "backend_answered_4": Explanation(
        happened="The backend refused it.",
        means="That is the backend's own decision, for instance a domain that it blocks.",
    ),
    "backend_answered_5": Explanation(
        happened="The backend had an error of its own.",
        means="It is tried again for three days. " + _NOT_THERE,
        to_do="Look into the backend's log. " + _REPLAY,
    ),
    "backend_": Explanation(
        happened="The backend could not be reached, or did not answer in time.",
        means="It is tried again for three days. " + _NOT_THERE,
        to_do="Start the backend, and check backend.url with `breakwater doctor`. " + _REPLAY,
    ),
    "resolve_unauthorized": Explanation(
        happened="Its signature was too old, and the backend's API does not accept the relay's token.",
        means="The backend could not be asked to fetch the post. " + _NOT_THERE,
        to_do="Make a new token and configure it (backend.token). " + _REPLAY,
    ),
    "resolve_forbidden": Explanation(
        happened="Its signature was too old, and the relay's token may not look posts up.",
        means="The backend could not be asked to fetch the post. " + _NOT_THERE,
        to_do="Give the token what `breakwater doctor` says that it lacks. " + _REPLAY,
    ),
    "resolve_not_found": Explanation(
        happened="Its signature was too old, and the backend could not fetch the post from its origin.",
        means="The origin is down, keeps the post from the backend, or its author deleted it.",
        to_do="If it still stands at its origin, `breakwater deliveries replay` tries again; else drop it.",
    ),
    "resolve_not_supported": Explanation(
        happened="Its signature was too old, and the backend's API cannot fetch posts.",
        means=_NOT_THERE,
        to_do="Nothing brings it back; drop it.",
    ),
    "resolve_refused": Explanation(
        happened="Its signature was too old, and the backend refused to fetch the post from its origin.",
        means="The backend may block that server. " + _NOT_THERE,
        to_do="Look into the backend's log. " + _REPLAY,
    ),
    "resolve_": Explanation(
        happened="Its signature was too old, and the backend's API was away or busy.",
        means="It is tried again for three days. " + _NOT_THERE,
        to_do="See that backend.api_url answers. " + _REPLAY,
    ),
}

_UNTOLD: Final = Explanation(
    happened="Nothing has happened to it yet.", means="It waits for its turn in the queue."
)
_UNKNOWN: Final = Explanation(
    happened="It carries a reason that this version of the relay does not know.",
    means="Another version of the relay has worked on it.",
    to_do="Ask that version: `breakwater deliveries show`.",
)


def explain(reason: str | None) -> Explanation:
    """Explain why a delivery stands where it stands."""
    found = find_explanation(reason) if reason else _UNTOLD
    return found or _UNKNOWN


def find_explanation(reason: str) -> Explanation | None:
    """Find what a reason says; None for one that is not in the table."""
    if reason in _EXACT:
        return _EXACT[reason]
    # The longest beginning that is known says most.
    known = [beginning for beginning in _FAMILIES if reason.startswith(beginning)]
    if known:
        return _FAMILIES[max(known, key=len)]
    return _FORGED if reason in set(Reason) else None
