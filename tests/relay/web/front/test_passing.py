"""What the front passes on to the server behind it, and what it never does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from relay.model import MediaDecision
from relay.stages.decide import Condition
from tests.e2e.process import free_ports
from tests.images import encode, marker
from tests.relay.web.front.scene import open_scene

if TYPE_CHECKING:
    from pathlib import Path

    from relay.line import Tools
    from tests.relay.web.front.scene import Scene

pytestmark = pytest.mark.asyncio(loop_scope="session")

PICTURE = encode(marker(302), "PNG")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_server_is_asked_under_the_instances_name_for_whoever_asks(
    scene: Scene, method: str
) -> None:
    scene.server.serve_media("/pictrs/image/a.png", PICTURE)
    answer = await scene.get(
        "/pictrs/image/a.png?format=webp",
        method=method,
        Host="social.example",
        X_Forwarded_For="203.0.113.7",
        X_Forwarded_Proto="https",
        Cookie="a=b",
        Accept_Encoding="gzip",
    )
    assert answer.status_code == 200
    (asked,) = scene.server.requests
    assert (asked.method, asked.target) == ("GET", "/pictrs/image/a.png?format=webp")
    given = {name: asked.header(name) for name in ("Host", "X-Forwarded-For", "X-Forwarded-Proto", "Cookie")}
    assert given == {
        "Host": "social.example",
        "X-Forwarded-For": "203.0.113.7",
        "X-Forwarded-Proto": "https",
        "Cookie": "a=b",
    }
    # What is hashed is what the server stores, not one of its compressions.
    assert asked.header("Accept-Encoding") == "identity"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/inbox",
        "/systems/a.png",
        "/api/v1/accounts",
        "/%73ystem/a.png",
        "/system",
    ],
)
async def test_other_paths_are_not_served_here(scene: Scene, path: str) -> None:
    scene.server.serve_media(path, PICTURE)
    assert (await scene.get(path)).status_code == 404
    assert not scene.server.requests


@pytest.mark.parametrize(
    "path", ["/system/%2e%2e/inbox", "/system//a.png", "/system/a%2fb", "/system/a;b", "/system/a%00"]
)
async def test_a_path_that_leads_elsewhere_for_some_programs_is_refused(scene: Scene, path: str) -> None:
    assert (await scene.get(path)).status_code == 400
    assert not scene.server.requests


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_nothing_can_be_changed_here(scene: Scene, method: str) -> None:
    answer = await scene.get("/system/a.png", method=method)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert not scene.server.requests


async def test_a_server_that_does_not_listen_is_an_error_of_ours(line_tools: Tools, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    async with open_scene(line_tools, tmp_path, upstream=f"http://127.0.0.1:{port}") as scene:
        assert (await scene.get("/system/a.png")).status_code == 502


async def test_a_front_that_leads_to_itself_ends_at_once_and_says_why(
    line_tools: Tools, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_scene(line_tools, tmp_path, upstream="http://127.0.0.1:PORT") as scene:
        assert (await scene.get("/system/a.png")).status_code == 508
    assert "media_front_asks_itself" in {record.message.split()[0] for record in caplog.records}


async def test_whoever_opens_the_front_is_told_what_it_will_not_serve(
    line_tools: Tools, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    word = "media_front_withholds_unscannable"
    conditions = {**line_tools.policy.conditions, Condition.UNSCANNABLE: MediaDecision.RELEASE}
    loose = replace(line_tools, policy=replace(line_tools.policy, conditions=conditions))
    async with open_scene(loose, tmp_path):
        assert word not in caplog.text
    async with open_scene(line_tools, tmp_path):
        assert word in caplog.text


async def test_answers_are_counted(scene: Scene) -> None:
    scene.server.serve_media("/system/a.png", PICTURE)
    await scene.get("/system/a.png")
    numbers = scene.tools.metrics.render()[0].decode()
    assert 'breakwater_door_answers_total{door="media_front",status="200"}' in numbers
