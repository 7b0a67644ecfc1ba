"""The commands that bring, measure and judge classifiers."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from db import cases
from db.cases import CaseState
from db.detector_statistics import RuledScan, count_detectors, list_ruled
from db.verdicts import StoredVerdict, put_verdict
from relay.cli.classifier_calibrate import find_score
from relay.cli.classifier_status import count_agreement
from scanner.calibration import parse_calibration
from scanner.classifier_directory import open_directory_detector
from scanner.embedded_classifier import get_embedded_calibration
from tests.db.builders import NOW, sha256
from tests.relay.cli.commands import answer, breakwater
from tests.scanner.models import PROMPTS, write_onnx, write_vit, write_zero_shot

if TYPE_CHECKING:
    from pathlib import Path

    from db.pool import Database

MAP = "nsfw=adult-content:0.4"


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "My Model"
    folder.mkdir()
    write_onnx(folder)
    return folder


def write_settings(data_dir: Path, text: str) -> None:
    (data_dir / "breakwater.toml").write_text(f"[scanner]\n{text}\n")


def test_a_model_is_pinned_and_can_be_loaded(model: Path, data_dir: Path) -> None:
    added = answer("classifier", "add", model, "--map", MAP, data_dir=data_dir)
    assert added["name"] == "my-model"
    assert set(added["files"]) == {"config.json", "preprocessor_config.json", "model.onnx"}
    assert added["labels"] == {"sfw": None, "nsfw": "adult-content from 0.400"}
    assert open_directory_detector(model).name == "my-model"


def test_without_a_meaning_it_is_a_draft_that_can_be_tried_but_not_used(model: Path, data_dir: Path) -> None:
    result = breakwater("classifier", "add", model, data_dir=data_dir)
    assert "No label means anything yet" in result.stdout
    tried = answer("classifier", "test", model, "--runs", "2")
    assert tried["precision"] == "fp32"
    assert set(tried["scores"]) == {"landscape", "page", "noise", "canary"}
    refused = breakwater("classifier", "calibrate", model, "--benign", model, data_dir=data_dir)
    assert refused.exit_code == 2
    assert "gives no label a meaning" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--map", "nsfw"), "is not understood"),
        (("--map", "nsfw=adult-content:7"), "is not understood"),
        (("--map", "rude=adult-content:0.5"), "has no label 'rude'"),
        (("--map", "nsfw=csam-known:0.5"), "may not claim csam-known"),
        (("--map", "nsfw=unheard-of:0.5"), "must be one of"),
        (("--prompts", "nowhere.json"), "no JSON file"),
    ],
)
def test_what_cannot_be_added_is_named(
    model: Path, data_dir: Path, arguments: tuple[str, ...], word: str
) -> None:
    result = breakwater("classifier", "add", model, *arguments, data_dir=data_dir)
    assert result.exit_code == 2
    assert word in result.stderr
    assert not (model / "calibration.json").exists()


def test_pickled_weights_are_no_weights(tmp_path: Path, data_dir: Path) -> None:
    folder = tmp_path / "pickled"
    folder.mkdir()
    write_onnx(folder)
    (folder / "model.onnx").rename(folder / "pytorch_model.bin")
    result = breakwater("classifier", "add", folder, data_dir=data_dir)
    assert result.exit_code == 2
    assert "can hold code and are never loaded" in result.stderr


def test_a_model_of_the_hub_is_copied_out_of_the_cache(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789" * 4
    repository = tmp_path / "hub" / "models--some--Clip-Tiny"
    blobs, snapshot = repository / "blobs", repository / "snapshots" / commit
    for folder in (blobs, snapshot, repository / "refs"):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    write_zero_shot(blobs, "clip")
    (blobs / "pytorch_model.bin").write_bytes(b"\x80\x04")
    for blob in blobs.iterdir():
        (snapshot / blob.name).symlink_to(f"../../blobs/{blob.name}")
    (tmp_path / "prompts.json").write_text(json.dumps(PROMPTS))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    words = ("--prompts", tmp_path / "prompts.json", "--map", MAP)
    added = answer("classifier", "add", "hub:some/Clip-Tiny", *words, data_dir=data_dir)
    copy = data_dir / "classifiers" / "clip-tiny"
    assert added["directory"] == str(copy)
    assert not (copy / "pytorch_model.bin").exists()
    assert not any(path.is_symlink() for path in copy.iterdir())
    assert open_directory_detector(copy).name == "clip-tiny"
    for name in ("hub:some/other", "hub:../../etc", "hub:some/Clip-Tiny@nowhere"):
        assert breakwater("classifier", "add", name, data_dir=data_dir).exit_code == 2
    removed = answer("classifier", "remove", copy, data_dir=data_dir)
    assert removed["deleted"]
    assert not copy.exists()


def test_a_graph_is_rewritten_with_small_integers(model: Path, data_dir: Path) -> None:
    added = answer("classifier", "add", model, "--map", MAP, "--precision", "int8", data_dir=data_dir)
    assert "model-int8.onnx" in added["files"]
    state = open_directory_detector(model).state
    assert state["precision"] == "int8"


def test_every_arithmetic_is_measured_against_full_floats(tmp_path: Path, data_dir: Path) -> None:
    folder = tmp_path / "vit"
    folder.mkdir()
    write_vit(folder)
    answer("classifier", "add", folder, "--map", MAP, data_dir=data_dir)
    tried = answer("classifier", "test", folder, "--runs", "2", "--all-precisions")
    assert [one["precision"] for one in tried["precisions"]] == ["fp32", "bf16", "int8"]
    assert tried["precisions"][0]["farthest_from_fp32"] == 0
    assert all(one["farthest_from_fp32"] < 0.05 for one in tried["precisions"])
    shown = breakwater("classifier", "test", folder, "--runs", "2", "--all-precisions")
    assert "farthest_from_fp32" in shown.stdout


def test_the_embedded_classifier_can_be_tried(data_dir: Path) -> None:
    shown = breakwater("classifier", "test", "embedded", "--runs", "2")
    assert "It runs on" in shown.stdout
    assert "landscape" in shown.stdout


def test_what_is_in_use_is_listed_and_not_removed(model: Path, data_dir: Path) -> None:
    answer("classifier", "add", model, "--map", MAP, data_dir=data_dir)
    write_settings(data_dir, f'classifier = ["embedded", "{model}"]\nshadow = ["my-model"]')
    rows = answer("classifier", "list", data_dir=data_dir)["classifiers"]
    assert [(row["name"], row["state"]) for row in rows] == [
        (get_embedded_calibration().name, "in use"),
        ("my-model", "in shadow"),
    ]
    assert "my-model" in breakwater("classifier", "list", data_dir=data_dir).stdout
    refused = breakwater("classifier", "remove", model, data_dir=data_dir)
    assert refused.exit_code == 2
    assert (model / "calibration.json").exists()
    write_settings(data_dir, 'classifier = "none"')
    assert answer("classifier", "remove", model, data_dir=data_dir) == {
        "directory": str(model),
        "deleted": False,
    }
    assert (model / "model.onnx").exists()
    assert "There is none" in breakwater("classifier", "list", data_dir=data_dir).stdout
    assert breakwater("classifier", "remove", model, data_dir=data_dir).exit_code == 2


def test_thresholds_are_measured_on_harmless_pictures(model: Path, data_dir: Path, tmp_path: Path) -> None:
    answer("classifier", "add", model, "--map", MAP, data_dir=data_dir)
    benign = tmp_path / "benign"
    (benign / "deeper").mkdir(parents=True)
    dice = np.random.default_rng(3)
    for number in range(12):
        colours = dice.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(colours).resize((64, 64)).save(benign / "deeper" / f"{number}.png")
    (benign / "note.txt").write_text("no picture")
    words = ("classifier", "calibrate", model, "--benign", benign, "--rate", "0.3")
    shown = answer(*words, data_dir=data_dir)
    assert (shown["pictures"], shown["skipped"], shown["written"]) == (12, {"unsupported": 1}, False)
    nsfw = shown["labels"]["nsfw"]
    assert sum(nsfw["histogram"]) == 12
    assert nsfw["wrong"]["high"] <= 0.3
    assert parse_calibration((model / "calibration.json").read_bytes()).version == "1"
    written = answer(*words, "--write", data_dir=data_dir)
    assert written["written"]
    calibration = parse_calibration((model / "calibration.json").read_bytes())
    rule = calibration.labels["nsfw"]
    assert rule is not None
    assert rule.threshold_permille == round(nsfw["proposed"] * 1000)
    assert rule.measured_on == 12
    assert (calibration.version, calibration.precision) == ("1.r1", "fp32")
    told = breakwater("classifier", "calibrate", model, "--benign", benign, data_dir=data_dir)
    assert "It takes 3,838 at least" in told.stdout
    assert "scores 0" in told.stdout


def test_it_is_said_by_what_to_measure(model: Path, data_dir: Path, tmp_path: Path) -> None:
    answer("classifier", "add", model, "--map", MAP, data_dir=data_dir)
    empty = tmp_path / "empty"
    empty.mkdir()
    for words in ((), ("--benign", empty, "--from-rulings"), ("--benign", empty)):
        assert breakwater("classifier", "calibrate", model, *words, data_dir=data_dir).exit_code == 2


def run_of(name: str, score: int, *, version: str = "1+abc.def") -> dict[str, Any]:
    scores = [["nsfw", score]]
    return {"name": name, "version": version, "essential": False, "outcome": "ran", "scores": scores}


async def put(
    database: Database, name: str, state: CaseState, report: dict[str, Any], *, later: int = 0
) -> None:
    async with database.transaction() as conn:
        case = await cases.open_case(
            conn, category="adult-content", delivery_id=None, sha256=sha256(name), basis="classifier", now=NOW
        )
        if case is not None:
            await cases.rule_case(conn, case, to=state, ruled_by="moderator", now=NOW)
        verdict = StoredVerdict(
            sha256=sha256(name),
            state_digest=sha256(f"state {later}"),
            verdict="match",
            reason=None,
            report=report,
            scanned_at=NOW + timedelta(seconds=later),
        )
        await put_verdict(conn, verdict)


async def test_rulings_meet_the_scores_of_the_newest_scan(database: Database) -> None:
    shadow = [{"run": run_of("new", 300), "findings": []}]
    old = {"detectors": [run_of("own", 100)], "findings": [{"detector": "own"}]}
    report = {"detectors": [run_of("own", 910)], "findings": [{"detector": "own"}], "shadow": shadow}
    await put(database, "one", CaseState.UPHELD, old)
    await put(database, "one", CaseState.UPHELD, report, later=5)
    await put(database, "two", CaseState.RELEASED, old)
    async with database.connection() as conn:
        ruled = await list_ruled(conn, limit=10)
        counts = {(one.name, one.is_shadow): one for one in await count_detectors(conn)}
    upheld = next(one for one in ruled if one.was_upheld)
    released = next(one for one in ruled if not one.was_upheld)
    assert len(ruled) == 2
    assert find_score(upheld, detector="own", model="abc", label="nsfw") == 910
    assert find_score(upheld, detector="new", model="abc", label="nsfw") == 300
    assert find_score(upheld, detector="own", model="another", label="nsfw") is None
    assert find_score(released, detector="new", model="abc", label="nsfw") is None
    assert (counts["own", False].looked, counts["own", False].found) == (3, 3)
    assert (counts["new", True].looked, counts["new", True].found) == (1, 0)
    adult = frozenset({"adult-content"})
    agreement = count_agreement(ruled, "own", adult, is_shadow=False)
    assert agreement == {"found_upheld": 1, "found_released": 1, "silent_upheld": 0, "silent_released": 0}
    tried = count_agreement(ruled, "new", adult, is_shadow=True)
    assert tried == {"found_upheld": 0, "found_released": 0, "silent_upheld": 1, "silent_released": 0}
    assert set(count_agreement(ruled, "own", frozenset({"spam"}), is_shadow=False).values()) == {0}
    assert set(count_agreement(ruled, "own", None, is_shadow=False).values()) == {None}


def test_a_detector_that_did_not_look_agrees_with_nobody() -> None:
    failed = {**run_of("own", 0), "outcome": "failed"}
    scan = RuledScan(category="spam", was_upheld=True, detectors=[failed], findings=[], shadow=[])
    assert set(count_agreement([scan], "own", frozenset({"spam"}), is_shadow=False).values()) == {0}


def test_thresholds_are_proposed_by_rulings_and_status_shows_them(model: Path, data_dir: Path) -> None:
    answer("classifier", "add", model, "--map", MAP, data_dir=data_dir)
    write_settings(data_dir, f'classifier = "{model}"')
    assert "Nothing was scanned yet" in breakwater("classifier", "status", data_dir=data_dir).stdout
    shown = answer("classifier", "calibrate", model, "--from-rulings", "--write", data_dir=data_dir)
    assert (shown["pictures"], shown["written"]) == (0, False)
    assert shown["labels"]["nsfw"]["proposed"] is None
    told = breakwater("classifier", "calibrate", model, "--from-rulings", data_dir=data_dir)
    assert "no threshold keeps the share below 0.1" in told.stdout
