from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

from relay.config import build_reference
from tests.relay.cli.commands import answer, breakwater

if TYPE_CHECKING:
    from pathlib import Path


def test_a_good_file_is_called_good_and_its_loosenings_are_named(tmp_path: Path) -> None:
    path = tmp_path / "breakwater.toml"
    path.write_text('[policy.spam]\nmedia = "release"\n', encoding="utf-8")
    result = breakwater("config", "check", "--config", path)
    assert result.exit_code == 0
    assert "policy.spam.media is release" in result.output
    said = answer("config", "check", "--config", path)
    assert said["usable"]
    assert len(said["warnings"]) == 1
    assert len(said["notes"]) == 3


def test_a_bad_file_is_explained_and_the_exit_status_is_2(tmp_path: Path) -> None:
    path = tmp_path / "breakwater.toml"
    path.write_text("[server]\nprot = 1\nport = 0\n", encoding="utf-8")
    result = breakwater("config", "check", "--config", path)
    assert result.exit_code == 2
    assert "did you mean server.port?" in result.stderr
    said = answer("config", "check", "--config", path, status=2)
    assert not said["usable"]
    assert {problem["place"] for problem in said["problems"]} == {f"{path}:2", f"{path}:3"}


def test_every_command_refuses_unusable_settings_in_the_same_way(tmp_path: Path) -> None:
    path = tmp_path / "breakwater.toml"
    path.write_text("[server]\nport = 0\n", encoding="utf-8")
    for words in (
        ["scan", __file__],
        ["keys", "show"],
        ["lists", "list"],
        ["config", "show"],
        ["cases", "list"],
    ):
        result = breakwater(*words, "--config", path)
        assert result.exit_code == 2, words
        assert "Error: The settings cannot be used" in result.stderr


def test_what_is_in_force_is_shown_without_secrets(tmp_path: Path) -> None:
    path = tmp_path / "breakwater.toml"
    path.write_text(
        '[database]\nurl = "postgresql://u:hunter2@db/x"\n[server]\nport = 9000\n', encoding="utf-8"
    )
    shown = breakwater("config", "show", "--config", path, "--port", 9100).output
    assert "hunter2" not in shown
    assert tomllib.loads(shown)["server"]["port"] == 9100
    assert answer("config", "show", "--config", path)["server"]["port"] == 9000


def test_the_file_in_the_data_directory_is_the_one_that_is_read(tmp_path: Path) -> None:
    (tmp_path / "breakwater.toml").write_text("[server]\nport = 9000\n", encoding="utf-8")
    assert answer("config", "show", data_dir=tmp_path)["server"]["port"] == 9000
    assert answer("config", "show", data_dir=tmp_path / "other")["server"]["port"] == 8790


def test_the_reference_page_is_printed() -> None:
    assert breakwater("config", "docs").output == build_reference()
