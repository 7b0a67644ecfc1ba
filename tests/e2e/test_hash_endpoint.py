"""PieFed's hash endpoint against the real process, asked as PieFed asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import httpx
import numpy as np
import pytest
import pytest_asyncio

from scanner.canary import PDQ, draw_canary
from tests.e2e.inside import open_inside
from tests.e2e.process import free_ports
from tests.e2e.world import open_scene
from tests.fediverse.behaviours import redirect
from tests.images import encode, photograph, reference_rgb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.e2e.world import Scene, World
    from tests.fediverse import Origin

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

SECRET: Final = "the-secret-of-the-end-to-end-tests"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def opened(world: World) -> AsyncIterator[tuple[Scene, str]]:
    """A relay of this module alone, and the address that PieFed is told."""
    (port,) = free_ports(1)
    async with open_scene(
        world,
        doors_hash_endpoint="true",
        doors_port=str(port),
        doors_secret=SECRET,
    ) as scene:
        yield scene, f"http://127.0.0.1:{port}/{SECRET}/pdq"


async def _ask(endpoint: str, url: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=60) as piefed:
        return await piefed.get(endpoint, params={"image_url": url})


async def test_piefed_gets_the_hash_that_its_own_hasher_would_have_made(
    opened: tuple[Scene, str], origin: Origin
) -> None:
    pdqhash = pytest.importorskip("pdqhash")
    for name in ("chelsea", "coffee", "rocket"):
        data = encode(photograph(name), "JPEG", quality=85)
        bits, quality = pdqhash.compute(reference_rgb(data))
        answer = await _ask(opened[1], origin.serve_media(f"/{name}.jpg", data, "image/jpeg"))

        assert answer.status_code == 200
        found = answer.json()
        assert found["pdq_hash_binary"] == "".join("1" if bit else "0" for bit in np.asarray(bits))
        assert found["quality"] == quality


async def test_nobody_is_led_to_private_addresses_and_strangers_get_nothing(
    opened: tuple[Scene, str], origin: Origin
) -> None:
    scene, endpoint = opened
    for target in ("http://169.254.169.254/", "http://10.1.2.3/p.png", scene.relay.admin + "/metrics"):
        assert (await _ask(endpoint, target)).status_code == 400
        assert (await _ask(endpoint, origin.on("/away", redirect(target)))).status_code == 400
    picture = origin.serve_media("/p.png", draw_canary())
    before = origin.count("/p.png")
    assert (await _ask(endpoint.replace(SECRET, "some-other-secret"), picture)).status_code == 404
    assert origin.count("/p.png") == before


async def test_neither_the_hash_nor_the_address_is_told_to_anybody_else(
    opened: tuple[Scene, str], origin: Origin
) -> None:
    scene, endpoint = opened
    url = origin.serve_media("/lighthouse-5d1c.png", draw_canary())
    answer = await _ask(endpoint, url)

    assert answer.json()["pdq_hash_binary"] == format(int.from_bytes(PDQ), "0256b")
    told = scene.relay.read_log() + await scene.relay.metrics()
    for secret in (SECRET, "lighthouse-5d1c", PDQ.hex(), answer.json()["pdq_hash_binary"]):
        assert secret not in told


async def test_after_so_many_in_a_minute_piefed_is_put_off(world: World, dsn: str, origin: Origin) -> None:
    (port,) = free_ports(1)
    async with open_inside(
        world,
        dsn=dsn,
        doors_hash_endpoint="true",
        doors_port=str(port),
        doors_secret=SECRET,
        doors_hashes_per_minute="3",
    ):
        endpoint = f"http://127.0.0.1:{port}/{SECRET}/pdq"
        answers = [await _ask(endpoint, origin.url(f"/missing-{number}.png")) for number in range(4)]

    assert [answer.status_code for answer in answers] == [502, 502, 502, 429]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    assert origin.count("/missing-3.png") == 0
