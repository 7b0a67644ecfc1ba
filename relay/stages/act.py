"""Act: decide what has to be done on the backend about media that it stores.

There are two grounds and no third: the exact bytes are on a hash list, or a person has upheld a case about
them. A near match, a model's, a peer's or a complainant's word and the failure to look never lead to an
errand by themselves; they lead to a case, and the person who upholds it is the ground.

What never reached the backend needs no errand. What is going to reach it with a delivery has one that names
the delivery, and whoever carries it out first looks whether the delivery got there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from db import cases, whereabouts
from db.deliveries import FINISHED_STATES, DeliveryState
from db.errands import ErrandKind, NewErrand
from relay.backends.abilities import Ability
from relay.model import DeliveryDecision, EvidenceBasis, MediaDecision, Place
from relay.tools.urls import MalformedUrlError, is_same_origin, parse_url
from scanner.labels import Category
from scanner.report import Basis

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from db.cases import Case
    from db.delivery_rows import StoredDelivery
    from db.pool import Connection, Database
    from relay.model import Decision, MediaOutcome

# The same bytes in more posts than this are a flood, which a person sees in the cases; and the newest posts,
# which come first, are those that people still look at.
MAX_PLACES: Final = 200

# What carries media to the backend. A reaction or a follow names an object, too, but one of somebody else's.
_CARRYING: Final = frozenset({"Create", "Update", "Announce"})
_GROUNDS: Final = frozenset({Basis.EXACT_HASH, Basis.HUMAN})
_OUR_OWN_LOOKS: Final = frozenset({EvidenceBasis.SCAN, EvidenceBasis.OWN_VERDICT})
_SEVERITY: Final = {ErrandKind.REPORT: 0, ErrandKind.REMOVE: 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Acting:
    """What the admin wants done on the backend, and what can be done there.

    Attributes:
        actions: REPORT or REMOVE for each category; nothing is done about a category without one.
        abilities: What the backend's API can do; empty without a token, and then nothing is done.
        own_host: The host of the instance, whose posts only its own doors lead to errands about.
    """

    actions: Mapping[Category, ErrandKind]
    abilities: frozenset[Ability]
    own_host: str

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing would ever follow."""
        return not self.actions or not self.abilities


class Carrier(Protocol):
    """What is known of a delivery that carried media."""

    @property
    def id(self) -> int: ...  # noqa: D102 (as in `db.whereabouts.Carrier`)
    @property
    def activity_id(self) -> str: ...  # noqa: D102
    @property
    def activity_type(self) -> str: ...  # noqa: D102
    @property
    def object_id(self) -> str: ...  # noqa: D102
    @property
    def chain_key(self) -> str: ...  # noqa: D102
    @property
    def sender_actor(self) -> str | None: ...  # noqa: D102
    @property
    def is_selftest(self) -> bool: ...  # noqa: D102


def find_grounds(outcome: MediaOutcome) -> frozenset[Category]:
    """Find the categories in which exactly these bytes are known; none for what is released."""
    report = outcome.evidence.report
    is_our_own = outcome.evidence.basis in _OUR_OWN_LOOKS
    if report is None or not is_our_own or outcome.decision is MediaDecision.RELEASE:
        return frozenset()
    return frozenset(
        finding.category for finding in report.findings if not finding.advisory and finding.basis in _GROUNDS
    )


def decide_errands(
    grounds: Iterable[Category], place: Place, acting: Acting, *, case_id: int | None = None
) -> tuple[NewErrand, ...]:
    """Decide what is done at one place.

    Args:
        grounds: The categories of an exact match or of a case that a person upheld.
        place: Where the media is stored.
        acting: What is wanted and possible.
        case_id: The case, where there is one already.
    """
    wanted = [acting.actions[category] for category in grounds if category in acting.actions]
    if not wanted:
        return ()
    kind = max(wanted, key=lambda one: _SEVERITY[one])
    found: list[NewErrand] = []
    removes = kind is ErrandKind.REMOVE
    if removes and place.alias and Ability.PURGE_MEDIA in acting.abilities:
        found.append(_build(ErrandKind.PURGE_MEDIA, place.alias, place, case_id))
    subject = place.object_id or place.actor_id
    # An account is only ever acted upon by a person.
    is_removable = removes and place.may_be_removed and bool(place.object_id)
    if subject and is_removable and Ability.REMOVE in acting.abilities:
        found.append(_build(ErrandKind.REMOVE, subject, place, case_id))
    elif subject and Ability.REPORT in acting.abilities:
        found.append(_build(ErrandKind.REPORT, subject, place, case_id))
    return tuple(found)


def find_place(carrier: Carrier, *, own_host: str) -> Place | None:
    """Find the post that a delivery brings to the backend; None where it brings none on its sender's word.

    Whoever sends a Create or an Update of an object elsewhere does not speak for it. Who announces one, as
    communities do, leads to a report at most. Posts of the instance's own people come in by other doors.
    """
    sender = carrier.sender_actor
    if carrier.is_selftest or sender is None or carrier.activity_type not in _CARRYING:
        return None
    # An announced activity stands for the object of that activity, which its chain is named after; an
    # announcement of an object by its id has a chain of its own.
    is_named = carrier.chain_key not in {"", carrier.activity_id}
    object_id = carrier.chain_key if is_named else carrier.object_id
    if not object_id or _host_of(object_id) in {"", own_host}:
        return None
    is_own = is_same_origin(sender, object_id)
    is_announced = carrier.activity_type == "Announce"
    if not is_own and not is_announced:
        return None
    if object_id == sender:
        return Place(actor_id=sender, delivery_id=carrier.id)
    return Place(
        object_id=object_id,
        actor_id="" if is_announced else sender,
        may_be_removed=is_own,
        delivery_id=carrier.id,
    )


