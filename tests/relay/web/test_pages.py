"""What the relay says about itself, to anybody, and to its admin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from signatures.keys import parse_multikey, parse_public_key_pem
from tests.relay.line import Line, open_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BASE = "/breakwater"


@pytest.fixture
async def line(dsn: str) -> AsyncIterator[Line]:
    async with open_line(dsn) as opened:
        yield opened


@pytest.fixture
async def door(line: Line) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=line.relay.door_url, trust_env=False) as http:
        yield http


async def test_the_actor_is_readable_by_anybody_and_publishes_its_keys(
    line: Line, door: httpx.AsyncClient
) -> None:
    answer = await door.get(f"{BASE}/actor")
    document = answer.json()

    assert answer.headers["Content-Type"] == "application/activity+json"
    assert document["id"] == line.relay.actor
    assert document["type"] == "Application"
    assert document["publicKey"]["owner"] == line.relay.actor
    assert parse_public_key_pem(document["publicKey"]["publicKeyPem"]).algorithm.value == "rsa"
    (method,) = document["assertionMethod"]
    assert method["controller"] == line.relay.actor
    assert parse_multikey(method["publicKeyMultibase"]).algorithm.value == "ed25519"
    assert "https://w3id.org/fep/f06a" in str(document["generator"])
    (asking,) = document["authentication"]
    assert asking["controller"] == line.relay.actor
    assert asking["id"] == f"{line.relay.actor}#{asking['publicKeyMultibase']}"
    assert asking["publicKeyMultibase"] != method["publicKeyMultibase"]
    assert document["endpoints"] == {"mediaScanApi": f"{line.relay.door_url}{BASE}/api/v1"}


async def test_webfinger_finds_the_actor_by_its_account_its_id_and_its_bare_host(
    line: Line, door: httpx.AsyncClient
) -> None:
    host = line.relay.door_url.partition("//")[2]
    for resource in (f"acct:breakwater@{host}", line.relay.actor, f"http://{host}", f"https://{host}/"):
        answer = await door.get("/.well-known/webfinger", params={"resource": resource})

        assert answer.headers["Content-Type"] == "application/jrd+json"
        assert [link["href"] for link in answer.json()["links"]] == [line.relay.actor]
        assert line.relay.actor in answer.json()["aliases"]
    for stranger in ("acct:someone@else.example", "https://else.example", "", "acct:breakwater@else.example"):
        assert (await door.get("/.well-known/webfinger", params={"resource": stranger})).status_code == 404


async def test_the_bare_host_says_what_its_actor_is_for(line: Line, door: httpx.AsyncClient) -> None:
    answer = await door.get("/.well-known/webfinger", params={"resource": f"{line.relay.door_url}/"})
    (link,) = answer.json()["links"]
    assert link["rel"] == "https://www.w3.org/ns/activitystreams#Service"
    assert set(link["properties"].values()) == {"moderation"}
    assert "http://schema.org/roleName" in link["properties"]


async def test_nodeinfo_leads_to_the_actor(line: Line, door: httpx.AsyncClient) -> None:
    links = {one["rel"]: one["href"] for one in (await door.get("/.well-known/nodeinfo")).json()["links"]}

    assert links["https://www.w3.org/ns/activitystreams#Application"] == line.relay.actor
    nodeinfo = (await door.get(links["http://nodeinfo.diaspora.software/ns/schema/2.1"])).json()
    assert (nodeinfo["version"], nodeinfo["software"]["name"]) == ("2.1", "breakwater")
    assert nodeinfo["protocols"] == ["activitypub"]


async def test_the_outbox_is_empty_and_the_profile_says_how_is_scanned(
    line: Line, door: httpx.AsyncClient
) -> None:
    outbox = (await door.get(f"{BASE}/actor/outbox")).json()
    profile = (await door.get(f"{BASE}/profiles/image-1")).json()

    assert (outbox["totalItems"], outbox["id"]) == (0, f"{line.relay.actor}/outbox")
    assert profile["id"] == f"{line.relay.door_url}{BASE}/profiles/image-1"
    assert (await door.get(f"{BASE}/profiles/other")).status_code == 404


async def test_the_admin_port_says_how_the_relay_is(line: Line) -> None:
    async with httpx.AsyncClient(base_url=line.relay.admin_url, trust_env=False) as http:
        assert (await http.get("/livez")).json() == {"status": "alive"}
        assert (await http.get("/readyz")).json() == {"status": "ready"}
        metrics = await http.get("/metrics")
        assert metrics.headers["Content-Type"].startswith("text/plain")
        assert "breakwater_inbox_answers" in metrics.text
        assert (await http.get("/standin")).json()["received"] == []


async def test_the_admins_pages_are_not_on_the_public_door(door: httpx.AsyncClient) -> None:
    for path in ("/livez", "/readyz", "/metrics", "/standin"):
        assert (await door.get(path)).status_code == 404
    assert (await door.post("/selftest")).status_code == 404
