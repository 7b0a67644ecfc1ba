"""What is not for others never reaches them: the withheld share, what matched, and what only some may see."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest

from relay.exchange.signing import create_peer_signer
from relay.lifecycle import State
from relay.stages.attest import is_withheld
from scanner.canary import draw_canary
from signatures.digests import digest_multibase
from signatures.fields import ATTESTATION_HEADER
from signatures.message import RequestMessage
from tests.e2e.exchange.instance import befriend, end_batches, open_instances
from tests.fediverse import send, shapes
from tests.images import encode, marker

if TYPE_CHECKING:
    from tests.e2e.exchange.conftest import MakeDatabases
    from tests.e2e.exchange.instance import Instance
    from tests.e2e.world import World
    from tests.fediverse import WireResponse

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]


def draw(number: int) -> bytes:
    return encode(marker(number), "PNG")


def find_picture(instance: Instance, begin: int, *, withheld: bool) -> bytes:
    """Find a picture whose attestation is, or is not, of the share that is never issued today."""
    tools = instance.tools.vouching
    for number in range(begin, begin + 100):
        picture = draw(number)
        digest = hashlib.sha256(picture).digest()
        if (
            is_withheld(digest, secret=tools.identity.secret, now=instance.clock.now(), tools=tools)
            is withheld
        ):
            return picture
    raise AssertionError("the share is not what was set")


async def ask(asker: Instance, asked: Instance, picture: bytes) -> WireResponse:
    """Ask a peer about a picture, and return its answer as it comes."""
    body = json.dumps({"digests": [digest_multibase(hashlib.sha256(picture).digest())]}).encode()
    parts = urlsplit(asked.identity.api_url)
    message = RequestMessage(
        method="POST",
        scheme="http",
        authority=parts.netloc,
        target=f"{parts.path}/lookup",
        headers=(("Content-Type", "application/json"),),
        body=body,
    )
    signed = create_peer_signer(asker.identity, asker.clock).sign(message)
    return await send(signed, host=parts.hostname or "", port=parts.port or 80)


def shape(answer: WireResponse) -> tuple[int, bytes, tuple[str, ...]]:
    """What can be told from an answer but its signature and date, which differ each time."""
    return answer.status, answer.body, tuple(name.lower() for name, _ in answer.headers)


async def test_the_withheld_share_leaves_by_no_way(world: World, make_databases: MakeDatabases) -> None:
    settings = {"attest_withhold_share_permille": "500"}
    async with open_instances(world, await make_databases(2), **settings) as (a, b):
        await befriend(b, a)
        await b.trust(a)
        kept, given = (find_picture(a, 1000, withheld=one) for one in (True, False))
        kept_url, given_url = await a.attest("kept.png", kept), await a.attest("given.png", given)
        stored = await a.scene.find_attestation(kept)
        assert stored is not None
        assert stored.is_withheld_share

        async with httpx.AsyncClient(trust_env=False) as http:
            assert ATTESTATION_HEADER in (await http.get(given_url)).headers
            answer = await http.get(kept_url)
        assert (answer.status_code, answer.content) == (200, kept)
        assert ATTESTATION_HEADER not in answer.headers
        assert shape(await ask(b, a, kept)) == shape(await ask(b, a, draw(1200)))
        assert stored.object not in (await ask(b, a, kept)).body
        assert b"MediaScanAttestation" in (await ask(b, a, given)).body
        await end_batches(a, b)
        await b.read_feed(a)
        assert [len(await b.list_mirrored(one)) for one in (kept, given)] == [0, 1]

        for url in (kept_url, given_url):
            assert (await b.receive(a, url)).state is State.FORWARDED
        assert [b.model.count(one) for one in (kept, given)] == [1, 0]


async def test_answers_tell_nothing_of_what_matched_is_pending_private_or_never_came(
    world: World, make_databases: MakeDatabases
) -> None:
    async with open_instances(world, await make_databases(2)) as (a, b):
        await befriend(b, a)
        private, public, unseen = draw(1301), draw(1302), draw(1303)
        await a.publish(a.serve("canary.png", draw_canary()))
        await a.publish(a.serve("private.png", private), visibility="private")
        # What was told of before has been looked at when this is.
        await a.attest("public.png", public)

        answers = [await ask(b, a, one) for one in (draw_canary(), private, unseen)]

        assert len({shape(one) for one in answers}) == 1
        assert {one.status for one in answers} == {200}
        assert shape(await ask(b, a, public)) != shape(answers[0])


async def test_nobody_is_asked_about_what_only_some_may_see_and_nothing_of_it_is_attested(
    world: World, make_databases: MakeDatabases
) -> None:
    settings = {
        # To ask is the one way left.
        "exchange_uses_headers": "false",
        "exchange_uses_feed": "false",
        "legal_scan_restricted": "true",
        "legal_scan_restricted_basis": "our terms, section 4",
    }
    async with open_instances(world, await make_databases(2), **settings) as (a, b):
        await befriend(b, a)
        await b.trust(a)
        private, public = draw(1401), draw(1402)
        urls = [await a.attest("x.png", private), await a.attest("y.png", public)]
        followers = [f"{a.alice.id}/followers"]
        restricted = shapes.create(a.alice, shapes.mastodon_note(a.alice, urls[:1], to=followers))
        restricted["to"], restricted["cc"] = followers, []

        assert (await b.receive_activity(a, restricted)).state is State.FORWARDED
        assert (await b.receive(a, urls[1])).state is State.FORWARDED

        # Had it asked, it would have been told, and spared the scan.
        assert [b.model.count(one) for one in (private, public)] == [1, 0]
        assert await b.list_mirrored(private) == ()
        assert await b.scene.find_attestation(private) is None
