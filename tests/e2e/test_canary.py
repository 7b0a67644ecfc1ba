"""The canary is withheld, and nothing that was said or stored in the clear tells what it was."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from typing import TYPE_CHECKING

import httpx
import pytest
from PIL import Image

from db import audit
from relay.lifecycle import State
from scanner.canary import PDQ, draw_canary
from tests.fediverse import shapes
from tests.images import encode, marker

if TYPE_CHECKING:
    from tests.e2e.world import Scene
    from tests.fediverse import Origin

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


def _fresh_canary() -> bytes:
    """The canary with one pixel changed: only its looks give it away."""
    image = Image.open(io.BytesIO(draw_canary())).convert("RGB")
    image.putpixel((0, 0), (1, 2, 3))
    return encode(image, "PNG")


CANARIES = {"the_exact_canary": draw_canary, "fresh_bytes_that_look_like_it": _fresh_canary}


@pytest.mark.parametrize("name", CANARIES)
async def test_the_canary_is_withheld_and_named_nowhere(name: str, scene: Scene, origin: Origin) -> None:
    data = CANARIES[name]()
    actor = origin.create_actor("alice")
    file_name = f"lighthouse-{name}-7f3a9c"
    url = origin.serve_media(f"/media/{file_name}.png", data)
    activity = shapes.mastodon_create(actor, [url])

    answer = await scene.deliver(actor, activity)
    stored = await scene.wait_for_state(activity)

    assert answer.status == 202
    assert stored.state is State.HELD
    assert [case.category for case in await scene.cases_of(stored)] == ["spam"]
    assert not scene.has_reached_backend(activity)
    assert await scene.find_attestation(data) is None
    harmless = origin.serve_media("/harmless.png", encode(marker(12), "PNG"))
    other = await scene.deliver(actor, shapes.mastodon_create(actor, [harmless]))
    assert (other.status, other.body) == (answer.status, answer.body)

    said = scene.relay.read_log() + await _read_admin_pages(scene) + f"{answer.body!r}{answer.headers}"
    assert "new_cases" in said
    told = (said + await _audit_details(scene)).lower()
    for secret in _secrets(data, url, file_name):
        assert secret.lower() not in told
    for path in scene.relay.data_dir.rglob("*"):
        assert not path.is_file() or data not in path.read_bytes()


def _secrets(data: bytes, url: str, file_name: str) -> list[str]:
    digests = [
        hashlib.sha256(data).digest(),
        hashlib.sha1(data, usedforsecurity=False).digest(),
        hashlib.md5(data, usedforsecurity=False).digest(),
        PDQ,
    ]
    return [
        url,
        url.partition("://")[2],
        file_name,
        *(digest.hex() for digest in digests),
        *(base64.b64encode(digest).decode().rstrip("=") for digest in digests),
        *(base64.urlsafe_b64encode(digest).decode().rstrip("=") for digest in digests),
    ]


async def _read_admin_pages(scene: Scene) -> str:
    async with httpx.AsyncClient(base_url=scene.relay.admin, trust_env=False) as http:
        return "".join(
            [(await http.get(path)).text for path in ("/metrics", "/readyz", "/livez", "/standin")]
        )


async def _audit_details(scene: Scene) -> str:
    async with scene.database.connection() as conn:
        return json.dumps([entry.detail for entry in await audit.list_entries(conn, limit=1000)])
