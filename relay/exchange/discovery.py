"""Find another relay: from the domain of the server that it stands beside, or from its actor.

From a domain three things are asked, and each actor that is named is looked at until one is a relay's:

1. WebFinger of the bare host: the links to server-level actors (FEP-d556), those for moderation first.
2. The list of NodeInfo documents: the link to the application's actor (FEP-2677).
3. The place where this software keeps its actor unless it is told otherwise. Most relays stand beside a
   server that answers the first two for itself.

A domain may name a relay under any other: whoever controls it says whom it trusts with its media. That relay
then speaks for itself, see `relay.exchange.actors`. Everything goes through the guarded client.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote

from relay.exchange.actors import DiscoveryFailure, DiscoveryReason, PeerFacts, read_peer
from relay.model import FetchFailure
from relay.tools.failures import OK, REDIRECTS
from relay.tools.key_directory import DocumentSource
from relay.tools.urls import FetchUrl, MalformedUrlError, parse_redirect, parse_url
from signatures.errors import MalformedError
from signatures.message import header_values
from signatures.origins import without_fragment
from signatures.strictjson import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay.tools.hops import Answer
    from signatures.message import Headers
    from signatures.strictjson import JsonValue

__all__ = [
    "DiscoveryFailure",
    "DiscoveryReason",
    "DiscoverySource",
    "PeerFacts",
    "Requester",
    "discover",
    "fetch_peer",
]

SERVICE_REL: Final = "https://www.w3.org/ns/activitystreams#Service"
APPLICATION_REL: Final = "https://www.w3.org/ns/activitystreams#Application"
RELATIONSHIP: Final = "https://www.w3.org/ns/activitystreams#relationship"
ROLE_NAME: Final = "http://schema.org/roleName"
MODERATION: Final = "moderation"
DEFAULT_ACTOR_PATH: Final = "/breakwater/actor"

# Such documents hold a handful of links. Source: Mastodon's WebFinger answers take 1 kB.
_MAX_LINKS_BYTES: Final = 65_536
_MAX_LINKS_DEPTH: Final = 8
_MAX_LINKS: Final = 32
# Bare host to www, http to https, the domain of the accounts to that of the server.
_MAX_REDIRECTS: Final = 3
# Server-level actors of one host that are looked at; real ones have one or two.
_MAX_CANDIDATES: Final = 4


# No other question to the same host would be answered.
_HOPELESS: Final = frozenset(
    {
        FetchFailure.UNRESOLVED,
        FetchFailure.TLS,
        FetchFailure.REFUSED_ADDRESS,
        FetchFailure.REFUSED_URL,
    }
)


class Requester(Protocol):
    """What makes single requests."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Headers = (),
        body: bytes | None = None,
        max_bytes: int | None = None,
    ) -> Answer | FetchFailure:
        """Make exactly one request."""
        ...


class DiscoverySource(DocumentSource, Requester, Protocol):
    """What asks other servers; the guarded client is one."""


async def discover(domain_or_actor: str, *, client: DiscoverySource) -> PeerFacts | DiscoveryFailure:
    """Find a relay.

    Args:
        domain_or_actor: A domain (`relay.example`, with a port if it has one), or the URL of an actor. A URL
            without a path is a domain whose scheme is given, which only development needs.
        client: What asks.
    """
    text = domain_or_actor.strip()
    try:
        url = parse_url(text if "://" in text else f"https://{text}/")
    except MalformedUrlError as error:
        return DiscoveryFailure(reason=DiscoveryReason.NO_ADDRESS, place=text, detail=str(error))
    if url.target != "/":
        if "://" not in text:
            return DiscoveryFailure(reason=DiscoveryReason.NO_ADDRESS, place=text, detail="It has a path.")
        return await fetch_peer(str(url), domain=url.authority, client=client)
    return await _discover_from_host(url, client)


async def fetch_peer(actor: str, *, domain: str, client: DocumentSource) -> PeerFacts | DiscoveryFailure:
    """Fetch a relay's actor and read it; also to learn its keys anew."""
    document = await client.fetch_document(actor)
    if isinstance(document, FetchFailure):
        return DiscoveryFailure(reason=DiscoveryReason.UNREACHABLE, place=actor, failure=document)
    return read_peer(document, asked=actor, domain=domain)


@dataclass(slots=True, kw_only=True)
class _Search:
    """What has been looked at so far, and the failure that tells the admin most."""

    seen: set[str]
    failure: DiscoveryFailure | None = None

    def note(self, failure: DiscoveryFailure) -> None:
        """Keep the failure that came closest to a relay."""
        if self.failure is None or _CLOSENESS[failure.reason] > _CLOSENESS[self.failure.reason]:
            self.failure = failure


_CLOSENESS: Final = {
    DiscoveryReason.NO_ADDRESS: 0,
    DiscoveryReason.NO_RELAY_NAMED: 1,
    DiscoveryReason.UNREACHABLE: 2,
    DiscoveryReason.NOT_AN_ACTOR: 3,
    DiscoveryReason.NOT_A_RELAY: 4,
    DiscoveryReason.OTHER_ORIGIN: 5,
    DiscoveryReason.NO_KEY: 6,
    DiscoveryReason.BAD_KEY: 7,
}


