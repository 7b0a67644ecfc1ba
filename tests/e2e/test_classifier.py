"""A relay as `make run` starts it: with the embedded classifier, which labels and does not decide."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from db import verdicts
from relay.lifecycle import State
from scanner.canary import draw_canary
from scanner.report import RunOutcome, report_from_json
from tests.e2e.world import open_scene
from tests.fediverse import shapes
from tests.images import encode, photograph

if TYPE_CHECKING:
    from tests.e2e.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.timeout(180)
async def test_with_the_embedded_classifier_photographs_pass_and_the_canary_does_not(world: World) -> None:
    async with open_scene(world, scanner_classifier="embedded") as scene:
        origin = world.take_origin()
        actor = origin.create_actor("alice")
        photo = origin.serve_media("/p.jpg", encode(photograph("chelsea"), "JPEG"), "image/jpeg")
        passes = shapes.create(actor, shapes.mastodon_note(actor, [photo], media_type="image/jpeg"))
        stays = shapes.mastodon_create(actor, [origin.serve_media("/c.png", draw_canary())])

        for activity, state in ((passes, State.FORWARDED), (stays, State.HELD)):
            assert (await scene.deliver(actor, activity)).status == 202
            assert (await scene.wait_for_state(activity)).state is state

        attested = await scene.wait_for_attestation(encode(photograph("chelsea"), "JPEG"))
        async with scene.database.connection() as conn:
            verdict = await verdicts.find_latest(conn, attested.sha256)
        assert verdict is not None
        runs = {run.name: run.outcome for run in report_from_json(verdict.report).detectors}
        assert runs["embedded-classifier"] is RunOutcome.RAN

        place = ("--data-dir", str(scene.relay.data_dir), "--port", str(scene.relay.port))
        admin = ("--admin-port", str(scene.relay.admin_port))
        status, output = await scene.relay.run_command("selftest", "--json", *place, *admin)
        results = json.loads(output.splitlines()[-1])
        assert (status, results["passed"]) == (0, True)
        assert {check["name"] for check in results["checks"]} >= {"harmless picture", "canary"}
        # The self-test ends at the stand-in, never at the real server.
        assert not any(b"selftest" in body for body in scene.backend.bodies)
