from __future__ import annotations

import asyncio
import random
from functools import partial
from typing import TYPE_CHECKING

import pytest

from db import audit
from relay.cli.options import with_database
from relay.config import load_settings
from relay.tools.hash_lists import load_lists
from scanner.hashtable import HashKind, name_entry
from tests.fediverse.clock import START
from tests.relay.cli.commands import answer, breakwater

if TYPE_CHECKING:
    from pathlib import Path

    from db.pool import Database
    from scanner.hashlist import HashList

LISTED = random.Random(7).randbytes(32).hex()
ENTRY = name_entry(HashKind.PDQ, bytes.fromhex(LISTED))


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    path = tmp_path / "list.csv"
    path.write_text(f"type,value\npdq,{LISTED}\n", encoding="utf-8")
    directory = tmp_path / "data"
    answer("lists", "import", path, "--name", "ours", "--category", "spam", data_dir=directory)
    return directory


def in_use(data_dir: Path) -> HashList:
    settings = load_settings(None, {}, {"server.data_dir": data_dir})
    (one,) = asyncio.run(with_database(settings, partial(load_lists, now=START)))
    return one


def test_an_entry_is_suspended_and_reinstated(data_dir: Path) -> None:
    assert answer("lists", "noisy", data_dir=data_dir) == []
    suspended = answer("lists", "suspend", "ours", ENTRY, data_dir=data_dir)
    assert (suspended["state"], suspended["entry"]) == ("suspended", ENTRY)
    assert in_use(data_dir).suspended == {ENTRY}
    answer("lists", "reinstate", "ours", ENTRY, data_dir=data_dir)
    assert in_use(data_dir).suspended == frozenset()
    (one,) = answer("lists", "noisy", data_dir=data_dir)
    assert (one["list"], one["state"]) == ("ours", "kept")


def test_the_audit_log_names_the_list_and_not_the_entry(data_dir: Path) -> None:
    answer("lists", "suspend", "ours", ENTRY, data_dir=data_dir)

    async def read(database: Database) -> tuple[audit.AuditEntry, ...]:
        async with database.connection() as conn:
            return await audit.list_entries(conn, limit=99)

    settings = load_settings(None, {}, {"server.data_dir": data_dir})
    last = asyncio.run(with_database(settings, read))[0]
    assert (last.event, last.detail) == ("list_entry_suspended", {"list": "ours"})


@pytest.mark.parametrize(
    ("words", "said"),
    [(("theirs", ENTRY), "There is no list 'theirs'"), (("ours", LISTED), "is no name of an entry")],
)
def test_what_does_not_exist_is_not_suspended(data_dir: Path, words: tuple[str, str], said: str) -> None:
    result = breakwater("lists", "suspend", *words, data_dir=data_dir)
    assert result.exit_code == 2
    assert said in result.output
    assert in_use(data_dir).suspended == frozenset()


def test_the_own_lists_are_made_on_demand(data_dir: Path) -> None:
    assert answer("lists", "own", data_dir=data_dir) == {
        "files": 0,
        "added": 0,
        "dropped": 0,
        "changed": [],
    }