async def _discover_from_host(host: FetchUrl, client: DiscoverySource) -> PeerFacts | DiscoveryFailure:
    search = _Search(seen=set())
    base = f"{host.scheme}://{host.authority}"
    webfinger = f"{base}/.well-known/webfinger?resource={quote(f'{base}/', safe='')}"
    for well_known, pick in (
        (webfinger, _pick_services),
        (f"{base}/.well-known/nodeinfo", _pick_application),
    ):
        answer = await _fetch_links(well_known, client)
        if isinstance(answer, DiscoveryFailure):
            if answer.failure in _HOPELESS:
                return answer
            search.note(answer)
            continue
        found = await _look_at(pick(answer), search, domain=host.authority, client=client)
        if found is not None:
            return found
    usual = f"{base}{DEFAULT_ACTOR_PATH}"
    if usual not in search.seen:
        guessed = await fetch_peer(usual, domain=host.authority, client=client)
        # Nobody said that there would be anything at this place, so that nothing there is no news.
        if isinstance(guessed, PeerFacts) or guessed.reason is not DiscoveryReason.UNREACHABLE:
            return guessed
    if search.failure is None or search.failure.reason is DiscoveryReason.NO_RELAY_NAMED:
        return DiscoveryFailure(reason=DiscoveryReason.NO_RELAY_NAMED, place=host.authority)
    return search.failure


async def _look_at(
    actors: list[str], search: _Search, *, domain: str, client: DiscoverySource
) -> PeerFacts | None:
    for actor in actors:
        if actor in search.seen or len(search.seen) >= _MAX_CANDIDATES:
            continue
        search.seen.add(actor)
        found = await fetch_peer(actor, domain=domain, client=client)
        if isinstance(found, PeerFacts):
            return found
        search.note(found)
    return None


async def _fetch_links(url: str, client: Requester) -> list[dict[str, JsonValue]] | DiscoveryFailure:
    """Fetch a JRD or what looks like one, and return its links; both are plain JSON, not ActivityPub."""
    target = url
    for _ in range(_MAX_REDIRECTS + 1):
        answer = await client.request(
            "GET",
            target,
            headers=(("Accept", "application/jrd+json, application/json"),),
            max_bytes=_MAX_LINKS_BYTES,
        )
        if isinstance(answer, FetchFailure):
            return DiscoveryFailure(reason=DiscoveryReason.UNREACHABLE, place=url, failure=answer)
        if answer.status not in REDIRECTS:
            return _read_links(answer, url)
        following = _follow(answer)
        if following is None:
            break
        target = str(following)
    return DiscoveryFailure(
        reason=DiscoveryReason.UNREACHABLE, place=url, failure=FetchFailure.TOO_MANY_REDIRECTS
    )


def _follow(answer: Answer) -> FetchUrl | None:
    """RFC 7033, 4.2: "the redirection MUST only be to an "https" URI"; development has http throughout."""
    locations = header_values(answer.headers, "location")
    try:
        following = parse_redirect(answer.url, locations[0]) if len(locations) == 1 else None
    except MalformedUrlError:
        return None
    is_downgrade = following is not None and answer.url.scheme == "https" and following.scheme != "https"
    return None if is_downgrade else following


def _read_links(answer: Answer, url: str) -> list[dict[str, JsonValue]] | DiscoveryFailure:
    if answer.status != OK:
        return DiscoveryFailure(
            reason=DiscoveryReason.NO_RELAY_NAMED, place=url, detail=f"it answers {answer.status}"
        )
    try:
        value = parse_json(
            answer.body.data,
            max_bytes=_MAX_LINKS_BYTES,
            max_depth=_MAX_LINKS_DEPTH,
            allow_floats=True,
            allow_big_ints=True,
        )
    except MalformedError:
        return DiscoveryFailure(
            reason=DiscoveryReason.NO_RELAY_NAMED, place=url, detail="it answers with something else"
        )
    links = value.get("links") if isinstance(value, dict) else None
    listed = links[:_MAX_LINKS] if isinstance(links, list) else []
    return [link for link in listed if isinstance(link, dict)]


def _pick_services(links: list[dict[str, JsonValue]]) -> list[str]:
    services = [link for link in links if link.get("rel") == SERVICE_REL]
    return list(_list_hrefs(sorted(services, key=lambda link: not _is_for_moderation(link))))


def _pick_application(links: list[dict[str, JsonValue]]) -> list[str]:
    return list(_list_hrefs([link for link in links if link.get("rel") == APPLICATION_REL]))


def _is_for_moderation(link: dict[str, JsonValue]) -> bool:
    properties = link.get("properties")
    return isinstance(properties, dict) and MODERATION in (
        properties.get(ROLE_NAME),
        properties.get(RELATIONSHIP),
    )


def _list_hrefs(links: list[dict[str, JsonValue]]) -> Iterator[str]:
    for link in links:
        href = link.get("href")
        if isinstance(href, str) and without_fragment(href) == href:
            yield href
