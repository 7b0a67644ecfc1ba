"""Three instances that rely on each other, and databases for those tests that need instances of their own."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
import pytest
import pytest_asyncio

from scanner.detectors import DETECTORS
from tests.conftest import with_database
from tests.e2e.exchange.instance import befriend, open_instances
from tests.e2e.exchange.model import BUILDER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.e2e.exchange.instance import Instance
    from tests.e2e.world import World

Trio: TypeAlias = "tuple[Instance, Instance, Instance]"
MakeDatabases: TypeAlias = Callable[[int], Awaitable[tuple[str, ...]]]

_numbers = itertools.count(1)


@pytest.fixture(scope="module", autouse=True)
def costly_model() -> Iterator[None]:
    """Give every scanner that is opened the model of its relay."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scanner.scan.DETECTORS", (*DETECTORS, BUILDER))
        yield


@pytest.fixture(scope="session")
def make_databases(postgres_dsn: str, template_database: str) -> MakeDatabases:
    """Makes new databases with the schema."""

    async def make(count: int) -> tuple[str, ...]:
        names = [f"breakwater_exchange_{next(_numbers)}" for _ in range(count)]
        connection = await asyncpg.connect(postgres_dsn)
        try:
            for name in names:
                await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template_database}"')
        finally:
            await connection.close()
        return tuple(with_database(postgres_dsn, name) for name in names)

    return make


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def trio(world: World, make_databases: MakeDatabases) -> AsyncIterator[Trio]:
    """A, whom B and C trust; for tests that leave them as they were. B and C know nothing of each other."""
    async with open_instances(world, await make_databases(3)) as (a, b, c):
        for one in (b, c):
            await befriend(one, a)
            await one.trust(a)
        yield a, b, c
