from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.relay.web.gateway.scene import Scene, open_scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def scene(dsn: str, tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(dsn, tmp_path) as opened:
        yield opened
