"""One scanner without classifiers for all tests that do not need their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scanner.scan import Scanner, open_scanner
from scanner.settings import ScannerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAIN = ScannerSettings(workers=1, embedded_classifier=False)


@pytest.fixture(scope="session")
def plain_scanner() -> Iterator[Scanner]:
    """A scanner with one worker, the canary list and no classifier; tests must not replace its lists."""
    with open_scanner(PLAIN) as scanner:
        yield scanner
