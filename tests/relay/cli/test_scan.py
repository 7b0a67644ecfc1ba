from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from skimage import data as photographs

from scanner.canary import draw_canary
from scanner.report import Verdict, report_from_json
from tests.relay.cli.commands import answer, breakwater

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    picture = io.BytesIO()
    Image.fromarray(photographs.coffee()).save(picture, "JPEG")
    contents = {
        "canary.png": draw_canary(),
        "coffee.jpg": picture.getvalue(),
        "broken.png": b"\x89PNG\r\n\x1a\nno",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name: tmp_path / name for name in (*contents, "missing.png")}


def test_every_file_gets_its_verdict(files: dict[str, Path], tmp_path: Path) -> None:
    said = answer("scan", *files.values(), data_dir=tmp_path / "data", status=1)
    assert said["summary"] == {"match": 1, "no-match": 1, "unscannable": 1, "unreadable": 1}
    by_name = {one["file"].rsplit("/", 1)[1]: one for one in said["files"]}
    assert list(by_name) == list(files)
    assert by_name["canary.png"]["findings"][0]["category"] == "spam"
    assert by_name["missing.png"] == {"file": str(files["missing.png"]), "error": "no such file or directory"}
    report = report_from_json({key: value for key, value in by_name["coffee.jpg"].items() if key != "file"})
    assert report.verdict is Verdict.NO_MATCH
    assert report.fingerprints.sha256 == hashlib.sha256(files["coffee.jpg"].read_bytes()).digest()
    # Looking at a file is no reason to make a database.
    assert not (tmp_path / "data").exists()


def test_the_exit_status_says_the_worst(files: dict[str, Path], tmp_path: Path) -> None:
    for names, status in (
        (["coffee.jpg"], 0),
        (["coffee.jpg", "broken.png"], 2),
        (["coffee.jpg", "missing.png"], 2),
        (["broken.png", "canary.png"], 1),
    ):
        result = breakwater("scan", *(files[name] for name in names), data_dir=tmp_path / "data")
        assert result.exit_code == status, names
        assert all(name in result.stdout for name in names)


def test_imported_lists_are_used(files: dict[str, Path], tmp_path: Path) -> None:
    digest = hashlib.sha256(files["coffee.jpg"].read_bytes()).hexdigest()
    path = tmp_path / "list.txt"
    path.write_text(f"sha256:{digest}\n", encoding="utf-8")
    words = ("lists", "import", path, "--name", "ours", "--category", "graphic-violence")
    assert breakwater(*words, data_dir=tmp_path / "data").exit_code == 0
    said = answer("scan", files["coffee.jpg"], data_dir=tmp_path / "data", status=1)
    assert said["files"][0]["findings"][0]["list_name"] == "ours"
    assert breakwater("scan", files["coffee.jpg"], "--no-lists", data_dir=tmp_path / "data").exit_code == 0


def test_media_beyond_the_limit_is_not_examined(files: dict[str, Path], tmp_path: Path) -> None:
    config = tmp_path / "breakwater.toml"
    config.write_text("[fetch]\nmax_media_bytes = 1024\n", encoding="utf-8")
    said = answer("scan", files["coffee.jpg"], "--config", config, data_dir=tmp_path / "data", status=2)
    assert said["files"][0]["reason"] == "too_large"


@pytest.mark.parametrize("shadow", ["", "pdq"])
def test_which_entry_of_a_list_matched_is_never_shown(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shadow: str
) -> None:
    monkeypatch.setenv("BREAKWATER_SCANNER_SHADOW", shadow)
    said = answer("scan", files["canary.png"], data_dir=tmp_path / "data", status=1)
    (one,) = said["files"]
    tried = [finding for run in one["shadow"] for finding in run["findings"]]
    assert len(one["findings"]) == (1 if shadow else 2)
    assert len(tried) == (1 if shadow else 0)
    assert all("entry" not in finding for finding in (*one["findings"], *tried))
