"""Interoperation with Fedify, whose signatures, proofs, discovery and verification are its own."""

from __future__ import annotations

import base64
import json
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from db import attestations, delivery_lists, media
from db.pool import Database, open_database
from relay.lifecycle import State
from signatures.attestation import CONTEXT
from signatures.keys import parse_multikey
from signatures.proofs import verify_proof
from tests.e2e.interop.fedify import Fedify, open_fedify
from tests.e2e.interop.relaying import RunningRelay, Tap, free_ports, open_running_relay
from tests.fediverse import RecordingBackend
from tests.images import encode, marker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from db.delivery_rows import StoredDelivery
    from relay.app import Relay

pytestmark = pytest.mark.e2e

RFC9421, CAVAGE = "rfc9421", "cavage"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Fedify, a tap on what it sends, the relay, and the backend behind the relay."""

    fedify: Fedify
    tap: Tap
    running: RunningRelay
    backend: RecordingBackend
    database: Database

    @property
    def relay(self) -> Relay:
        return self.running.relay

    async def deliver(self, *, first: str, number: int = 1, actor: str = "alice", **more: object) -> str:
        """Let Fedify deliver a post with a picture, and return the activity's id."""
        answer = await self.fedify.do(
            "deliver",
            first=first,
            actor=actor,
            number=str(number),
            picture=base64.b64encode(encode(marker(number), "PNG")).decode(),
            pictureName=f"{number}.png",
            inbox=f"{self.tap.url}/inbox",
            **more,
        )
        return str(answer["id"])


@pytest.fixture
async def scene(tmp_path: Path, dsn: str) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        fedify = await enter(open_fedify())
        backend = await enter(RecordingBackend.open())
        (port,) = free_ports(1)
        tap = await enter(Tap.open(port))
        running = await enter(
            open_running_relay(
                tmp_path,
                port=port,
                base_url=tap.url,
                dsn=dsn,
                backend_url=backend.url,
                origin=fedify.origin,
            )
        )
        database = await enter(open_database(dsn, min_size=1, max_size=2))
        yield Scene(fedify=fedify, tap=tap, running=running, backend=backend, database=database)


async def find_delivery(scene: Scene, activity_id: str) -> StoredDelivery:
    async with scene.database.connection() as conn:
        stored = await delivery_lists.find_by_activity(conn, activity_id)
    assert stored is not None
    return stored


async def list_digests(scene: Scene, delivery_id: int) -> list[bytes | None]:
    async with scene.database.connection() as conn:
        return [one.sha256 for one in await media.list_delivery_media(conn, delivery_id)]


async def find_attestation(scene: Scene, activity_id: str) -> dict[str, Any]:
    """Let the relay end what it began, and read what it attests about the only picture of a post."""
    await scene.backend.wait_for(1)
    await scene.running.finish()
    stored = await find_delivery(scene, activity_id)
    (sha256,) = await list_digests(scene, stored.id)
    assert sha256 is not None
    async with scene.database.connection() as conn:
        found = await attestations.find_newest(conn, sha256, f"{scene.tap.url}/profiles/image-1")
    assert found is not None
    document: dict[str, Any] = json.loads(found.object)
    return document


@pytest.mark.parametrize("first", [RFC9421, CAVAGE])
async def test_a_post_of_fedify_reaches_the_backend_byte_for_byte_with_each_scheme(
    scene: Scene, first: str
) -> None:
    await scene.deliver(first=first)
    (received,) = await scene.backend.wait_for(1)
    ((sent, answered),) = scene.tap.exchanges
    assert answered.status == 202
    assert (sent.header("Signature-Input") is not None) == (first == RFC9421)
    assert received.body == sent.body
    assert received.target == sent.target
    kept = [pair for pair in sent.headers if pair[0].lower() not in {"connection", "content-length"}]
    assert [pair for pair in received.headers if pair in kept] == kept


