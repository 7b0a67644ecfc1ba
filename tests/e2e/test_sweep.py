"""A sweep runs beside the relay, on its database; what it finds is removed through the server alone."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from scanner.canary import draw_canary
from tests.e2e.process import RelayProcess, open_relay_process
from tests.e2e.world import wait_until
from tests.fediverse import RecordingBackend
from tests.fediverse.servers.base import TOKEN
from tests.fediverse.servers.lemmy import LemmyServer
from tests.fediverse.servers.pictrs import PictrsServer
from tests.relay.sweep.parts import BROKEN, fresh_canary, picture, write_tree

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

pytestmark = pytest.mark.e2e

_ROOT = Path(__file__).parents[2]


class GatedPictrs(PictrsServer):
    """Gives one file out only when it is told to, and counts what is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.gated = ""
        self.reached = asyncio.Event()
        self.gate = asyncio.Event()
        self.given: Counter[str] = Counter()

    async def _original(self, request: web.Request) -> web.Response:
        alias = request.match_info["alias"]
        if alias == self.gated:
            self.reached.set()
            await self.gate.wait()
        self.given[alias] += 1
        return await super()._original(request)


@asynccontextmanager
async def open_lemmy(pictrs: PictrsServer) -> AsyncIterator[RelayProcess]:
    """Run a relay in front of a Lemmy whose known media it may remove."""
    async with (
        RecordingBackend.open() as backend,
        LemmyServer.open() as lemmy,
        open_relay_process(
            backend_url=backend.url,
            ports=(443,),
            backend_software="lemmy",
            backend_api_url=lemmy.url,
            backend_token=TOKEN,
            backend_pictrs_url=pictrs.url,
            backend_pictrs_key=TOKEN,
            policy_spam_act="remove",
            scanner_workers="1",
        ) as relay,
    ):
        yield relay


def words(relay: RelayProcess, *arguments: str) -> tuple[str, ...]:
    return ("sweep", *arguments, "--data-dir", str(relay.data_dir), "--json")


async def sweep(relay: RelayProcess, *arguments: str) -> tuple[int, Any]:
    status, said = await relay.run_command(*words(relay, *arguments))
    return status, json.loads(said) if said.startswith("{") else said


async def test_known_media_is_removed_by_the_running_relay_and_nothing_else_is(tmp_path: Path) -> None:
    files = {
        "picture.png": picture(),
        "lighthouse-7f3a9c.png": draw_canary(),
        "near.png": fresh_canary(),
        "broken.png": BROKEN,
    }
    async with PictrsServer.open() as pictrs, open_lemmy(pictrs) as relay:
        pictrs.files = dict(files)
        status, said = await sweep(relay, "pict-rs")
        assert (status, "--dry-run first" in said) == (2, True)

        status, said = await sweep(relay, "pict-rs", "--dry-run")
        assert (status, said["matched"], said["cases"], said["errands"]) == (3, {"spam": 2}, [], 0)
        assert said["unscannable"] == {"truncated": 1}
        assert pictrs.files == files

        status, said = await sweep(relay, "pict-rs")
        assert (status, said["known"], len(said["cases"]), said["errands"]) == (3, 4, 2, 1)
        assert (said["cases_by_hand"], "lighthouse" in json.dumps(said)) == ([], False)

        async def find() -> bool | None:
            return True if "lighthouse-7f3a9c.png" not in pictrs.files else None

        assert await wait_until(find, "the purge of the canary")
        assert pictrs.files == {name: files[name] for name in files if not name.startswith("lighthouse")}

        # The relay and its commands share their verdicts: the same bytes on a disk are known already.
        status, said = await sweep(
            relay, "local", "--dry-run", "--path", str(write_tree(tmp_path, {"copy.png": picture()}))
        )
        assert (status, said["known"], said["scanned"]) == (0, 1, 0)
        assert "lighthouse" not in relay.read_log()


async def test_a_sweep_that_is_interrupted_goes_on_where_it_stopped() -> None:
    async with GatedPictrs.open() as pictrs, open_lemmy(pictrs) as relay:
        pictrs.files = {f"{number:02}.png": picture(number % 3) for number in range(40)}
        pictrs.gated = "30.png"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "relay", *words(relay, "pict-rs", "--dry-run")),
            cwd=_ROOT,
            env=relay.environment(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        async with asyncio.timeout(60):
            await pictrs.reached.wait()
            status, said = await sweep(relay, "pict-rs", "--dry-run")
            assert (status, "Another sweep of the same source is running" in said) == (2, True)
            process.send_signal(signal.SIGINT)
            assert b"Stopping after the files that were begun" in await process.stderr.readline()
            pictrs.gate.set()
            output, _ = await process.communicate()
        half = json.loads(output)
        assert (process.returncode, half["finished"], half["failure"]) == (1, False, "")
        assert 0 < half["files"] < 40

        status, whole = await sweep(relay, "pict-rs", "--dry-run")
        assert (status, whole["finished"], whole["resumed"], whole["files"]) == (0, True, True, 40)
        assert pictrs.given == dict.fromkeys(pictrs.files, 1)
