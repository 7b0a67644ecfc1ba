"""Say in words why no relay was found, and why a peer stands where it stands."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from db.peers import Following, Peer, Tier
from relay import trust
from relay.exchange.actors import DiscoveryFailure, DiscoveryReason
from relay.exchange.alerts import is_suspended
from relay.model import FetchFailure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from db.peer_outbox import Letter
    from relay.trust import Standing

_FETCHES: Final[Mapping[FetchFailure, str]] = {
    FetchFailure.REFUSED_URL: "its address is not one that this relay may ask (https, on port 443 unless "
    "fetch.ports says more)",
    FetchFailure.REFUSED_ADDRESS: "its name leads to a private address, which this relay never asks unless "
    "fetch.private_targets allows it",
    FetchFailure.UNRESOLVED: "there is no such name in the domain name system",
    FetchFailure.UNREACHABLE: "nothing answers there",
    FetchFailure.TLS: "its certificate is not valid for it",
    FetchFailure.TIMEOUT: "it did not answer in time",
    FetchFailure.TOO_SLOW: "it answers too slowly",
    FetchFailure.TOO_LARGE: "its answer is too large",
    FetchFailure.TOO_MANY_REDIRECTS: "it redirects without end, or from https to http",
    FetchFailure.GONE: "it says that there is nothing there",
    FetchFailure.FORBIDDEN: "it refuses to answer this relay",
    FetchFailure.SERVER_ERROR: "it has an error of its own, or wants to be asked later",
    FetchFailure.MALFORMED: "what it answers is no ActivityPub document",
    FetchFailure.ACTIVITY_AS_MEDIA: "what it answers is no ActivityPub document",
}


def explain_fetch(failure: FetchFailure) -> str:
    """Say why something could not be fetched, as part of a sentence."""
    return _FETCHES[failure]


_DISCOVERIES: Final[Mapping[DiscoveryReason, str]] = {
    DiscoveryReason.NO_ADDRESS: "{place!r} is neither a domain nor the address of an actor. {detail} Give a "
    "domain as in relay.example, or an actor as in https://relay.example/breakwater/actor.",
    DiscoveryReason.UNREACHABLE: "{place} could not be fetched: {why}. Nothing was stored. Try again later, "
    "or ask its admin.",
    DiscoveryReason.NO_RELAY_NAMED: "{place} names no relay: neither its WebFinger nor its NodeInfo leads to "
    "one, and there is none at the usual place. Ask its admin for the address of the relay's actor, and add "
    "that.",
    DiscoveryReason.OTHER_ORIGIN: "{place} speaks for somebody else: {detail}. An actor counts only for what "
    "is on its own server. Nothing was stored. Add it under its own address, or ask its admin to put it "
    "right.",
    DiscoveryReason.NOT_AN_ACTOR: "{place} is no relay's actor: {detail}. Nothing was stored. Ask its admin "
    "for the right address.",
    DiscoveryReason.NOT_A_RELAY: "{place} does not exchange attestations: {detail}. It may be another "
    "program, or too old. Nothing was stored.",
    DiscoveryReason.NO_KEY: "{place} cannot be a peer: {detail}. Nothing was stored. Its admin has to start "
    "or update that relay.",
    DiscoveryReason.BAD_KEY: "{place} publishes a key that must not be believed: {detail}. Nothing was "
    "stored. Whoever has such a key may not be who they say; ask the admin by another way before you try "
    "again.",
}


def explain_discovery(failure: DiscoveryFailure) -> str:
    """Say what happened when no relay was found, what it means, and what to do."""
    return _DISCOVERIES[failure.reason].format(
        place=failure.place,
        detail=failure.detail,
        why=explain_fetch(failure.failure or FetchFailure.UNREACHABLE),
    )


def explain_tier(peer: Peer) -> str:
    """Say where a peer stands as a whole, and what the admin can do next."""
    match peer.tier:
        case Tier.UNKNOWN if peer.they_follow is Following.ASKED:
            return (
                "Waits for you: it asks to read what this relay attests, and nothing of it counts yet. "
                f"breakwater peers approve {peer.domain}"
            )
        case Tier.UNKNOWN:
            return (
                "Not approved: nothing of it counts, and it reads nothing here. "
                f"breakwater peers approve {peer.domain}"
            )
        case Tier.PROBATION:
            return (
                "Approved, on probation: everything that it attests is scanned here as well, to measure it."
            )
        case Tier.TRUSTED:
            return "Approved and trusted."
        case Tier.ALLIED:
            return "Approved as an ally: it sees what this relay attests at once."
        case Tier.QUARANTINED:
            return (
                "In quarantine: nothing of it counts, it reads nothing here, and what was let go on its word "
                f"is scanned again. breakwater peers reinstate {peer.domain}"
            )


def explain_follow(following: Following, letters: tuple[Letter, ...], *, is_ours: bool) -> str:
    """Say how far one side has come with reading the other's feed."""
    if following is Following.ACCEPTED:
        return "yes"
    if following is Following.NO:
        return "no"
    if not is_ours:
        return "asked, waits for you"
    on_way = next((one for one in letters if one.kind == "Follow"), None)
    if on_way is None:
        return "asked, waits for its admin"
    told = explain_letter(on_way)
    return f"{told}; to ask again: breakwater peers add" if on_way.due_at is None else told


