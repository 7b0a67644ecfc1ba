from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from relay.config import Software, load_settings
from tests.relay.cli.commands import answer, breakwater

if TYPE_CHECKING:
    from pathlib import Path


def test_the_answers_stand_in_a_file_that_only_its_owner_can_read(tmp_path: Path) -> None:
    typed = "social.example\nhttp://127.0.0.1:3000\nlemmy\ny\n\na@b.example\nde\nhotline\nme\n"
    result = breakwater("init", data_dir=tmp_path, typed=typed)
    assert result.exit_code == 0, result.output
    path = tmp_path / "breakwater.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    settings = load_settings(path, {})
    assert settings.domain == "social.example"
    assert settings.base_url == "https://social.example/breakwater"
    assert settings.backend.software is Software.LEMMY
    assert settings.backend.enforces_media
    assert settings.legal.jurisdiction == "DE"
    assert settings.legal.responsible_role == "me"


def test_no_answer_at_all_gives_a_file_that_starts(tmp_path: Path) -> None:
    assert breakwater("init", data_dir=tmp_path, typed="\n" * 9).exit_code == 0
    assert load_settings(tmp_path / "breakwater.toml", {}).backend.url == ""


def test_options_alone_are_enough(tmp_path: Path) -> None:
    said = answer("init", "--yes", "--domain", "x.example", "--software", "snac", data_dir=tmp_path / "new")
    assert said == {"written": str(tmp_path / "new" / "breakwater.toml")}
    assert load_settings(tmp_path / "new" / "breakwater.toml", {}).backend.software is Software.SNAC


def test_a_file_that_is_there_is_not_touched_without_being_told(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text("# mine\n", encoding="utf-8")
    result = breakwater("init", "--yes", "--config", path)
    assert result.exit_code == 2
    assert "--force" in result.stderr
    assert path.read_text(encoding="utf-8") == "# mine\n"
    assert breakwater("init", "--yes", "--force", "--config", path).exit_code == 0
    assert "# mine" not in path.read_text(encoding="utf-8")


def test_an_answer_that_cannot_work_is_kept_and_explained(tmp_path: Path) -> None:
    result = breakwater("init", "--yes", "--backend-url", "localhost:3000", data_dir=tmp_path)
    assert result.exit_code == 2
    assert "backend.url is 'localhost:3000'" in result.stderr
    assert "localhost:3000" in (tmp_path / "breakwater.toml").read_text(encoding="utf-8")


def test_a_place_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    result = breakwater("init", "--yes", "--config", tmp_path / "file" / "breakwater.toml")
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr
