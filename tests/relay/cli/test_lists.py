from __future__ import annotations

import asyncio
import json
import random
from functools import partial
from typing import TYPE_CHECKING

import pytest

from db import alert_hits, audit
from relay.cli.options import with_database
from relay.config import load_settings
from relay.tools.hash_lists import load_lists
from scanner.canary import canary_list
from scanner.hashlist import ListFormat, parse_hash_list
from scanner.labels import Category
from tests.fediverse.clock import START
from tests.listed_videos import name_of, write_frames
from tests.relay.cli.commands import answer, breakwater

if TYPE_CHECKING:
    from pathlib import Path

    from db.pool import Database
    from scanner.hashlist import HashList

SHA256 = [f"{number:064x}" for number in range(1, 6)]


def in_use(data_dir: Path) -> tuple[HashList, ...]:
    settings = load_settings(None, {}, {"server.data_dir": data_dir})
    return asyncio.run(with_database(settings, partial(load_lists, now=START)))


def write(path: Path, *hashes: str) -> Path:
    path.write_text(
        "type,value,id\n" + "".join(f"sha256,{one},id-{one[-1]}\n" for one in hashes), encoding="utf-8"
    )
    return path


def test_a_list_is_imported_updated_shown_and_withdrawn(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    first = write(tmp_path / "first.csv", *SHA256[:3])
    words = ("lists", "import", first, "--name", "ours", "--category", "spam")
    imported = answer(*words, "--version", "1", "--distance", "20", "--label", "junk", data_dir=data_dir)
    assert (imported["entries"], imported["added"], imported["kept"]) == (3, 3, 0)
    # The file is the whole list: what it leaves out goes.
    second = write(tmp_path / "second.csv", *SHA256[2:4])
    replaced = answer("lists", "import", second, "--name", "ours", "--category", "spam", data_dir=data_dir)
    assert (replaced["entries"], replaced["added"], replaced["kept"], replaced["withdrawn"]) == (2, 1, 1, 2)
    third = write(tmp_path / "third.csv", *SHA256[4:])
    added = answer(
        "lists", "import", third, "--name", "ours", "--category", "spam", "--add", data_dir=data_dir
    )
    assert (added["entries"], added["added"], added["kept"]) == (3, 1, 2)
    (loaded,) = in_use(data_dir)
    assert (loaded.name, loaded.category, len(loaded)) == ("ours", Category.SPAM, 3)
    shown = answer("lists", "show", "ours", data_dir=data_dir)
    assert shown["hashes"] == {"sha256": 3}
    assert SHA256[4] not in json.dumps(shown)
    # One hash is taken back for good, whatever later versions say.
    taken = answer("lists", "withdraw", "ours", "--entry", f"sha256:{SHA256[4]}", data_dir=data_dir)
    assert taken["changed"]
    answer("lists", "import", third, "--name", "ours", "--category", "spam", data_dir=data_dir)
    assert sum(len(one) for one in in_use(data_dir)) == 0
    assert answer("lists", "withdraw", "ours", data_dir=data_dir)["changed"]
    assert answer("lists", "list", data_dir=data_dir) == []
    assert [one["name"] for one in answer("lists", "list", "--all", data_dir=data_dir)] == ["ours"]
    assert breakwater("lists", "withdraw", "ours", data_dir=data_dir).exit_code == 2


def test_a_list_of_videos_is_imported_counted_and_one_of_them_withdrawn(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    path = tmp_path / "videos.json"
    dice = random.Random(5)
    videos = [write_frames([dice.randbytes(32) for _ in range(4)]) for _ in range(2)]
    entries = [{"type": "vpdq", "value": one, "id": f"film-{place}"} for place, one in enumerate(videos)]
    path.write_text(json.dumps([*entries, {"sha256": SHA256[0]}]), encoding="utf-8")
    words = ("lists", "import", path, "--name", "ours", "--category", "spam")
    imported = answer(*words, data_dir=data_dir)
    assert (imported["entries"], imported["videos"]) == (3, 2)
    assert answer("lists", "show", "ours", data_dir=data_dir)["hashes"] == {"sha256": 1, "vpdq": 2}
    assert answer("lists", "withdraw", "ours", "--id", "film-0", data_dir=data_dir)["changed"]
    assert breakwater("lists", "withdraw", "ours", "--id", "film-7", data_dir=data_dir).exit_code == 2
    # Whatever later versions say.
    answer(*words, data_dir=data_dir)
    (loaded,) = in_use(data_dir)
    assert [one.id for one in loaded.videos] == [name_of(videos[1]).name.hex()]
    both = breakwater("lists", "withdraw", "ours", "--id", "a", "--entry", "md5:00", data_dir=data_dir)
    assert both.exit_code == 2


def test_what_was_done_with_lists_stands_in_the_audit_log(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    path = write(tmp_path / "list.csv", *SHA256[:1])
    answer("lists", "import", path, "--name", "ours", "--category", "spam", data_dir=data_dir)
    answer("lists", "withdraw", "ours", data_dir=data_dir)

    async def count(database: Database) -> int:
        async with database.connection() as conn:
            return await audit.verify_chain(conn)

    settings = load_settings(None, {}, {"server.data_dir": data_dir})
    assert asyncio.run(with_database(settings, count)) == 2


def test_lists_of_abuse_material_wait_for_the_answers(tmp_path: Path) -> None:
    path = write(tmp_path / "list.csv", *SHA256)
    words = ("lists", "import", path, "--name", "known", "--category", "csam-known")
    refused = breakwater(*words, data_dir=tmp_path / "data")
    assert refused.exit_code == 2
    for key in ("legal.jurisdiction", "legal.reporting_route", "legal.responsible_role"):
        assert key in refused.stderr
    assert not (tmp_path / "data").exists()
    answers = ("--jurisdiction", "DE", "--reporting-route", "hotline", "--responsible-role", "me")
    assert breakwater("init", "--yes", *answers, data_dir=tmp_path / "data").exit_code == 0
    assert answer(*words, data_dir=tmp_path / "data")["entries"] == 5


def test_a_file_with_a_bad_line_is_refused_whole_and_no_value_is_repeated(tmp_path: Path) -> None:
    path = write(tmp_path / "list.csv", SHA256[0], "not-a-hash-0123456789")
    words = ("lists", "import", path, "--name", "ours", "--category", "spam")
    refused = breakwater(*words, data_dir=tmp_path / "data")
    assert refused.exit_code == 2
    assert "line 3" in refused.stderr
    assert "0123456789" not in refused.stderr


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["import", "nowhere.csv", "--name", "x", "--category", "spam"], "cannot be read"),
        (["import", "list.dat", "--name", "x", "--category", "spam"], "--format csv, json or text"),
        (["import", "list.csv", "--name", "x", "--category", "spma"], "spma"),
        (["show", "nothing"], "lists list --all"),
        (["withdraw", "x", "--entry", "crc32:00"], "in hexadecimal"),
        (["withdraw", "x", "--entry", "md5:00"], "32 hexadecimal digits"),
    ],
)
def test_what_cannot_be_done_is_explained(tmp_path: Path, words: list[str], part: str) -> None:
    result = breakwater("lists", *words, data_dir=tmp_path / "data")
    assert result.exit_code == 2
    assert part in result.stderr