def explain_letter(letter: Letter) -> str:
    """Say how far an activity has come on its way."""
    if letter.reason is None:
        return f"{letter.kind} is on its way"
    if letter.due_at is None:
        return f"{letter.kind} was given up after {letter.tries} tries: {letter.reason}"
    again = letter.due_at.isoformat(timespec="minutes")
    return f"{letter.kind} was not delivered: {letter.reason}; try {letter.tries + 1} is at {again}"


def explain_standing(standing: Standing, *, now: datetime) -> str:
    """Say how far a peer is relied on under one profile and key, and what that rests on."""
    agreed = f"{standing.agreements} of {standing.audits} audits agreed"
    match standing.tier:
        case Tier.UNKNOWN:
            return "Unknown: nothing of it counts."
        case Tier.QUARANTINED:
            return f"In quarantine: nothing of it counts. {agreed} before that."
        case Tier.PROBATION:
            more = count_missing_agreements(standing)
            total = standing.agreements + more
            return (
                f"On probation: {standing.agreements} of about {total} audits agreed; nothing is spared yet."
            )
        case Tier.TRUSTED | Tier.ALLIED:
            name = "Trusted" if standing.tier is Tier.TRUSTED else "An ally"
            rate = trust.audit_rate(standing, now=now)
            if standing.scrutiny:
                return (
                    f"{name}, under scrutiny: others doubt it, so that nothing is spared until "
                    f"{standing.scrutiny} more audits agree. {agreed} so far."
                )
            if rate >= 1.0:
                return (
                    f"{name}, but nothing is spared now: it has to earn credit first (again), after a "
                    f"disagreement or a long time without audits. {agreed} so far."
                )
            return (
                f"{name}: its word spares the costly scans, and one in {round(1 / rate)} is scanned here all "
                f"the same. {agreed} so far."
            )


def count_missing_agreements(standing: Standing) -> int:
    """Count the agreements in a row that are missing until a peer on probation is trusted."""
    missing = (trust.ACCEPT_AT - standing.log_ratio) / trust.STEP_DOWN
    return max(1, math.ceil(missing - 1e-9))


_OUTCOMES: Final[Mapping[str, str]] = {
    "agrees": "audited, agreed",
    "disagrees": "audited, disagreed",
    "contradicts": "audited, contradicted",
    "not_comparable": "audited, not comparable",
    "skipped": "not audited, enough others had scanned it",
    "lost": "due for an audit, and not to be had any more",
    "rescanned": "scanned again here",
    "due": "due for an audit",
    "not_audited": "not audited",
}


def explain_reliance(counts: Mapping[str, int]) -> str:
    """Say what was let go on a peer's word, and what audits found."""
    if not counts:
        return "Nothing has been let go on its word."
    parts = [f"{counts[name]} {words}" for name, words in _OUTCOMES.items() if counts.get(name)]
    return f"{sum(counts.values())} let go on its word: {'; '.join(parts)}."


def explain_evidence(peer: Peer, count: int) -> str | None:
    """Say what proves that a peer lies to somebody; None where nothing does."""
    if not count:
        return None
    return (
        f"It signed two different statements under one name, {count} times: what it tells one it does not "
        "tell another. Its own signatures prove it to anybody: ask its admin, and show others with "
        f"breakwater peers evidence {peer.domain} --json"
    )


_GROUNDS: Final[Mapping[str, str]] = {
    "scan": "we found something where it attested that there was nothing",
    "scores": "the scores that it had committed to were others than ours of the same model",
    "opening": "it opened a commitment as something else than what it had signed",
    "unopened": "it did not say within a day what its scanner was, or what it had committed to",
    "canary": "it attested a canary of ours that its own lists hold",
}


def explain_grounds(counts: Mapping[str, int]) -> str | None:
    """Say on what the audits rest that went against a peer; None where none did."""
    parts = [f"{counts[name]} times {words}" for name, words in _GROUNDS.items() if counts.get(name)]
    return f"{'; '.join(parts)}." if parts else None


def explain_warnings(counts: Mapping[str, int]) -> str:
    """Say how often a peer's warnings were right, and whether they are still listened to."""
    upheld, released = counts.get("upheld", 0), counts.get("released", 0)
    waiting = counts.get("open", 0)
    said = (
        f"Of {upheld + released} that fitted media of ours and were ruled on, {upheld} were upheld; "
        f"{waiting} wait for a person."
        if counts
        else "None has fitted media of ours yet."
    )
    if is_suspended(counts):
        return (
            f"{said} Because most were wrong, no more are taken in. What they withhold stays so until a "
            "person rules. Rulings on warnings that are 90 days old do not count any more."
        )
    return said
