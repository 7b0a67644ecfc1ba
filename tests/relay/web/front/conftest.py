"""One media front for all tests that need none of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest
import pytest_asyncio

from tests.conftest import with_database
from tests.relay.line import open_line
from tests.relay.web.front.scene import Scene, open_scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.line import Tools

_DATABASE = "breakwater_front"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def line_tools(postgres_dsn: str, template_database: str) -> AsyncIterator[Tools]:
    """What all fronts of these tests work with."""
    connection = await asyncpg.connect(postgres_dsn)
    try:
        await connection.execute(f'CREATE DATABASE "{_DATABASE}" TEMPLATE "{template_database}"')
    finally:
        await connection.close()
    async with open_line(with_database(postgres_dsn, _DATABASE)) as line:
        yield line.tools


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_scene(line_tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with open_scene(line_tools, tmp_path_factory.mktemp("front")) as opened:
        yield opened


@pytest.fixture
def scene(shared_scene: Scene) -> Scene:
    """The shared front, with a server that nobody asked yet."""
    shared_scene.forget()
    return shared_scene
