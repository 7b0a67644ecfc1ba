"""Read from an actor document what another relay says about itself: its addresses and its keys.

A document is believed about its own origin only (FEP-fe34): its id, its inbox, its API and its keys are all
of the origin that served it, and every key names the actor as its controller. Keys are parsed and admitted
here; which of them still hold is for `relay.exchange.admission`, which knows the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from relay.tools.identity import API_TERM, CAPABILITY
from relay.tools.urls import MalformedUrlError, is_same_origin, parse_url
from signatures.admission import admit_key
from signatures.errors import MalformedError, VerificationError
from signatures.keys import KeyAlgorithm, parse_multikey
from signatures.origins import MAX_URL_CHARS, without_fragment
from signatures.times import parse_time_stamp

if TYPE_CHECKING:
    from datetime import datetime

    from relay.model import FetchFailure
    from relay.tools.documents import Document
    from signatures.strictjson import JsonObject, JsonValue

# A relay has one key in use and one retired a month, since none need be kept longer than 30 days.
MAX_KEYS: Final = 16
# Real names of software have a dozen; it is shown to a person, who should see no more of a longer one.
_MAX_NAME: Final = 64
_TYPES: Final = frozenset({"Application", "Service"})


class DiscoveryReason(StrEnum):
    """Why no peer was found."""

    NO_ADDRESS = "no_address"
    """What was given is neither a domain nor the URL of an actor."""
    UNREACHABLE = "unreachable"
    """Something could not be fetched; `DiscoveryFailure.failure` says why."""
    NO_RELAY_NAMED = "no_relay_named"
    """The domain answers, and nothing there leads to a relay."""
    OTHER_ORIGIN = "other_origin"
    """One origin speaks for another."""
    NOT_AN_ACTOR = "not_an_actor"
    """The document is not that of an actor of a service."""
    NOT_A_RELAY = "not_a_relay"
    """The actor does not exchange attestations."""
    NO_KEY = "no_key"
    """It publishes no key of a kind that is needed."""
    BAD_KEY = "bad_key"
    """One of its keys must not be believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveryFailure:
    """No peer was found.

    Attributes:
        reason: Why.
        place: Where that was seen.
        detail: What exactly is wrong, as part of a sentence; may be empty.
        failure: Why `place` could not be fetched.
    """

    reason: DiscoveryReason
    place: str
    detail: str = ""
    failure: FetchFailure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorKey:
    """A key as its owner publishes it; admitted, which says nothing about the time.

    Attributes:
        key_id: Its id.
        multikey: The key.
        expires: From when on it does not hold any more.
        revoked: From when on others may have had it.
    """

    key_id: str
    multikey: str
    expires: datetime | None = None
    revoked: datetime | None = None

    def holds(self, now: datetime) -> bool:
        """Tell whether what it signs now is to be believed."""
        is_over = self.expires is not None and self.expires <= now
        return not is_over and self.revoked is None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerFacts:
    """What another relay says about itself.

    Attributes:
        actor: The id of its actor.
        domain: What it was asked for under.
        software: What it says that it runs; empty where it says nothing.
        inbox: Where it takes activities.
        api_url: Where peers ask, without a slash at its end.
        api_keys: The keys that it signs requests and answers with (`authentication`), its first choice first.
        keys: The keys that it signs attestations with (`assertionMethod`).
    """

    actor: str
    domain: str
    software: str
    inbox: str
    api_url: str
    api_keys: tuple[ActorKey, ...]
    keys: tuple[ActorKey, ...]


def read_peer(document: Document, *, asked: str, domain: str) -> PeerFacts | DiscoveryFailure:
    """Read an actor document that was fetched from `asked`."""
    try:
        return _read(document, asked=asked, domain=domain)
    except _FaultError as fault:
        return DiscoveryFailure(reason=fault.reason, place=asked, detail=fault.detail)


