"""Let one examination of the same bytes run at a time, in a task of its own.

Whoever asks waits for the flight under way. A caller that is cancelled leaves the flight alone:
the others still get their answer, and the next caller never finds a dead one.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Hashable

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")


class Flights(Generic[K, V]):
    """Share one running call among everyone who asks for the same key."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._under_way: dict[K, asyncio.Future[V]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def share(self, key: K, call: Callable[[], Awaitable[V]]) -> V:
        """Return the result of the flight for `key`, starting it if none is under way.

        Raises:
            Exception: Whatever the call raised; every caller of that flight sees it.
        """
        flight = self._under_way.get(key)
        if flight is None:
            flight = asyncio.get_running_loop().create_future()
            self._under_way[key] = flight
            task = self._group.create_task(self._fly(key, call, flight))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(flight)

    async def _fly(self, key: K, call: Callable[[], Awaitable[V]], flight: asyncio.Future[V]) -> None:
        try:
            value = await call()
        except asyncio.CancelledError:
            flight.cancel()
            raise
        except Exception as error:  # noqa: BLE001 (it is handed on to every waiting caller)
            flight.set_exception(error)
            flight.exception()  # Marks it as seen: the callers may all have gone.
        else:
            flight.set_result(value)
        finally:
            del self._under_way[key]

    def stop(self) -> None:
        """Cancel every flight under way; for the end of the process."""
        for task in self._tasks:
            task.cancel()


@asynccontextmanager
async def open_flights() -> AsyncIterator[Flights[Any, Any]]:
    """Open a set of flights that ends with its context; flights under way are then cancelled."""
    async with asyncio.TaskGroup() as group:
        flights: Flights[Any, Any] = Flights(group)
        try:
            yield flights
        finally:
            flights.stop()
