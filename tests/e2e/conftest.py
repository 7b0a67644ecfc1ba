"""One world, and one relay for all end-to-end tests that do not need one of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.e2e.world import Scene, World, open_scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fediverse import Origin


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world() -> AsyncIterator[World]:
    """The remote servers."""
    async with World.open() as opened:
        yield opened


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def scene(world: World) -> AsyncIterator[Scene]:
    """The shared relay with its backend; tests use origins of their own and look for their own bodies."""
    async with open_scene(world) as opened:
        yield opened


@pytest.fixture
def origin(world: World) -> Origin:
    """A remote server of this test alone."""
    return world.take_origin()
