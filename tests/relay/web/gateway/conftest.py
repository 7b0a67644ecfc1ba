"""One gateway for all tests that need none of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest
import pytest_asyncio

from tests.conftest import with_database
from tests.relay.web.gateway.scene import Scene, open_scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_DATABASE = "breakwater_gateway"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_scene(
    postgres_dsn: str, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Scene]:
    connection = await asyncpg.connect(postgres_dsn)
    try:
        await connection.execute(f'CREATE DATABASE "{_DATABASE}" TEMPLATE "{template_database}"')
    finally:
        await connection.close()
    folder = tmp_path_factory.mktemp("gateway")
    async with open_scene(with_database(postgres_dsn, _DATABASE), folder) as opened:
        yield opened


@pytest.fixture
def scene(shared_scene: Scene) -> Scene:
    """The shared gateway, with remote servers that nobody asked yet."""
    shared_scene.forget()
    return shared_scene
