"""Lists that are fetched, as an admin adds, fetches, watches and removes them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.relay.cli.commands import answer, breakwater

if TYPE_CHECKING:
    from pathlib import Path

CSV = ["add", "csv", "--name", "x", "--category", "spam", "--url", "https://l.example/"]
SHA256 = [f"{number:064x}" for number in range(1, 6)]


def write(path: Path, *hashes: str) -> Path:
    path.write_text("type,value\n" + "".join(f"sha256,{one}\n" for one in hashes), encoding="utf-8")
    return path


def add(tmp_path: Path, path: Path, *more: str) -> object:
    words = ("lists", "add", "csv", "--name", "theirs", "--url", path.as_uri(), "--category", "spam")
    return answer(*words, "--accept-terms", *more, data_dir=tmp_path / "data")


def test_a_list_is_added_fetched_watched_withdrawn_and_removed(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    path = write(tmp_path / "list.csv", *SHA256[:3])
    assert add(tmp_path, path) == {"name": "theirs", "kind": "csv", "added": True}
    (before,) = answer("lists", "status", data_dir=data_dir)
    assert (before["synced"], before["entries"], before["error"]) == (None, 0, None)
    (first,) = answer("lists", "sync", data_dir=data_dir)
    assert (first["outcome"], first["added"], first["removed"]) == ("done", 3, 0)
    write(path, *SHA256[1:5])
    (second,) = answer("lists", "sync", "theirs", data_dir=data_dir)
    assert (second["outcome"], second["added"], second["removed"]) == ("done", 2, 1)
    (after,) = answer("lists", "status", "theirs", data_dir=data_dir)
    assert (after["entries"], after["stale"]) == (4, False)
    # One that is out of use is left alone until it is named.
    assert answer("lists", "withdraw", "theirs", data_dir=data_dir)["changed"]
    assert answer("lists", "sync", data_dir=data_dir) == []
    assert answer("lists", "list", data_dir=data_dir) == []
    answer("lists", "sync", "theirs", data_dir=data_dir)
    assert [one["name"] for one in answer("lists", "list", data_dir=data_dir)] == ["theirs"]
    assert answer("lists", "remove", "theirs", data_dir=data_dir)["removed"]
    assert answer("lists", "list", "--all", data_dir=data_dir) == []
    assert answer("lists", "status", data_dir=data_dir) == []


def test_the_status_says_in_words_what_went_wrong_and_repeats_no_hash(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    path = write(tmp_path / "list.csv", SHA256[0], "no-hash-0123456789")
    add(tmp_path, path)
    failed = breakwater("lists", "sync", "theirs", data_dir=data_dir)
    assert failed.exit_code == 1
    assert "line 3" in failed.stderr
    shown = breakwater("lists", "status", data_dir=data_dir)
    assert "malformed" in shown.stdout
    assert "line 3" in shown.stdout
    assert "0123456789" not in failed.output + shown.output
    assert SHA256[0] not in shown.output


def test_how_old_a_list_may_become_is_said_when_it_is_added_and_changed_later(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    add(tmp_path, write(tmp_path / "list.csv", SHA256[0]), "--hold-when-older-than", "3")
    (added,) = answer("lists", "status", data_dir=data_dir)
    assert (added["hold_after_s"], added["holds"]) == (3 * 86_400, False)
    assert answer("lists", "hold", "theirs", "--never", data_dir=data_dir) == {
        "name": "theirs",
        "hold_after_s": None,
    }
    too_soon = breakwater("lists", "hold", "theirs", "--older-than", "0.2", data_dir=data_dir)
    assert too_soon.exit_code == 2
    assert "between two fetches" in too_soon.stderr
    assert (
        answer("lists", "hold", "theirs", "--older-than", "2", data_dir=data_dir)["hold_after_s"] == 172_800
    )


def test_a_list_from_a_file_has_no_age(tmp_path: Path) -> None:
    words = ("lists", "import", write(tmp_path / "list.csv", *SHA256), "--name", "x", "--category", "spam")
    answer(*words, data_dir=tmp_path / "data")
    refused = breakwater("lists", "hold", "x", "--older-than", "3", data_dir=tmp_path / "data")
    assert refused.exit_code == 2
    assert "imported from a file" in refused.stderr


def test_terms_are_shown_and_a_list_is_added_only_with_a_yes(tmp_path: Path) -> None:
    path = write(tmp_path / "list.csv", *SHA256)
    words = ("lists", "add", "csv", "--name", "theirs", "--url", path.as_uri(), "--category", "spam")
    refused = breakwater(*words, data_dir=tmp_path / "data", typed="n\n")
    assert refused.exit_code == 2
    assert "has terms" in refused.stderr
    assert answer("lists", "status", data_dir=tmp_path / "data") == []
    accepted = breakwater(*words, data_dir=tmp_path / "data", typed="y\n")
    assert accepted.exit_code == 0
    assert [one["name"] for one in answer("lists", "status", data_dir=tmp_path / "data")] == ["theirs"]


def test_credentials_are_named_by_their_place_and_never_shown(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    secret = tmp_path / "login"
    secret.write_text("member:hunter2\n", encoding="utf-8")
    words = ("lists", "add", "csv", "--name", "theirs", "--url", "https://lists.example/l.csv")
    more = ("--category", "spam", "--accept-terms", "--credentials-file", secret)
    added = breakwater(*words, *more, data_dir=data_dir)
    assert added.exit_code == 0
    status = answer("lists", "status", data_dir=data_dir)
    assert status[0]["credentials"] == f"file:{secret}"
    assert "hunter2" not in json.dumps(status) + added.output


def test_lists_of_abuse_material_wait_for_the_answers(tmp_path: Path) -> None:
    secret = tmp_path / "login"
    secret.write_text("member:secret", encoding="utf-8")
    words = ("lists", "add", "ncmec", "--name", "known", "--credentials-file", secret, "--accept-terms")
    refused = breakwater(*words, data_dir=tmp_path / "data")
    assert refused.exit_code == 2
    assert "legal.jurisdiction" in refused.stderr
    answers = ("--jurisdiction", "DE", "--reporting-route", "hotline", "--responsible-role", "me")
    assert breakwater("init", "--yes", *answers, data_dir=tmp_path / "data").exit_code == 0
    assert answer(*words, data_dir=tmp_path / "data")["added"]


def test_what_is_fetched_is_not_imported_over(tmp_path: Path) -> None:
    path = write(tmp_path / "list.csv", *SHA256)
    add(tmp_path, path)
    words = ("lists", "import", path, "--name", "theirs", "--category", "spam")
    refused = breakwater(*words, data_dir=tmp_path / "data")
    assert refused.exit_code == 2
    assert "next fetch" in refused.stderr


def test_an_allow_list_takes_sha256_alone(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    path = write(tmp_path / "list.csv", *SHA256)
    words = ("lists", "import", path, "--name", "ours", "--category", "spam", "--purpose", "allow")
    assert answer(*words, data_dir=data_dir)["entries"] == 5
    assert answer("lists", "show", "ours", data_dir=data_dir)["purpose"] == "allow"
    path.write_text(f"type,value\nmd5,{'1' * 32}\n", encoding="utf-8")
    refused = breakwater(*words, data_dir=data_dir)
    assert refused.exit_code == 2
    assert "SHA-256" in refused.stderr


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["add", "csv", "--name", "x", "--url", "https://l.example/"], "--category"),
        (["add", "csv", "--name", "x", "--category", "spam"], "--url"),
        (["add", "csv", "--name", "x", "--category", "spam", "--url", "gopher://x"], "https://"),
        (["add", "ncmec", "--name", "x", "--category", "spam"], "user:password"),
        (["add", "threatexchange", "--name", "x", "--category", "spam"], "--group"),
        (["add", "stopncii", "--name", "x", "--purpose", "allow"], "may pass"),
        ([*CSV, "--sha256", "12"], "64"),
        ([*CSV, "--group", "1"], "ThreatExchange"),
        ([*CSV, "--every", "0.05"], "0.1"),
        ([*CSV, "--hold-when-older-than", "0.4"], "every 6 hours"),
        ([*CSV, "--hold-when-older-than", "3", "--advisory"], "decides nothing"),
        ([*CSV, "--hold-when-older-than", "3", "--purpose", "allow"], "decides nothing"),
        (["hold", "nothing", "--never"], "lists list --all"),
        (["hold", "nothing"], "--never"),
        (["hold", "nothing", "--never", "--older-than", "2"], "--never"),
        (["add", "stopncii", "--name", "x", "--credentials-file", "/nowhere"], "cannot be read"),
        (["add", "stopncii", "--name", "x", "--credentials-env", "NOWHERE_SET"], "is not set"),
        (["sync", "nothing"], "lists list --all"),
        (["status", "nothing"], "lists list --all"),
        (["remove", "nothing"], "lists list --all"),
    ],
)
def test_what_cannot_be_done_is_explained(tmp_path: Path, words: list[str], part: str) -> None:
    result = breakwater("lists", *words, data_dir=tmp_path / "data")
    assert result.exit_code == 2
    assert part in result.stderr


@pytest.mark.parametrize("command", ["add", "sync", "status", "hold", "remove"])
def test_every_command_has_help_and_json(command: str) -> None:
    shown = breakwater("lists", command, "--help")
    assert shown.exit_code == 0
    assert "--json" in shown.stdout