async def test_a_post_that_fedify_sends_again_with_the_other_scheme_arrives_once(scene: Scene) -> None:
    scene.tap.lost_answers = 1
    await scene.deliver(first=RFC9421)
    (first, first_answer), (second, second_answer) = scene.tap.exchanges
    assert first.header("Signature-Input") is not None
    assert second.header("Signature-Input") is None
    assert first.body == second.body
    assert (first_answer.status, second_answer.status) == (202, 202)
    # A later post comes through, and nothing came between.
    await scene.deliver(first=RFC9421, number=2)
    received = await scene.backend.wait_for(2)
    assert [one.body for one in received] == [first.body, scene.tap.exchanges[2][0].body]


async def test_the_key_of_an_actor_that_answers_signed_requests_only_is_fetched(scene: Scene) -> None:
    await scene.deliver(first=RFC9421, actor="locked-lia")
    await scene.backend.wait_for(1)
    visits = await scene.fedify.visits_to(scene.fedify.actor("locked-lia"))
    assert all(visit["scheme"] != "unsigned" for visit in visits)
    assert visits[-1]["status"] == 200
    assert visits[-1]["owner"] == scene.relay.actor


async def test_a_boosted_post_behind_authorized_fetch_is_examined(scene: Scene) -> None:
    await scene.deliver(first=CAVAGE, actor="locked-lia", announcedBy="alice")
    await scene.backend.wait_for(1)
    (visit,) = await scene.fedify.visits_to(f"{scene.fedify.origin}/notes/locked-lia/1")
    assert (visit["status"], visit["owner"]) == (200, scene.relay.actor)
    stored = await find_delivery(scene, f"{scene.fedify.origin}/announces/1")
    assert stored.state in {State.FORWARDING, State.FORWARDED}
    assert len(await list_digests(scene, stored.id)) == 1


async def test_fedify_answers_401_to_who_does_not_sign(scene: Scene) -> None:
    """What the two tests above rely on."""
    unsigned = await scene.fedify.do("fetch_unsigned", url=scene.fedify.actor("locked-lia"))
    assert unsigned["status"] == 401


async def test_fedify_reads_both_keys_of_the_relays_actor(scene: Scene) -> None:
    actor = await scene.fedify.do("lookup", url=scene.relay.actor)
    assert actor["id"] == scene.relay.actor
    assert actor["type"] == "Application"
    ((key,), (method,)) = actor["rsa"], actor["multikeys"]
    assert key["id"] == f"{scene.relay.actor}#main-key"
    assert key["owner"] == method["controller"] == scene.relay.actor
    assert method["id"] == f"{scene.relay.actor}#{method['multibase']}"
    assert "BEGIN PUBLIC KEY" in key["pem"]


async def test_fedify_finds_the_relay_by_webfinger_and_nodeinfo(scene: Scene) -> None:
    by_actor = await scene.fedify.do("webfinger", resource=scene.relay.actor)
    assert {link["href"] for link in by_actor["links"] if link["rel"] == "self"} == {scene.relay.actor}
    by_host = await scene.fedify.do("webfinger", resource=f"{scene.tap.url}/")
    assert by_host["links"][0]["href"] == scene.relay.actor
    nodeinfo = await scene.fedify.do("nodeinfo", url=scene.tap.url)
    assert nodeinfo["software"]["name"] == "breakwater"
    assert nodeinfo["protocols"] == ["activitypub"]


async def test_fedify_verifies_an_attestation_of_the_relay_and_refuses_an_altered_one(scene: Scene) -> None:
    activity_id = await scene.deliver(first=RFC9421)
    document = await find_attestation(scene, activity_id)
    verified = await scene.fedify.do("verify", document=document, unpublishedContext=CONTEXT[-1])
    assert verified["controller"] == scene.relay.actor
    assert verified["key"] == document["proof"]["verificationMethod"]
    altered = document | {"endTime": "2030-01-01T00:00:00Z"}
    assert (await scene.fedify.do("verify", document=altered, unpublishedContext=CONTEXT[-1]))["key"] is None


async def test_the_proof_on_a_post_of_fedify_verifies_with_its_actors_ed25519_key(scene: Scene) -> None:
    await scene.deliver(first=RFC9421)
    document = json.loads(scene.tap.exchanges[0][0].body)
    key = parse_multikey((await scene.fedify.do("multikey", actor="alice"))["multibase"])
    document.pop("signature", None)
    verify_proof(document, key=key)
