"""Read the vectors as they lie on disk."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent


def read_cases(folder: str) -> list[dict[str, Any]]:
    """Read every case of a folder, each with the path that it is named by in messages of tests."""
    return [
        {"path": str(path.relative_to(FOLDER)), **json.loads(path.read_text(encoding="utf-8"))}
        for path in sorted((FOLDER / folder).rglob("*.json"))
    ]


def read_example() -> dict[str, Any]:
    """Read the example that the FEP prints."""
    example: dict[str, Any] = json.loads((FOLDER / "example.json").read_text(encoding="utf-8"))
    return example


def raw_of(case: dict[str, Any]) -> bytes:
    """Return the bytes that were received."""
    if "rawBase64" in case:
        return base64.b64decode(case["rawBase64"])
    raw: str = case["raw"]
    return raw.encode()
