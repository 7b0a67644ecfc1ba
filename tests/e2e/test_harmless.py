"""A post with a harmless picture: through byte for byte, and attested."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

import httpx
import pytest

from db import peers
from relay.clock import SystemClock
from relay.lifecycle import State
from signatures.attestation import parse_attestation
from signatures.attestation_verify import verify_attestation
from signatures.http import Scheme
from signatures.keys import parse_multikey
from signatures.message import RequestMessage
from signatures.objects import IssuerKey
from tests.fediverse import shapes
from tests.images import encode, marker, photograph

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.process import RelayProcess
    from tests.e2e.world import Scene
    from tests.fediverse import Actor, Origin, WireResponse

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

# What a proxy must not pass on, and what it says in place of the sender; Host is compared by itself.
_OWN = {"connection", "content-length", "host", "x-forwarded-for", "x-forwarded-proto", "x-real-ip"}

_HIDDEN = {401, 403, 404}


@pytest.mark.parametrize("scheme", [Scheme.CAVAGE, Scheme.RFC9421])
async def test_a_post_with_a_drawn_picture_reaches_the_backend_byte_for_byte(
    scheme: Scheme, scene: Scene, origin: Origin
) -> None:
    actor = origin.create_actor("alice")
    picture = origin.serve_media("/drawn.png", encode(marker(11), "PNG"))
    body = json.dumps(shapes.mastodon_create(actor, [picture]), indent=1).encode() + b"\n"
    unsigned = actor.build_delivery(
        body,
        f"{scene.relay.door}/users/someone/inbox?x=%41&y=a+b&&z",
        headers=(
            ("content-type", 'application/ld+json; profile="https://www.w3.org/ns/activitystreams"'),
            ("Accept", "*/*"),
            ("x-Odd-CASE", "kept, as  sent"),
            ("X-Repeated", "one"),
            ("X-Between", "others"),
            ("X-Repeated", "two"),
            ("User-Agent", "http.rb/5 (Mastodon/4)"),
        ),
    )
    message = actor.sign(unsigned, now=scene.world.fediverse.clock.now(), scheme=scheme)

    answer = await scene.send(message)
    received = await scene.wait_for_backend(body)

    assert answer.status == 202
    assert (received.method, received.target, received.body) == ("POST", message.target, body)
    assert _end_to_end(received.headers) == _end_to_end(message.headers)
    assert received.header("Host") == f"127.0.0.1:{scene.relay.port}"
    assert received.header("X-Forwarded-For") == "127.0.0.1"
    assert received.header("X-Forwarded-Proto") == "http"


def _end_to_end(headers: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if name.lower() not in _OWN]


async def test_the_photograph_of_a_post_is_attested_for_peers_and_for_nobody_else(
    scene: Scene, origin: Origin, tmp_path: Path
) -> None:
    actor, peer, stranger, outcast = map(origin.create_actor, ("alice", "relay", "mallory", "outcast"))
    data = encode(photograph("astronaut"), "JPEG", quality=90)
    picture = origin.serve_media("/photo.jpg", data, "image/jpeg")
    activity = shapes.create(actor, shapes.mastodon_note(actor, [picture], media_type="image/jpeg"))
    await _add_peer(scene, peer, peers.Tier.TRUSTED)
    await _add_peer(scene, outcast, peers.Tier.QUARANTINED)

    answer = await scene.deliver(actor, activity)
    await scene.wait_for_backend(activity)
    stored = await scene.wait_for_state(activity)
    attested = await scene.wait_for_attestation(data)

    assert answer.status == 202
    assert stored.state is State.FORWARDED
    path = f"/breakwater/attestations/{attested.id}"
    assert (await scene.send(_get(scene, path))).status in _HIDDEN
    assert (await _get_signed(scene, stranger, path)).status in _HIDDEN
    assert (await _get_signed(scene, outcast, path)).status in _HIDDEN
    assert (await _get_signed(scene, peer, path[:-1] + "0")).status == 404
    served = await _get_signed(scene, peer, path)
    assert served.status == 200
    assert served.body == attested.object
    assert await _verifies(scene, served.body)
    assert picture.encode() not in served.body
    await _verify_by_command(scene, tmp_path, served.body, data)


async def _verify_by_command(scene: Scene, directory: Path, signed: bytes, data: bytes) -> None:
    """Verify with `breakwater verify`, as a stranger would who has the files and nothing else."""
    async with httpx.AsyncClient(trust_env=False) as http:
        document = (await http.get(f"{scene.relay.base_url}/actor")).content
    altered = signed.replace(b'"size":', b'"size":1')
    assert altered != signed
    files = {"actor": document, "media": data, "good": signed, "altered": altered, "other": data + b"."}
    for name, content in files.items():
        (directory / name).write_bytes(content)
    relay = cast("RelayProcess", scene.relay)
    options = ("--allow-http", "--json", "--actor-document", str(directory / "actor"))
    for attestation, media, expected in (("good", "media", 0), ("altered", "media", 1), ("good", "other", 1)):
        status, output = await relay.run_command(
            "verify", str(directory / attestation), "--media", str(directory / media), *options
        )
        assert status == expected, output


async def _add_peer(scene: Scene, actor: Actor, tier: peers.Tier) -> None:
    now = SystemClock().now()
    peer = peers.Peer(actor=actor.id, domain=actor.origin.host, tier=tier, added_at=now, updated_at=now)
    async with scene.database.connection() as conn:
        await peers.put_peer(conn, peer)


def _get(scene: Scene, path: str) -> RequestMessage:
    return RequestMessage(
        method="GET",
        scheme="http",
        authority=f"127.0.0.1:{scene.relay.port}",
        target=path,
        headers=(("Accept", "application/activity+json"),),
        body=b"",
    )


async def _get_signed(scene: Scene, actor: Actor, path: str) -> WireResponse:
    return await scene.send(actor.sign(_get(scene, path), now=scene.world.fediverse.clock.now()))


async def _verifies(scene: Scene, signed: bytes) -> bool:
    """Verify an attestation as a peer would, with the key that the relay's actor publishes."""
    async with httpx.AsyncClient(trust_env=False) as http:
        document = (await http.get(f"{scene.relay.base_url}/actor")).json()
    method = document["assertionMethod"][0]
    key = IssuerKey(
        actor=document["id"], key_id=method["id"], key=parse_multikey(method["publicKeyMultibase"])
    )
    verify_attestation(parse_attestation(signed, allow_http=True), issuer_key=key, now=SystemClock().now())
    return True
