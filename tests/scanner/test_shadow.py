"""A detector in shadow runs, is kept for statistics, and neither decides nor shows anything."""

import dataclasses
import json
from pathlib import Path

import pytest

from scanner.canary import draw_canary
from scanner.classifier import Classifier
from scanner.detector import Detector, DetectorResult, Sample
from scanner.errors import MalformedError
from scanner.report import Report, RunOutcome, UnscannableReason, Verdict, report_from_json, report_to_json
from scanner.scan import open_scanner
from scanner.settings import ScannerSettings
from tests.images import encode, photograph
from tests.scanner.conftest import PLAIN
from tests.scanner.models import pin, write_onnx

PHOTO = encode(photograph("astronaut").convert("RGB"), "JPEG")


def scan(data: bytes, settings: ScannerSettings) -> tuple[Report, dict[str, object], frozenset[str]]:
    with open_scanner(settings) as scanner:
        return scanner.scan(data), scanner.state().document, scanner.costly_detectors


@pytest.fixture
def deciding(tmp_path: Path) -> ScannerSettings:
    """A classifier that finds something in every picture, and decides."""
    write_onnx(tmp_path)
    pin(tmp_path)
    return dataclasses.replace(PLAIN, classifier_dirs=(tmp_path,), advisory=frozenset())


def test_a_classifier_in_shadow_decides_nothing_and_is_kept(deciding: ScannerSettings) -> None:
    report, state, costly = scan(PHOTO, deciding)
    assert report.verdict is Verdict.MATCH
    assert report.shadow == ()
    assert costly == {"tiny"}
    for names in ({"tiny"}, {"classifier"}):
        shaded, without, spared = scan(PHOTO, dataclasses.replace(deciding, shadow=frozenset(names)))
        assert shaded.verdict is Verdict.NO_MATCH
        assert shaded.findings == ()
        assert "tiny" not in {run.name for run in shaded.detectors}
        (tried,) = shaded.shadow
        assert tried.run.outcome is RunOutcome.RAN
        assert [finding.score_permille for finding in tried.findings] == [
            finding.score_permille for finding in report.findings
        ]
        assert spared == frozenset()
        # Trying something out makes no verdict old, and peers do not learn of it.
        assert "tiny" not in json.dumps(without)
        assert "tiny" in json.dumps(state)
        assert report_from_json(json.loads(json.dumps(report_to_json(shaded)))) == shaded


def test_a_classifier_that_decides_and_fails_lets_nothing_pass(
    deciding: ScannerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_classifier: Classifier, _frames: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Classifier, "score", fail)
    report, _, _ = scan(PHOTO, deciding)
    assert (report.verdict, report.reason) == (Verdict.UNSCANNABLE, UnscannableReason.DETECTOR_UNAVAILABLE)
    advising = dataclasses.replace(deciding, advisory=frozenset({"tiny"}))
    assert scan(PHOTO, advising)[0].verdict is Verdict.NO_MATCH


def test_a_list_in_shadow_withholds_nothing() -> None:
    canary = draw_canary()
    report, _, _ = scan(canary, PLAIN)
    assert report.verdict is Verdict.MATCH
    matchers = frozenset(run.name for run in report.detectors)
    shaded, _, _ = scan(canary, dataclasses.replace(PLAIN, shadow=matchers))
    assert shaded.verdict is Verdict.NO_MATCH
    assert shaded.detectors == ()
    assert any(one.findings for one in shaded.shadow)


def test_what_fails_in_shadow_makes_nothing_unscannable(
    deciding: ScannerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_detector: Detector, _sample: Sample) -> DetectorResult:
        raise MemoryError

    monkeypatch.setattr("scanner.detectors.exact.ExactHashDetector.detect", fail)
    report, _, _ = scan(PHOTO, dataclasses.replace(deciding, shadow=frozenset({"classifier", "exact-hash"})))
    assert report.verdict is Verdict.NO_MATCH
    outcomes = {one.run.name: one.run.outcome for one in report.shadow}
    assert outcomes == {"exact-hash": RunOutcome.FAILED, "tiny": RunOutcome.RAN}


def test_reports_from_before_there_was_a_shadow_can_be_read() -> None:
    report, _, _ = scan(PHOTO, PLAIN)
    document = report_to_json(report)
    del document["shadow"]
    assert report_from_json(document) == report


def test_two_classifiers_of_one_name_are_refused(deciding: ScannerSettings) -> None:
    twice = dataclasses.replace(deciding, classifier_dirs=deciding.classifier_dirs * 2)
    with pytest.raises(MalformedError, match="same name"), open_scanner(twice):
        pass
