"""One relay with its gateway open for all these tests, and one backend of each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from tests.e2e.gateway.backends import (
    NodeBackend,
    PythonBackend,
    open_node_backend,
    open_python_backend,
)
from tests.e2e.gateway.scene import GatewayScene, open_gateway_scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.e2e.world import World


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gateway(world: World) -> AsyncIterator[GatewayScene]:
    """The shared relay; tests use origins of their own."""
    async with open_gateway_scene(world) as opened:
        yield opened


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def backend(gateway: GatewayScene) -> AsyncIterator[PythonBackend]:
    """A backend that uses httpx."""
    async with open_python_backend(gateway.proxy, gateway.authority) as opened:
        yield opened


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def node(gateway: GatewayScene) -> AsyncIterator[NodeBackend]:
    """A backend that uses undici."""
    async with open_node_backend(gateway.proxy, gateway.authority) as opened:
        yield opened