class _FaultError(Exception):
    """What `read_peer` turns into a value; it never leaves this module."""

    def __init__(self, reason: DiscoveryReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def _read(document: Document, *, asked: str, domain: str) -> PeerFacts:
    value = document.value
    if not is_same_origin(document.url, asked):
        raise _FaultError(DiscoveryReason.OTHER_ORIGIN, "a redirect led to another server")
    actor = value.get("id")
    # An id in any other spelling would be another peer to the database, and to every signature's key id.
    if actor != without_fragment(asked) or len(asked) > MAX_URL_CHARS:
        raise _FaultError(DiscoveryReason.OTHER_ORIGIN, "the document's id is not the address that was asked")
    if _TYPES.isdisjoint(_list_texts(value.get("type"))):
        raise _FaultError(DiscoveryReason.NOT_AN_ACTOR, "its type is neither Application nor Service")
    generator = value.get("generator")
    if not isinstance(generator, dict) or CAPABILITY not in _list_capabilities(generator):
        raise _FaultError(
            DiscoveryReason.NOT_A_RELAY, f"its generator does not say that it implements {CAPABILITY}"
        )
    endpoints = value.get("endpoints")
    api_url = endpoints.get(API_TERM) if isinstance(endpoints, dict) else None
    name = generator.get("name")
    return PeerFacts(
        actor=asked,
        domain=domain,
        software=_printable(name) if isinstance(name, str) else "",
        inbox=_read_address(value.get("inbox"), "inbox", actor=asked),
        api_url=_read_address(api_url, f"endpoints.{API_TERM}", actor=asked).rstrip("/"),
        api_keys=_read_keys(value.get("authentication"), "authentication", actor=asked),
        keys=_read_keys(value.get("assertionMethod"), "assertionMethod", actor=asked),
    )


def _read_address(value: JsonValue, name: str, *, actor: str) -> str:
    if not isinstance(value, str):
        raise _FaultError(DiscoveryReason.NOT_A_RELAY, f"it names no {name}")
    try:
        parse_url(value)
    except MalformedUrlError as error:
        raise _FaultError(DiscoveryReason.NOT_A_RELAY, f"its {name} is no address") from error
    if len(value) > MAX_URL_CHARS or not is_same_origin(value, actor):
        raise _FaultError(DiscoveryReason.OTHER_ORIGIN, f"its {name} is on another server")
    return value


def _read_keys(value: JsonValue, name: str, *, actor: str) -> tuple[ActorKey, ...]:
    entries = [entry for entry in _list(value) if isinstance(entry, dict)]
    if len(entries) > MAX_KEYS:
        raise _FaultError(DiscoveryReason.BAD_KEY, f"it publishes more than {MAX_KEYS} keys in {name}")
    keys = tuple(key for key in (_read_key(entry, name, actor=actor) for entry in entries) if key is not None)
    if not keys:
        raise _FaultError(DiscoveryReason.NO_KEY, f"there is no Ed25519 Multikey in its {name}")
    if len({key.key_id for key in keys}) != len(keys):
        raise _FaultError(DiscoveryReason.BAD_KEY, f"two keys in its {name} have one id")
    return keys


def _read_key(entry: JsonObject, name: str, *, actor: str) -> ActorKey | None:
    """Read one entry (FEP-521a); None for a kind of key that relays have no use for."""
    key_id, multikey = entry.get("id"), entry.get("publicKeyMultibase")
    if "Multikey" not in _list_texts(entry.get("type")) or not isinstance(multikey, str):
        return None
    if not isinstance(key_id, str) or len(key_id) > MAX_URL_CHARS or without_fragment(key_id) != actor:
        raise _FaultError(DiscoveryReason.OTHER_ORIGIN, f"a key in its {name} has an id that is not its own")
    if entry.get("controller") != actor:
        raise _FaultError(DiscoveryReason.OTHER_ORIGIN, f"a key in its {name} belongs to another actor")
    try:
        key = parse_multikey(multikey)
        if key.algorithm is not KeyAlgorithm.ED25519:
            return None
        admit_key(key)
        return ActorKey(
            key_id=key_id,
            multikey=multikey,
            expires=_read_time(entry.get("expires")),
            revoked=_read_time(entry.get("revoked")),
        )
    except MalformedError as error:
        raise _FaultError(DiscoveryReason.BAD_KEY, f"a key in its {name} cannot be read ({error})") from error
    except VerificationError as error:
        raise _FaultError(DiscoveryReason.BAD_KEY, f"a key in its {name} is {error.detail}") from error


def _read_time(value: JsonValue) -> datetime | None:
    return None if value is None else parse_time_stamp(value)


def _list_capabilities(generator: JsonObject) -> set[str]:
    """List what FEP-844e has in `implements`: an array of Link objects."""
    entries = [entry for entry in _list(generator.get("implements")) if isinstance(entry, dict)]
    return {href for href in (entry.get("href") for entry in entries) if isinstance(href, str)}


def _list_texts(value: JsonValue) -> list[str]:
    return [one for one in _list(value) if isinstance(one, str)]


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else [value]


def _printable(text: str) -> str:
    """Cut a stranger's word down to what a terminal shows as it is."""
    return "".join(one for one in text[:_MAX_NAME] if one.isprintable())
