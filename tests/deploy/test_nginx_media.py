"""Behind nginx, the instance's own media go through the media front, and nothing else does."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest
import pytest_asyncio

from scanner.canary import draw_canary
from signatures.digests import repr_digest_of
from signatures.fields import ATTESTATION_HEADER, parse_attestation_field
from tests.deploy.nginx import SITES, MediaPorts, open_nginx
from tests.e2e.process import free_ports
from tests.fediverse import behaviours as do
from tests.images import encode, marker
from tests.relay.line import open_line
from tests.relay.web.front.scene import Scene, open_scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

PICTURE = encode(marker(331), "PNG")
DIGEST = repr_digest_of(hashlib.sha256(PICTURE).digest())


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """An instance behind nginx, whose media go through a front that finds them by another port of it."""

    front: Scene
    port: int

    async def ask(self, path: str, *, method: str = "GET", **headers: str) -> httpx.Response:
        url = f"http://127.0.0.1:{self.port}"
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
            named = {"Host": "social.example"} | {
                name.replace("_", "-"): value for name, value in headers.items()
            }
            return await client.request(method, path, headers=named)


@pytest_asyncio.fixture(loop_scope="session", params=sorted(SITES))
async def instance(
    request: pytest.FixtureRequest, nginx_program: str, dsn: str, tmp_path: Path
) -> AsyncIterator[Instance]:
    async with contextlib.AsyncExitStack() as stack:
        line = await stack.enter_async_context(open_line(dsn))
        (inner,) = free_ports(1)
        front = await stack.enter_async_context(
            open_scene(line.tools, tmp_path, upstream=f"http://127.0.0.1:{inner}")
        )
        nginx = await stack.enter_async_context(
            open_nginx(
                nginx_program,
                relay_port=free_ports(1)[0],
                backend_url=front.server.url(""),
                site=SITES[request.param],
                media=MediaPorts(front=front.port, inner=inner),
            )
        )
        yield Instance(front=front, port=nginx.port)


async def test_media_come_with_digest_and_attestation_and_the_rest_as_before(instance: Instance) -> None:
    server = instance.front.server
    server.serve_media("/system/a.png", PICTURE)
    server.serve_media("/system/canary.png", draw_canary())
    server.serve_media("/avatars/a.png", PICTURE)
    await instance.front.attest(PICTURE)

    answer = await instance.ask("/system/a.png", X_Forwarded_For="203.0.113.7")
    assert (answer.content, answer.headers["Repr-Digest"]) == (PICTURE, DIGEST)
    stored = await instance.front.find_attestation(PICTURE)
    assert stored is not None
    assert parse_attestation_field(answer.headers[ATTESTATION_HEADER]) == stored.object
    asked = server.requests[-1]
    assert (asked.target, asked.header("Host")) == ("/system/a.png", "social.example")

    part = await instance.ask("/system/a.png", Range="bytes=3-8")
    assert (part.status_code, part.content, part.headers["Repr-Digest"]) == (206, PICTURE[3:9], DIGEST)
    head = await instance.ask("/system/a.png", method="HEAD")
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(PICTURE)))

    assert (await instance.ask("/system/canary.png")).status_code == 404
    # What is written to a path of media, and other paths, is none of the front's business.
    assert (await instance.ask("/system/canary.png", method="POST")).content == draw_canary()
    elsewhere = await instance.ask("/avatars/a.png")
    assert elsewhere.content == PICTURE
    assert "Repr-Digest" not in elsewhere.headers


async def test_no_spelling_of_a_path_leads_past_the_front(instance: Instance) -> None:
    server = instance.front.server
    canary = draw_canary()
    for path in (
        "/system/a.png",
        "//system/a.png",
        "/%73ystem/a.png",
        "/x/../system/a.png",
        "/./system/a.png",
    ):
        server.on(path, do.serve(canary))
        answer = await instance.ask(path)
        assert answer.status_code in {400, 404}, path
        assert answer.content != canary