def test_the_template_is_a_list_that_can_be_imported() -> None:
    text = breakwater("lists", "export-template").output
    parsed = parse_hash_list(text.encode(), ListFormat.CSV)
    assert parsed.listed.digest() == canary_list().table.digest()
    assert answer("lists", "export-template") == {"csv": text}


def test_peers_may_be_warned_of_a_list_only_after_the_admin_said_so(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"

    async def find(database: Database) -> frozenset[str]:
        async with database.connection() as conn:
            return await alert_hits.list_allowing(conn, ["ours"])

    def allowing() -> frozenset[str]:
        settings = load_settings(None, {}, {"server.data_dir": data_dir})
        return asyncio.run(with_database(settings, find))

    first = write(tmp_path / "first.csv", SHA256[0])
    answer("lists", "import", first, "--name", "ours", "--category", "spam", data_dir=data_dir)
    assert allowing() == frozenset()
    assert answer("lists", "alerts", "ours", "--allow", data_dir=data_dir) == {"name": "ours", "alerts": True}
    # A new version of the list is under the same terms.
    answer("lists", "import", first, "--name", "ours", "--category", "spam", data_dir=data_dir)
    assert allowing() == {"ours"}
    answer("lists", "alerts", "ours", "--forbid", data_dir=data_dir)
    assert allowing() == frozenset()
    unknown = breakwater("lists", "alerts", "theirs", "--allow", data_dir=data_dir)
    assert unknown.exit_code == 2
    assert "breakwater lists list" in unknown.stderr
