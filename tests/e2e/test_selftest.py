"""The self-test tells a relay that works from one that does not, whether text waits for its media or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.e2e.inside import open_inside

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


async def _run(world: World, dsn: str, **settings: str) -> dict[str, dict[str, Any]]:
    async with open_inside(world, dsn=dsn, **settings) as scene, httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(f"{scene.relay.admin}/selftest", timeout=120)
    return {one["name"]: one for one in answer.json()["checks"]}
