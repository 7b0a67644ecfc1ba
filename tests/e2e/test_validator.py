"""pict-rs' contract against the real process: what it would store was examined, whatever comes at once."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import random
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import pytest
import pytest_asyncio
from PIL import Image

from db import cases, verdicts
from db.embedded import open_postgres
from relay.model import Door
from scanner.canary import PDQ, draw_canary
from scanner.report import Verdict
from tests.e2e.process import free_ports, open_relay_process, scratch_directory
from tests.e2e.world import Scene, open_scene, wait_until
from tests.images import animation, encode, marker
from tests.pictrs import PictRs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.e2e.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

SECRET: Final = "the-secret-of-the-end-to-end-tests"
CLIENTS: Final = 40
IMAGES_EACH: Final = 4
BAD_SHARE: Final = 10
"""One image in so many is the canary, or looks like it."""


class Validated:
    """A relay with its validator open, and connections of pict-rs to it."""

    def __init__(self, scene: Scene, port: int) -> None:
        self.scene = scene
        self._port = port

    def open(self, path: str = f"/{SECRET}/validate") -> PictRs:
        return PictRs(port=self._port, path=path)

    async def find_verdict(self, data: bytes) -> verdicts.StoredVerdict | None:
        async with self.scene.database.connection() as conn:
            return await verdicts.find_latest(conn, hashlib.sha256(data).digest())


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def validated(world: World) -> AsyncIterator[Validated]:
    """A relay of this module alone."""
    (port,) = free_ports(1)
    async with open_scene(world, doors_validator="true", doors_port=str(port), doors_secret=SECRET) as scene:
        yield Validated(scene, port)


def look_alike(number: int) -> bytes:
    """Bytes that are nobody's, and look like the canary."""
    image = Image.open(io.BytesIO(draw_canary())).convert("RGB")
    image.putpixel((number % image.width, number // image.width), (1, 2, 3))
    return encode(image, "PNG")


def draw(number: int) -> bytes:
    return encode(marker(1_000 + number, width=160, height=120), "PNG")


async def test_all_media_types_of_pict_rs_over_one_connection(validated: Validated) -> None:
    frames = [marker(seed, width=120, height=90) for seed in (71, 72)]
    known = {
        "image/apng": animation(frames, "PNG"),
        "image/avif": encode(frames[0], "AVIF"),
        "image/gif": animation(frames, "GIF"),
        "image/jpeg": encode(frames[0], "JPEG"),
        "image/png": encode(frames[0], "PNG"),
        "image/webp": encode(frames[0], "WEBP"),
    }
    unknown = {
        "image/jxl": b"\xff\x0a" + bytes(300),
        "video/mp4": b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes(300),
        "video/webm": b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm" + bytes(300),
    }
    async with validated.open() as pictrs:
        for _ in range(2):  # pict-rs asks again for every duplicate.
            for content_type, data in known.items():
                assert (await pictrs.ask(data, content_type)).status == 200, content_type
            for content_type, data in unknown.items():
                # Never a 5xx for bytes that could not be read.
                assert (await pictrs.ask(data, content_type)).status == 422, content_type
    for data in known.values():
        stored = await validated.find_verdict(data)
        assert stored is not None
        assert stored.verdict == Verdict.NO_MATCH
        assert await validated.scene.find_attestation(data) is None


async def test_in_a_burst_nothing_is_accepted_that_was_not_examined(validated: Validated) -> None:
    dice = random.Random(7)
    count = CLIENTS * IMAGES_EACH
    bad = [draw_canary() if number % 2 else look_alike(number) for number in range(count // BAD_SHARE)]
    fresh = [draw(number) for number in range(count // 2)]
    copies = [dice.choice(fresh) for _ in range(count - len(bad) - len(fresh))]
    images = [*bad, *fresh, *copies]
    dice.shuffle(images)

    async def upload(mine: list[bytes]) -> list[bool]:
        async with validated.open() as pictrs:
            return [await pictrs.accepts(data, "image/png") for data in mine]

    async with asyncio.TaskGroup() as group:
        clients = [group.create_task(upload(images[number::CLIENTS])) for number in range(CLIENTS)]
    accepted: list[bytes] = []
    for number, client in enumerate(clients):
        for data, is_accepted in zip(images[number::CLIENTS], client.result(), strict=True):
            accepted += [data] if is_accepted else []

    assert not set(accepted) & set(bad)
    assert len(accepted) == count - len(bad)
    for data in set(accepted):
        stored = await validated.find_verdict(data)
        assert stored is not None
        assert stored.verdict == Verdict.NO_MATCH
    async with validated.scene.database.connection() as conn:
        opened = [one for one in await cases.list_cases(conn, limit=100) if one.category == "spam"]
    assert {case.sha256 for case in opened} == {hashlib.sha256(data).digest() for data in bad}
    assert len(opened) == len(set(bad))
    assert {case.door for case in opened} == {Door.VALIDATOR}


async def test_neither_the_secret_nor_what_was_found_is_told(validated: Validated) -> None:
    async with validated.open() as pictrs:
        refused = await pictrs.ask(draw_canary(), "image/png")
    async with validated.open("/wrong-secret-wrong-secret/validate") as stranger:
        hidden = await stranger.ask(draw_canary(), "image/png")

    assert (refused.status, hidden.status) == (403, 404)
    told = validated.scene.relay.read_log() + await validated.scene.relay.metrics()
    told = f"{told}{refused.body!r}{refused.headers}{hidden.body!r}{hidden.headers}".lower()
    digest = hashlib.sha256(draw_canary()).digest()
    for secret in (SECRET, digest.hex(), base64.b64encode(digest).decode(), PDQ.hex()):
        assert secret.lower() not in told


async def test_the_printed_address_is_the_one_that_answers(world: World) -> None:
    (port,) = free_ports(1)
    async with open_scene(world, doors_validator="true", doors_port=str(port)) as scene:
        status, printed = await scene.relay.run_command(
            "doors", "--data-dir", str(scene.relay.data_dir), "--port", str(scene.relay.port)
        )
        assert status == 0
        name = "PICTRS__MEDIA__EXTERNAL_VALIDATION="
        address = next(line for line in printed.splitlines() if name in line).partition(name)[2].strip()
        base = f"http://127.0.0.1:{port}"
        assert address.startswith(base + "/")
        async with AsyncExitStack() as stack:
            pictrs = await stack.enter_async_context(PictRs(port=port, path=address.removeprefix(base)))
            assert await pictrs.accepts(draw(9_000), "image/png")
            # The hash endpoint was not opened.
            other = address.removeprefix(base).removesuffix("validate") + "pdq"
            closed = await stack.enter_async_context(PictRs(port=port, path=other))
            assert (await closed.ask(b"x", "image/png")).status == 404


async def test_a_relay_that_dies_accepts_nothing(world: World) -> None:
    (port,) = free_ports(1)
    async with (
        open_scene(world, doors_validator="true", doors_port=str(port), doors_secret=SECRET) as scene,
        PictRs(port=port, path=f"/{SECRET}/validate") as pictrs,
    ):
        assert await pictrs.accepts(draw(9_001), "image/png")
        await scene.relay.kill9()
        assert not await pictrs.accepts(draw(9_002), "image/png")
        await scene.relay.start()
        assert await pictrs.accepts(draw(9_001), "image/png")
        assert await pictrs.accepts(draw(9_002), "image/png")


async def test_without_its_database_the_relay_accepts_no_file(world: World) -> None:
    (port,) = free_ports(1)
    known, fresh = draw(9_003), draw(9_004)
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(scratch_directory())
        postgres = await stack.enter_async_context(AsyncExitStack())
        dsn = await postgres.enter_async_context(open_postgres(directory / "other"))
        await stack.enter_async_context(
            open_relay_process(
                backend_url="http://127.0.0.1:9",
                ports=world.ports,
                database_url=dsn,
                doors_validator="true",
                doors_port=str(port),
                doors_secret=SECRET,
            )
        )
        pictrs = await stack.enter_async_context(PictRs(port=port, path=f"/{SECRET}/validate"))
        assert await pictrs.accepts(known, "image/png")

        await postgres.aclose()
        for data in (known, fresh):
            answer = await pictrs.ask(data, "image/png")
            assert answer.status == 503
            assert int(answer.header("Retry-After") or 0) > 0

        assert await postgres.enter_async_context(open_postgres(directory / "other")) == dsn

        async def is_back() -> bool | None:
            return await pictrs.accepts(known, "image/png") or None

        await wait_until(is_back, "the database")
        assert await pictrs.accepts(fresh, "image/png")


async def test_a_large_file_is_read_whole_and_a_larger_one_refused(world: World) -> None:
    (port,) = free_ports(1)
    noise = random.Random(3).randbytes(2_500 * 2_000 * 3)
    large = encode(Image.frombytes("RGB", (2_500, 2_000), noise), "PNG", compress_level=1)
    async with (
        open_scene(
            world,
            doors_validator="true",
            doors_port=str(port),
            doors_secret=SECRET,
            fetch_max_media_bytes=str(len(large)),
        ) as scene,
        PictRs(port=port, path=f"/{SECRET}/validate") as pictrs,
    ):
        assert len(large) > 15_000_000
        assert (await pictrs.ask(large, "image/png")).status == 200
        async with scene.database.connection() as conn:
            assert await verdicts.find_latest(conn, hashlib.sha256(large).digest()) is not None
        assert (await pictrs.ask(large + b"x", "image/png")).status == 413
        assert await pictrs.accepts(draw(9_005), "image/png")
