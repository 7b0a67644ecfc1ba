"""Run the synchronous scanner from asynchronous code, with as many threads as it has workers."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from scanner.hashlist import HashList
    from scanner.report import Report
    from scanner.scan import ScannerState


class Scans(Protocol):
    """What scans bytes: the scanner of this process."""

    def scan(self, data: bytes, *, declared_type: str | None = None) -> Report:
        """Return the report on some bytes."""
        ...

    def state(self) -> ScannerState:
        """Return what the scanner is made of at this moment."""
        ...

    def replace_lists(self, lists: Sequence[HashList]) -> None:
        """Swap the hash lists."""
        ...


class Scanning:
    """The scanner, awaited."""

    def __init__(self, scanner: Scans, executor: ThreadPoolExecutor) -> None:
        self._scanner = scanner
        self._executor = executor

    async def scan(self, data: bytes, *, declared_type: str | None) -> Report:
        """Scan bytes in a thread; the thread waits for a sandboxed worker."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._executor, lambda: self._scanner.scan(data, declared_type=declared_type)
        )

    async def replace_lists(self, lists: Sequence[HashList]) -> None:
        """Swap the hash lists; building the index does not stop the loop."""
        await asyncio.get_running_loop().run_in_executor(
            self._executor, lambda: self._scanner.replace_lists(lists)
        )

    def state(self) -> ScannerState:
        """Return what the scanner is made of at this moment."""
        return self._scanner.state()


@asynccontextmanager
async def open_scanning(scanner: Scans, *, threads: int) -> AsyncIterator[Scanning]:
    """Give a scanner its threads."""
    executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="scan")
    try:
        yield Scanning(scanner, executor)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
