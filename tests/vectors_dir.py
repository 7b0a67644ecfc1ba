"""Where test vectors lie: the project's own tables, and the larger published sets where they are at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

OWN = Path(__file__).parent / "vectors"
PUBLISHED = Path(__file__).parents[2] / "shared" / "vectors"


def own_vectors(path: str) -> Any:
    """Load a table that the project carries itself."""
    return json.loads((OWN / path).read_text(encoding="utf-8"))


def published_vectors(path: str) -> Path:
    """Return a file or folder of the published sets; skip the test where they are not at hand."""
    found = PUBLISHED / path
    if not found.exists():
        pytest.skip(f"the published vectors are not at hand: {path}")
    return found
