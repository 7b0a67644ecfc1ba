"""A scanner for the stages that look at bytes; its decoder processes start once a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.tools.scanning import open_scanning
from scanner.scan import open_scanner
from scanner.settings import ScannerSettings
from tests.fediverse.clock import START

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from relay.tools.scanning import Scanning
    from scanner.scan import Scanner


@pytest.fixture(scope="session")
def scanner() -> Iterator[Scanner]:
    """A scanner that knows the canary and no other list."""
    with open_scanner(ScannerSettings(workers=1, embedded_classifier=False)) as opened:
        yield opened


@pytest.fixture
async def scanning(scanner: Scanner) -> AsyncIterator[Scanning]:
    """The scanner, awaited."""
    async with open_scanning(scanner, threads=2, secret=bytes(32), now=START) as opened:
        yield opened
