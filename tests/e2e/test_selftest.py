"""The self-test tells a relay that works from one that does not, whether text waits for its media or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from db import cases
from tests.e2e.gateway.scene import open_gateway_scene
from tests.e2e.inside import open_inside
from tests.e2e.process import free_ports

if TYPE_CHECKING:
    from tests.e2e.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize(("enforces", "word"), [("false", "withheld"), ("true", "the text went through")])
async def test_it_passes_with_and_without_a_media_door(
    enforces: str, word: str, world: World, dsn: str
) -> None:
    checks = await _run(world, dsn, backend_enforces_media=enforces)

    assert {name for name, one in checks.items() if not one["passed"]} == set()
    assert word in checks["canary"]["detail"]


@pytest.mark.parametrize("enforces", ["false", "true"])
async def test_it_fails_where_the_canary_is_let_through(enforces: str, world: World, dsn: str) -> None:
    checks = await _run(world, dsn, backend_enforces_media=enforces, policy_spam_media="release")

    assert not checks["canary"]["passed"]
    assert "reached the backend" in checks["canary"]["detail"]


@pytest.mark.parametrize(("spam", "passes"), [("withhold", True), ("release", False)])
async def test_every_door_that_is_open_is_tried_as_the_backend_would(
    spam: str, *, passes: bool, world: World, dsn: str
) -> None:
    gateway, doors = free_ports(2)
    checks = await _run(
        world,
        dsn,
        policy_spam_media=spam,
        gateway_enabled="true",
        gateway_opens_tls="false",
        gateway_port=str(gateway),
        doors_validator="true",
        doors_hash_endpoint="true",
        doors_lookup="true",
        doors_port=str(doors),
    )

    assert checks["gateway"]["passed"] is passes
    assert checks["validator"]["passed"] is passes
    assert checks["hash endpoint"]["passed"]
    # It says what the lists hold, whatever the policy makes of it.
    assert checks["look-up"]["passed"]
    assert "gateway, https" not in checks


async def test_the_gateways_own_authority_is_tried_and_no_case_of_a_test_stays_open(world: World) -> None:
    async with open_gateway_scene(world) as scene, httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(f"{scene.relay.admin}/selftest", timeout=120)
        async with scene.database.connection() as conn:
            opened = await cases.count_cases(conn)

    checks = {one["name"]: one for one in answer.json()["checks"]}
    assert checks["gateway"]["passed"], checks["gateway"]["detail"]
    assert checks["gateway, https"]["passed"], checks["gateway, https"]["detail"]
    assert opened[cases.CaseState.OPEN] == 0
    assert opened[cases.CaseState.UPHELD] > 0


async def _run(world: World, dsn: str, **settings: str) -> dict[str, dict[str, Any]]:
    async with open_inside(world, dsn=dsn, **settings) as scene, httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(f"{scene.relay.admin}/selftest", timeout=120)
    return {one["name"]: one for one in answer.json()["checks"]}
