"""A relay is found from a bare domain, and is believed about itself only."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.exchange.actors import DiscoveryFailure, DiscoveryReason, PeerFacts, read_peer
from relay.exchange.discovery import RELATIONSHIP, ROLE_NAME, SERVICE_REL, discover
from relay.model import FetchFailure
from relay.tools.documents import Document
from signatures.encoding import encode_base58btc
from tests.fediverse import behaviours as do
from tests.relay.exchange.neighbours import Neighbour, build_identity
from tests.vectors_dir import own_vectors

if TYPE_CHECKING:
    from relay.tools.fetching import GuardedClient
    from tests.fediverse import Fediverse, Origin

BASE = "https://relay.example/breakwater"
IDENTITY = build_identity(BASE, 1)
OTHER = build_identity("https://other.example/breakwater", 2)


async def found(name: str, client: GuardedClient) -> PeerFacts:
    answer = await discover(name, client=client)
    assert isinstance(answer, PeerFacts), answer
    return answer


async def missed(name: str, client: GuardedClient) -> DiscoveryFailure:
    answer = await discover(name, client=client)
    assert isinstance(answer, DiscoveryFailure), answer
    return answer


async def test_a_relay_is_found_by_the_webfinger_of_its_bare_host(
    neighbour: Neighbour, client: GuardedClient
) -> None:
    neighbour.name_in_webfinger()
    facts = await found(neighbour.origin.url(""), client)
    assert (facts.actor, facts.domain) == (neighbour.actor, neighbour.domain)
    assert facts.inbox == f"{neighbour.actor}/inbox"
    assert facts.api_url == f"{neighbour.identity.base_url}/api/v1"
    assert facts.software == "Breakwater"
    [api_key], [key] = facts.api_keys, facts.keys
    assert neighbour.identity.api_key is not None
    assert api_key.multikey == neighbour.identity.api_key.public.to_multikey()
    assert key.key_id == neighbour.identity.verification_method
    asked = neighbour.origin.requests[0].target
    assert "resource=http%3A%2F%2F127.0.0.1" in asked


async def test_a_relay_is_found_by_nodeinfo_where_webfinger_is_the_servers_own(
    origin: Origin, client: GuardedClient
) -> None:
    neighbour = Neighbour(origin, path="/elsewhere")
    neighbour.name_in_nodeinfo()
    assert (await found(origin.url(""), client)).actor == neighbour.actor


async def test_a_relay_is_found_at_its_usual_place_where_nothing_names_it(
    neighbour: Neighbour, client: GuardedClient
) -> None:
    assert (await found(neighbour.origin.url(""), client)).actor == neighbour.actor


async def test_a_relay_is_found_by_its_actor(neighbour: Neighbour, client: GuardedClient) -> None:
    assert (await found(neighbour.actor, client)).actor == neighbour.actor
    assert len(neighbour.origin.requests) == 1


async def test_a_domain_may_name_a_relay_under_another(world: Fediverse, client: GuardedClient) -> None:
    instance, elsewhere = await world.open_origin(), await world.open_origin()
    neighbour = Neighbour(elsewhere, path="/elsewhere")
    links = [{"rel": SERVICE_REL, "href": neighbour.actor}]
    instance.on("/.well-known/webfinger", do.serve_json({"links": links}, "application/jrd+json"))
    facts = await found(instance.url(""), client)
    assert facts.actor == neighbour.actor
    assert facts.domain == instance.url("").removeprefix("http://")


@pytest.mark.parametrize("name", [ROLE_NAME, RELATIONSHIP])
async def test_of_several_actors_of_a_server_the_one_for_moderation_is_looked_at_first(
    name: str, origin: Origin, client: GuardedClient
) -> None:
    neighbour = Neighbour(origin, path="/elsewhere")
    other = origin.create_actor("instance")
    links = [
        {"rel": SERVICE_REL, "href": other.id},
        {"rel": SERVICE_REL, "href": neighbour.actor, "properties": {name: "moderation"}},
    ]
    origin.on("/.well-known/webfinger", do.serve_json({"links": links}, "application/jrd+json"))
    assert (await found(origin.url(""), client)).actor == neighbour.actor
    assert origin.count("/users/instance") == 0


async def test_an_actor_that_is_no_relay_does_not_hide_one_that_is(
    neighbour: Neighbour, client: GuardedClient
) -> None:
    other = neighbour.origin.create_actor("instance")
    neighbour.name_in_webfinger({"rel": SERVICE_REL, "href": other.id}, {"rel": SERVICE_REL, "href": 7})
    assert (await found(neighbour.origin.url(""), client)).actor == neighbour.actor


async def test_so_many_actors_of_one_server_are_looked_at_and_no_more(
    origin: Origin, client: GuardedClient
) -> None:
    links: list[dict[str, object]] = [
        {"rel": SERVICE_REL, "href": origin.url(f"/actors/{number}")} for number in range(30)
    ]
    origin.on("/.well-known/webfinger", do.serve_json({"links": links}, "application/jrd+json"))
    await missed(origin.url(""), client)
    assert sum(one.path.startswith("/actors/") for one in origin.requests) == 4


async def test_a_webfinger_that_redirects_is_followed_but_not_for_ever(
    world: Fediverse, client: GuardedClient
) -> None:
    instance, elsewhere = await world.open_origin(), await world.open_origin()
    neighbour = Neighbour(elsewhere, path="/elsewhere")
    neighbour.name_in_webfinger()
    place = elsewhere.url("/.well-known/webfinger")
    instance.on("/.well-known/webfinger", do.redirect(place, status=301))
    assert (await found(instance.url(""), client)).actor == neighbour.actor
    instance.on("/.well-known/webfinger", do.redirect("/.well-known/webfinger"))
    assert (await missed(instance.url(""), client)).failure is FetchFailure.TOO_MANY_REDIRECTS


@pytest.mark.parametrize(
    "answer",
    [b"", b"<html>", b"[]", b'{"links": 7}', b'{"links": [7, {"rel": 1}]}', b"[" * 10_000],
    ids=["nothing", "a page", "a list", "no links", "no link", "a pit"],
)
async def test_what_is_no_list_of_links_names_no_relay(
    answer: bytes, origin: Origin, client: GuardedClient
) -> None:
    for path in ("/.well-known/webfinger", "/.well-known/nodeinfo"):
        origin.on(path, do.serve(answer, "application/json"))
    assert (await missed(origin.url(""), client)).reason is DiscoveryReason.NO_RELAY_NAMED


async def test_a_list_of_links_that_does_not_end_is_not_read_to_its_end(
    origin: Origin, client: GuardedClient
) -> None:
    origin.on("/.well-known/webfinger", do.serve(b" " * 70_000, "application/jrd+json"))
    assert (await missed(origin.url(""), client)).failure is FetchFailure.TOO_LARGE


@pytest.mark.parametrize(
    "name", ["", "a b", "relay.example/actor", "ftp://relay.example/", "user@relay.example"]
)
async def test_what_is_no_address_is_asked_of_nobody(name: str, client: GuardedClient) -> None:
    assert (await missed(name, client)).reason is DiscoveryReason.NO_ADDRESS


async def test_a_name_that_does_not_exist_is_asked_once(client: GuardedClient) -> None:
    failure = await missed("relay.invalid", client)
    assert (failure.reason, failure.failure) == (DiscoveryReason.UNREACHABLE, FetchFailure.UNRESOLVED)


async def test_an_actor_that_redirects_to_another_server_is_not_believed(
    world: Fediverse, neighbour: Neighbour, client: GuardedClient
) -> None:
    thief = await world.open_origin()
    address = thief.on("/actor", do.redirect(neighbour.actor))
    assert (await missed(address, client)).reason is DiscoveryReason.OTHER_ORIGIN


async def test_a_redirect_lets_nobody_speak_for_the_server_that_was_asked(
    world: Fediverse, origin: Origin, client: GuardedClient
) -> None:
    """A server that redirects wherever it is told would else let anybody publish keys in its name."""
    thief = await world.open_origin()
    forged = build_identity(origin.url("/breakwater"), 2).build_actor()
    address = origin.on("/breakwater/actor", do.redirect(thief.on("/forged", do.serve_json(forged))))
    assert forged["id"] == address
    failure = await missed(address, client)
    assert (failure.reason, thief.count("/forged")) == (DiscoveryReason.OTHER_ORIGIN, 1)


async def test_an_actor_that_gives_anothers_id_is_not_believed(
    world: Fediverse, neighbour: Neighbour, client: GuardedClient
) -> None:
    thief = await world.open_origin()
    address = thief.on("/actor", do.serve_json(neighbour.document))
    assert (await missed(address, client)).reason is DiscoveryReason.OTHER_ORIGIN


async def test_a_relay_that_is_gone_is_said_to_be(origin: Origin, client: GuardedClient) -> None:
    failure = await missed(origin.url("/actor"), client)
    assert (failure.reason, failure.failure) == (DiscoveryReason.UNREACHABLE, FetchFailure.GONE)


def read(document: dict[str, Any], *, asked: str = IDENTITY.actor) -> PeerFacts | DiscoveryFailure:
    return read_peer(Document(url=asked, value=document), asked=asked, domain="relay.example")


def changed(**changes: Any) -> dict[str, Any]:
    return {**IDENTITY.build_actor(), **changes}


def multikey(**changes: Any) -> dict[str, Any]:
    [key] = json.loads(json.dumps(IDENTITY.build_actor()))["assertionMethod"]
    return {**key, **changes}


SMALL_ORDER = encode_base58btc(b"\xed\x01\x01" + bytes(31))
PUBLISHED = own_vectors("fep-8b32/documents.json")["public_multibase"]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (changed(type="Person"), DiscoveryReason.NOT_AN_ACTOR),
        (changed(type=None), DiscoveryReason.NOT_AN_ACTOR),
        (changed(generator=None), DiscoveryReason.NOT_A_RELAY),
        (changed(generator={"implements": [{"href": "https://else.example"}]}), DiscoveryReason.NOT_A_RELAY),
        (changed(endpoints={}), DiscoveryReason.NOT_A_RELAY),
        (changed(endpoints=[]), DiscoveryReason.NOT_A_RELAY),
        (changed(endpoints={"mediaScanApi": OTHER.api_url}), DiscoveryReason.OTHER_ORIGIN),
        (changed(inbox=None), DiscoveryReason.NOT_A_RELAY),
        (changed(inbox="//inbox"), DiscoveryReason.NOT_A_RELAY),
        (changed(inbox=f"{OTHER.actor}/inbox"), DiscoveryReason.OTHER_ORIGIN),
        (changed(id=OTHER.actor), DiscoveryReason.OTHER_ORIGIN),
        (changed(id=f"{IDENTITY.actor}/"), DiscoveryReason.OTHER_ORIGIN),
        (changed(assertionMethod=[]), DiscoveryReason.NO_KEY),
        (changed(authentication=[]), DiscoveryReason.NO_KEY),
        (changed(authentication=[IDENTITY.verification_method]), DiscoveryReason.NO_KEY),
        (changed(assertionMethod=[multikey()] * 2), DiscoveryReason.BAD_KEY),
        (changed(assertionMethod=[multikey()] * 17), DiscoveryReason.BAD_KEY),
        (changed(assertionMethod=[multikey(controller=OTHER.actor)]), DiscoveryReason.OTHER_ORIGIN),
        (changed(assertionMethod=[multikey(controller=None)]), DiscoveryReason.OTHER_ORIGIN),
        (
            changed(assertionMethod=[multikey(id=OTHER.verification_method)]),
            DiscoveryReason.OTHER_ORIGIN,
        ),
        (changed(assertionMethod=[multikey(id=f"{BASE}/keys#1")]), DiscoveryReason.OTHER_ORIGIN),
        (changed(assertionMethod=[multikey(publicKeyMultibase=SMALL_ORDER)]), DiscoveryReason.BAD_KEY),
        (changed(assertionMethod=[multikey(publicKeyMultibase=PUBLISHED)]), DiscoveryReason.BAD_KEY),
        (changed(assertionMethod=[multikey(publicKeyMultibase="z0")]), DiscoveryReason.BAD_KEY),
        (changed(authentication=[multikey(publicKeyMultibase=SMALL_ORDER)]), DiscoveryReason.BAD_KEY),
        (changed(assertionMethod=[multikey(expires="soon")]), DiscoveryReason.BAD_KEY),
        (changed(assertionMethod=[multikey(revoked=7)]), DiscoveryReason.BAD_KEY),
        (changed(assertionMethod=[multikey(type="Ed25519VerificationKey2020")]), DiscoveryReason.NO_KEY),
    ],
)
def test_a_document_that_is_not_quite_a_relays_is_refused_for_its_reason(
    document: dict[str, Any], reason: DiscoveryReason
) -> None:
    answer = read(document)
    assert isinstance(answer, DiscoveryFailure)
    assert answer.reason is reason
    assert answer.detail


def test_the_days_on_which_keys_end_are_read() -> None:
    facts = read(
        changed(
            assertionMethod=[
                multikey(expires="2026-12-01T00:00:00Z", revoked="2026-11-22T10:00:00+01:00"),
            ]
        )
    )
    assert isinstance(facts, PeerFacts)
    [key] = facts.keys
    assert key.expires == datetime(2026, 12, 1, tzinfo=UTC)
    assert key.revoked == datetime(2026, 11, 22, 9, tzinfo=UTC)


def test_a_relays_name_for_its_software_cannot_write_on_a_terminal() -> None:
    generator = {**changed()["generator"], "name": "\x1b[2J" + "x" * 1_000}
    facts = read(changed(generator=generator))
    assert isinstance(facts, PeerFacts)
    assert facts.software.startswith("[2Jxx")
    assert len(facts.software) < 64


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@given(name=st.sampled_from(sorted(IDENTITY.build_actor())), value=JSON)
def test_whatever_stands_in_a_document_reading_it_gives_a_value(name: str, value: Any) -> None:
    answer = read(changed(**{name: value}))
    if isinstance(answer, PeerFacts):
        assert all(key.key_id.startswith(f"{IDENTITY.actor}#") for key in (*answer.keys, *answer.api_keys))


@given(value=JSON, place=st.sampled_from(["id", "type", "controller", "publicKeyMultibase", "expires"]))
def test_whatever_stands_in_a_key_it_is_the_actors_or_none(value: Any, place: str) -> None:
    answer = read(changed(assertionMethod=[multikey(**{place: value})]))
    if isinstance(answer, PeerFacts):
        assert [key.multikey for key in answer.keys] == [IDENTITY.signing_key.public.to_multikey()]