async def plan_for_delivery(
    stored: StoredDelivery, decision: Decision, *, acting: Acting, database: Database
) -> dict[bytes, tuple[NewErrand, ...]]:
    """Plan what follows on the backend from a decision, by the digest of the media that it follows from.

    Raises:
        DatabaseError: It is not known whether an earlier copy is stored there.
    """
    if acting.is_idle or decision.delivery is DeliveryDecision.RETRY:
        return {}
    place = find_place(stored, own_host=acting.own_host)
    stopped = [one for one in decision.outcomes if one.decision is not MediaDecision.RELEASE]
    if place is None or not stopped:
        return {}
    planned: dict[bytes, tuple[NewErrand, ...]] = {}
    async with database.connection() as conn:
        for outcome in stopped:
            if outcome.evidence.sha256 is not None and (
                new := await _plan_one(conn, outcome, place, acting=acting)
            ):
                planned[outcome.evidence.sha256] = new
        if not planned:
            return {}
        was_forwarded = bool(place.object_id) and await whereabouts.was_forwarded(conn, place.object_id)
    if was_forwarded:
        return {sha256: tuple(_without_delivery(one) for one in new) for sha256, new in planned.items()}
    return {} if decision.delivery is DeliveryDecision.DROP else planned


async def plan_for_outcome(
    outcome: MediaOutcome, place: Place, *, acting: Acting, database: Database
) -> tuple[NewErrand, ...]:
    """Plan what follows on the backend from media that it already stores.

    Raises:
        DatabaseError: It is not known what was ruled on it.
    """
    if acting.is_idle or outcome.decision is MediaDecision.RELEASE:
        return ()
    async with database.connection() as conn:
        return await _plan_one(conn, outcome, place, acting=acting)


async def plan_for_ruling(conn: Connection, case: Case, *, acting: Acting) -> tuple[NewErrand, ...]:
    """Plan what follows on the backend from a case that a person upheld.

    Raises:
        DatabaseError: It is not known where the media is.
    """
    if acting.is_idle:
        return ()
    places = await find_places(conn, case, own_host=acting.own_host)
    found = (decide_errands(_category_of(case), place, acting, case_id=case.id) for place in places)
    return tuple(one for new in found for one in new)


async def find_places(conn: Connection, case: Case, *, own_host: str) -> tuple[Place, ...]:
    """Find where on the backend the media of a case is stored or may yet be, the newest first.

    Raises:
        DatabaseError: It cannot be known.
    """
    return () if case.sha256 is None else await find_places_of(conn, case.sha256, own_host=own_host)


async def find_places_of(conn: Connection, sha256: bytes, *, own_host: str) -> tuple[Place, ...]:
    """Find where on the backend these bytes are stored or may yet be, the newest first.

    Raises:
        DatabaseError: It cannot be known.
    """
    found: dict[tuple[str, str, str], Place] = {}
    for carrier in await whereabouts.list_carriers(conn, sha256, limit=MAX_PLACES):
        place = find_place(carrier, own_host=own_host)
        if place is None or carrier.state in FINISHED_STATES - {DeliveryState.FORWARDED}:
            continue
        found.setdefault((place.object_id, place.actor_id, ""), place)
    for sighting in await whereabouts.list_sightings(conn, sha256, limit=MAX_PLACES):
        key = (sighting.object_id, sighting.actor_id, sighting.alias)
        found[key] = Place(
            object_id=sighting.object_id,
            actor_id=sighting.actor_id,
            alias=sighting.alias,
            may_be_removed=True,
        )
    return tuple(found.values())


async def _plan_one(
    conn: Connection, outcome: MediaOutcome, place: Place, *, acting: Acting
) -> tuple[NewErrand, ...]:
    evidence = outcome.evidence
    if evidence.basis is EvidenceBasis.RULING and evidence.sha256 is not None:
        upheld = await cases.find_upheld(conn, evidence.sha256)
        if upheld is None:
            return ()
        return decide_errands(_category_of(upheld), place, acting, case_id=upheld.id)
    return decide_errands(find_grounds(outcome), place, acting)


def _category_of(case: Case) -> tuple[Category, ...]:
    """Read the category of a case; what nobody could look at has none, and nothing follows from it."""
    return tuple(category for category in Category if category.value == case.category)


def _build(kind: ErrandKind, subject: str, place: Place, case_id: int | None) -> NewErrand:
    payload: dict[str, object] = {
        "object": place.object_id,
        "actor": place.actor_id,
        "alias": place.alias,
        "delivery": place.delivery_id,
    }
    return NewErrand(kind=kind, subject=subject, payload=payload, case_id=case_id)


def _without_delivery(new: NewErrand) -> NewErrand:
    payload = {**new.payload, "delivery": None}
    return NewErrand(kind=new.kind, subject=new.subject, payload=payload, case_id=new.case_id)


def _host_of(url: str) -> str:
    try:
        return parse_url(url).host
    except MalformedUrlError:
        return ""
