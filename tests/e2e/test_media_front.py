"""An instance serves its own media through its relay: with its word for them, without what is withheld."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import asyncpg
import httpx
import pytest
import pytest_asyncio

from db import cases
from db.errands import ErrandKind, ErrandState
from relay.clock import SystemClock
from relay.model import Media
from scanner.canary import draw_canary
from signatures.attestation import parse_attestation, verify_attestation
from signatures.fields import ATTESTATION_HEADER
from signatures.keys import parse_multikey
from signatures.objects import IssuerKey
from tests.conftest import with_database
from tests.e2e.acting import wait_for_errand
from tests.e2e.inside import open_inside
from tests.e2e.process import free_ports
from tests.fediverse import behaviours as do
from tests.fediverse.webhooks import attachment, encode, event, sign, status
from tests.images import encode as encode_image
from tests.images import marker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.e2e.world import Scene, World
    from tests.fediverse import Origin

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

SECRET: Final = "what Mastodon shows for this webhook"


_OTHER_DATABASE: Final = "breakwater_media_front"


@pytest_asyncio.fixture(loop_scope="session")
async def other_dsn(postgres_dsn: str, template_database: str) -> str:
    """A database for another relay."""
    connection = await asyncpg.connect(postgres_dsn)
    try:
        await connection.execute(f'CREATE DATABASE "{_OTHER_DATABASE}" TEMPLATE "{template_database}"')
    finally:
        await connection.close()
    return with_database(postgres_dsn, _OTHER_DATABASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A server with its relay before it.

    Attributes:
        scene: The relay.
        server: Has the media.
        url: Where the world finds them.
    """

    scene: Scene
    server: Origin
    url: str

    async def publish(self, *paths: str, visibility: str = "public", number: int = 1) -> None:
        """Publish a post with media, of which the server's webhook tells."""
        media = [attachment("x", url=self.url + path) for path in paths]
        body = encode(event(status(number=number, media=media, visibility=visibility)))
        async with httpx.AsyncClient(base_url=self.scene.relay.door, trust_env=False) as http:
            answer = await http.post(
                "/breakwater/webhooks/mastodon", content=body, headers=sign(body, SECRET)
            )
        assert answer.status_code == 202

    async def get(self, path: str, *, method: str = "GET") -> httpx.Response:
        """Ask as the world does."""
        async with httpx.AsyncClient(base_url=self.url, trust_env=False) as http:
            return await http.request(method, path)

    async def cases(self) -> tuple[cases.Case, ...]:
        async with self.scene.database.connection() as conn:
            return await cases.list_cases(conn, limit=9)

    async def issuer(self) -> IssuerKey:
        """The key that the relay's actor publishes."""
        async with httpx.AsyncClient(trust_env=False) as http:
            document = (await http.get(f"{self.scene.relay.base_url}/actor")).json()
        method = document["assertionMethod"][0]
        return IssuerKey(
            actor=document["id"], key_id=method["id"], key=parse_multikey(method["publicKeyMultibase"])
        )


@contextlib.asynccontextmanager
async def open_instance(world: World, *, dsn: str) -> AsyncIterator[Instance]:
    server = world.take_origin()
    (port,) = free_ports(1)
    async with open_inside(
        world,
        dsn=dsn,
        uploads_enabled="true",
        uploads_secret=SECRET,
        uploads_media_hosts="127.0.0.1",
        exchange_media_front="true",
        exchange_media_upstream=server.url("").rstrip("/"),
        exchange_media_paths="/system/",
        exchange_front_port=str(port),
    ) as scene:
        yield Instance(scene=scene, server=server, url=f"http://127.0.0.1:{port}")


async def test_another_relay_gets_the_attestation_with_the_bytes_of_a_public_post(
    world: World, dsn: str, other_dsn: str
) -> None:
    picture = encode_image(marker(341), "PNG")
    async with contextlib.AsyncExitStack() as stack:
        home = await stack.enter_async_context(open_instance(world, dsn=dsn))
        ports = ",".join(map(str, (*world.ports, int(home.url.rpartition(":")[2]))))
        other = await stack.enter_async_context(open_inside(world, dsn=other_dsn, fetch_ports=ports))
        home.server.serve_media("/system/a.png", picture)
        await home.publish("/system/a.png")
        stored = await home.scene.wait_for_attestation(picture)

        tools = other.relay.parts.workers._tools
        media = await tools.client.fetch_media(f"{home.url}/system/a.png")
        assert isinstance(media, Media)
        assert (media.data, media.attestation) == (picture, stored.object)
        attestation = parse_attestation(media.attestation, allow_http=True)
        verify_attestation(attestation, issuer_key=await home.issuer(), now=SystemClock().now())
        assert attestation.body.sha256 == media.sha256


async def test_a_known_upload_is_not_served_and_still_comes_to_its_moderators_with_its_post(
    world: World, dsn: str
) -> None:
    async with open_instance(world, dsn=dsn) as home:
        home.server.serve_media("/system/canary.png", draw_canary())
        for method in ("GET", "HEAD"):
            answer = await home.get("/system/canary.png", method=method)
            assert answer.status_code == 404
            assert ATTESTATION_HEADER not in answer.headers
        # The front has seen it first; the post that shows it is looked at all the same.
        await home.publish("/system/canary.png")
        errand = await wait_for_errand(home.scene, ErrandKind.EXAMINE_UPLOAD, ErrandState.DONE)
        assert errand.reason is None
        (case,) = await home.cases()
        assert (case.door, case.category, case.basis) == ("uploads", "spam", "exact_hash")
        assert 'door="uploads",verdict="match"' in await home.scene.relay.metrics()
        assert (await home.get("/system/canary.png")).status_code == 404


async def test_media_of_posts_for_followers_are_served_and_never_attested(world: World, dsn: str) -> None:
    picture, public = (encode_image(marker(number), "PNG") for number in (342, 343))
    async with open_instance(world, dsn=dsn) as home:
        home.server.serve_media("/system/a.png", picture)
        home.server.serve_media("/system/b.png", public)
        await home.publish("/system/a.png", visibility="private")
        # What comes later was looked at: the earlier one then was, too, if it is ever.
        await home.publish("/system/b.png", number=2)
        await home.scene.wait_for_attestation(public)
        answer = await home.get("/system/a.png")
        assert (answer.status_code, answer.content) == (200, picture)
        assert "Repr-Digest" in answer.headers
        assert ATTESTATION_HEADER not in answer.headers
        assert await home.scene.find_attestation(picture) is None


async def test_what_is_no_media_passes_untouched(world: World, dsn: str) -> None:
    async with open_instance(world, dsn=dsn) as home:
        home.server.on("/system/a", do.serve(b'{"a":1}', "application/json", headers={"ETag": '"x"'}))
        answer = await home.get("/system/a")
        assert (answer.content, answer.headers["ETag"]) == (b'{"a":1}', '"x"')
        assert set(answer.headers) == {"content-length", "content-type", "etag"}
