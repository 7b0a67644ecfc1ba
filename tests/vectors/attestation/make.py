"""Write the conformance vectors, one for every rule that can be broken among them, and the FEP's examples.

    python -m tests.vectors.attestation.make

Every case is a file of its own. A test makes them again and compares. `README.md` beside this says how to use
them. The keys come from printed seeds, and are refused in production.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.vectors.attestation.example import make_example
from tests.vectors.attestation.fields import make_fields
from tests.vectors.attestation.malformed import make_malformed
from tests.vectors.attestation.messages import make_messages
from tests.vectors.attestation.peers import make_alerts, make_doubts
from tests.vectors.attestation.printed import FEP, print_examples
from tests.vectors.attestation.refused import make_refused
from tests.vectors.attestation.revocations import make_revocations
from tests.vectors.attestation.valid import make_valid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.vectors.attestation.kit import Json

FOLDER: Final = Path(__file__).parent
_ORIGIN: Final = "made by tests/vectors/attestation/make.py; CC0-1.0 OR Apache-2.0"


def make_files() -> dict[str, str]:
    """Return the text of every file by its path below this folder."""
    files = {"example.json": _write(make_example())}
    for folder, cases in (
        ("attestations", [*make_valid(), *make_malformed(), *make_refused()]),
        ("revocations", make_revocations()),
        ("alerts", make_alerts()),
        ("doubts", make_doubts()),
        ("fields", make_fields()),
        ("messages", make_messages()),
    ):
        files |= _name(folder, cases)
    return files


def _name(folder: str, cases: Iterable[Json]) -> dict[str, str]:
    files: dict[str, str] = {}
    for one in cases:
        group = "valid" if one["expected"] == "valid" else "refused"
        slug = re.sub(r"[^a-z0-9]+", "-", one["name"].lower()).strip("-")
        path = f"{folder}/{group}/{slug}.json"
        if path in files:
            raise ValueError(f"two cases are called {path}")
        files[path] = _write(one)
    return files


def _write(value: Json) -> str:
    return json.dumps({"origin": _ORIGIN, **value}, indent=1) + "\n"


def write_files() -> int:
    """Write every file and the examples of the FEP, delete other files, and return how many there are."""
    files = make_files()
    for old in FOLDER.rglob("*.json"):
        if str(old.relative_to(FOLDER)) not in files:
            old.unlink()
    for path, text in files.items():
        place = FOLDER / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    FEP.write_text(print_examples(FEP.read_text(encoding="utf-8"), files), encoding="utf-8")
    return len(files)


if __name__ == "__main__":
    print(f"{write_files()} files are written.")
