"""The command says how many of what it found, names files only to who asked for it, and says what to do."""

from __future__ import annotations

import json
import logging
import stat
from typing import TYPE_CHECKING, Any

import pytest

from relay.cli.sweep_view import MAX_SHOWN, SweepView, build_progress, open_report, print_summary
from relay.sweep.counting import Counters, Deed, Kind, Result
from relay.sweep.run import Summary
from relay.sweep.s3 import S3Place, S3Source
from relay.sweep.source import StoredFile
from scanner.canary import draw_canary
from tests.fediverse.clock import FrozenClock
from tests.relay.cli.commands import answer, breakwater
from tests.relay.sweep.parts import BROKEN, PAGE, ListedSource, picture, write_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TREE = {
    "lighthouse-7f3a9c.png": draw_canary(),
    "cut-off-5512.png": BROKEN,
    "page.html": PAGE,
    "fine.png": picture(),
}


@pytest.fixture(autouse=True)
def _logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the log of this process back as it was."""
    monkeypatch.setenv("BREAKWATER_SCANNER_CLASSIFIER", "none")
    monkeypatch.setenv("BREAKWATER_SCANNER_WORKERS", "1")
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


@pytest.fixture
def media(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "media", TREE)


def test_a_dry_run_then_the_real_one(media: Path, tmp_path: Path) -> None:
    data_dir, report = tmp_path / "data", tmp_path / "report.jsonl"
    refused = breakwater("sweep", "local", "--path", media, data_dir=data_dir)
    assert refused.exit_code == 2
    assert "--dry-run first" in refused.stderr

    shown = breakwater("sweep", "local", "--path", media, "--dry-run", data_dir=data_dir)
    assert shown.exit_code == 3
    for words in ("match: spam", "unscannable: truncated", "not media", "This was a dry run"):
        assert words in shown.stdout

    words = ("sweep", "local", "--path", media, "--report", report)
    said = answer(*words, data_dir=data_dir, status=3)
    assert (said["finished"], said["dry_run"], said["exit_status"]) == (True, False, 3)
    assert (said["files"], said["media"], said["known"], said["scanned"]) == (4, 3, 3, 0)
    assert (said["found"], said["matched"], said["unscannable"]) == (1, {"spam": 1}, {"truncated": 1})
    assert said["bytes"] == sum(map(len, TREE.values()))
    for output in (shown.output, json.dumps(said), json.dumps(answer("cases", "list", data_dir=data_dir))):
        assert not any(name in output for name in TREE)

    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    lines = {line["file"]: line for line in map(json.loads, report.read_text().splitlines())}
    assert lines == {
        "lighthouse-7f3a9c.png": {
            "file": "lighthouse-7f3a9c.png",
            "result": "match",
            "detail": "spam",
            "case": said["cases"][0],
            "follows": "case",
        },
        "cut-off-5512.png": {
            "file": "cut-off-5512.png",
            "result": "unscannable",
            "detail": "truncated",
            "case": None,
            "follows": "nothing",
        },
    }
    (case,) = answer("cases", "list", data_dir=data_dir)
    assert (case["id"], case["category"]) == (said["cases"][0], "spam")


def test_the_exit_status_says_whether_everything_was_examined(tmp_path: Path) -> None:
    data_dir, media = tmp_path / "data", tmp_path / "media"
    for files, status in (({"fine.png": picture(), "page.html": PAGE}, 0), ({"broken.png": BROKEN}, 1)):
        said = answer(
            *("sweep", "local", "--dry-run", "--path", write_tree(media, files)),
            data_dir=data_dir,
            status=status,
        )
        assert said["exit_status"] == status


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("local",), "Give --path, or set storage.path"),
        (("local", "--path", "/no/such/directory"), "The directory /no/such/directory cannot be listed"),
        (("s3",), "Give --bucket, or set storage.s3_bucket"),
        (("s3", "--bucket", "b"), "Set both storage.s3_access_key and"),
        (("pict-rs",), "Set backend.pictrs_url"),
        (("local", "--path", "/", "--show-paths"), "Give --report FILE instead"),
        (("local", "--path", "/", "--report", "/no/such/report"), "cannot be written"),
    ],
)
def test_what_cannot_be_begun_is_explained(
    words: tuple[str, ...], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "b" in words:
        monkeypatch.setenv("BREAKWATER_STORAGE_S3_ACCESS_KEY", "key")
    result = breakwater("sweep", *words, "--dry-run", data_dir=tmp_path / "data")
    assert result.exit_code == 2
    assert reason in result.stderr.replace("\n", " ")
    assert "Nothing was examined" in result.stderr or "nothing was examined" in result.stderr
    assert result.stdout == ""


def test_a_bucket_is_swept_with_the_configured_key(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source: Any = S3Source(
        S3Place(bucket="b-command", endpoint=endpoint, access_key="k", secret_key="s", max_bytes=1)
    )
    source._client.create_bucket(Bucket="b-command")
    for key, data in (("media/1.png", picture()), ("media/2.png", draw_canary()), ("backup/1.png", BROKEN)):
        source._client.put_object(Bucket="b-command", Key=key, Body=data)
    monkeypatch.setenv("BREAKWATER_STORAGE_S3_ACCESS_KEY", "key")
    monkeypatch.setenv("BREAKWATER_STORAGE_S3_SECRET_KEY", "words-that-nobody-says")
    monkeypatch.setenv("BREAKWATER_STORAGE_S3_BUCKET", "another")
    words = (
        "sweep",
        "s3",
        "--endpoint",
        endpoint,
        "--bucket",
        "b-command",
        "--prefix",
        "media/",
        "--dry-run",
    )
    said = answer(*words, data_dir=tmp_path / "data", status=3)
    assert (said["files"], said["matched"], said["finished"]) == (2, {"spam": 1}, True)
    assert said["source"] == f"s3:{endpoint}/b-command/media/"
    assert "words-that-nobody-says" not in json.dumps(said)


def test_a_report_that_others_may_read_is_refused(media: Path, tmp_path: Path) -> None:
    report = tmp_path / "report"
    report.write_text("")
    report.chmod(0o644)
    words = ("sweep", "local", "--dry-run", "--path", media, "--report", report)
    result = breakwater(*words, data_dir=tmp_path / "data")
    assert result.exit_code == 2
    assert "chmod 600" in result.stderr
    report.unlink()
    report.symlink_to(tmp_path / "elsewhere")
    assert breakwater(*words, data_dir=tmp_path / "data").exit_code == 2
    assert not (tmp_path / "elsewhere").exists()


def test_the_help_says_how_to_begin_and_what_the_exit_status_means() -> None:
    for words in (("sweep",), ("sweep", "local"), ("sweep", "s3"), ("sweep", "pict-rs")):
        shown = breakwater(*words, "--help").stdout
        assert "3  something was found" in shown
        assert "dry" in shown


def found(name: str, case_id: int | None = 7, deed: Deed = Deed.BY_HAND) -> Result:
    file = StoredFile(name=name, cursor=name.encode(), key=name)
    return Result(
        entry=file, kind=Kind.MATCH, size=10, detail="spam", is_stopped=True, case_id=case_id, deed=deed
    )


def summary(*results: Result, is_finished: bool = True, cases: dict[int, bool] | None = None) -> Summary:
    counters = Counters()
    for result in results:
        counters.add(result)
    return Summary(
        sweep_id=1,
        counters=counters,
        is_finished=is_finished,
        is_resumed=False,
        has_state_changed=False,
        failure="",
        cases=cases or {},
    )


def test_a_person_is_told_which_cases_need_a_hand_and_shown_names_on_request(
    capsys: pytest.CaptureFixture[str],
) -> None:
    done = summary(found("a.png"), found("b.png", 8, Deed.CASE), cases={7: True, 8: False})
    source = ListedSource({})
    print_summary(done, source, is_dry_run=False, found=[])
    said = capsys.readouterr().out
    assert "Cases: 7, 8." in said
    assert f"removed: 7. {source.by_hand}" in said
    assert "a.png" not in said
    print_summary(done, source, is_dry_run=False, found=[found("a.png")])
    assert "case 7: a.png" in capsys.readouterr().out


def test_a_stopped_sweep_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    stopped = summary(found("a", deed=Deed.ERRAND), is_finished=False)
    print_summary(stopped, ListedSource({}), is_dry_run=False, found=[])
    said = capsys.readouterr().out
    assert "run the same command again" in said
    assert "removed, as your policy says: 1." in said


def test_names_are_kept_only_on_request_and_within_a_bound(tmp_path: Path) -> None:
    for keeps, kept in ((False, 0), (True, MAX_SHOWN)):
        with build_progress(is_quiet=True) as progress, open_report(tmp_path / "report") as report:
            view = SweepView(clock=FrozenClock(), progress=progress, report=report, keeps_names=keeps)
            view.expect(MAX_SHOWN + 1)
            for number in range(MAX_SHOWN + 1):
                view.see(found(str(number)), Counters())
            assert len(view.found) == kept
    assert len((tmp_path / "report").read_text().splitlines()) == 2 * (MAX_SHOWN + 1)
