"""A list that is older than it may be goes on matching, and lets nothing pass as unlisted."""

from __future__ import annotations

from dataclasses import replace

from scanner.canary import canary_list, draw_canary
from scanner.keeping import pack_pictures, unpack_pictures
from scanner.report import RunOutcome, UnscannableReason, Verdict
from scanner.scan import open_scanner
from scanner.settings import ScannerSettings
from tests.images import encode, marker

SETTINGS = ScannerSettings(workers=1, embedded_classifier=False, canary=False)
FRESH = replace(canary_list(), name="theirs")
OVERDUE = replace(FRESH, is_overdue=True)
UNLISTED = encode(marker(31), "PNG")


def test_what_an_overdue_list_holds_matches_and_what_none_holds_is_not_examined() -> None:
    with open_scanner(SETTINGS) as scanner:
        scanner.replace_lists([FRESH])
        fresh, matched_by = scanner.state(), scanner.lists_digest
        assert scanner.scan(UNLISTED).verdict is Verdict.NO_MATCH
        scanner.replace_lists([OVERDUE])
        report = scanner.scan(UNLISTED)
        assert (report.verdict, report.reason) == (
            Verdict.UNSCANNABLE,
            UnscannableReason.DETECTOR_UNAVAILABLE,
        )
        assert {run.name: run.outcome for run in report.detectors}["list-age"] is RunOutcome.FAILED
        assert scanner.scan(draw_canary()).verdict is Verdict.MATCH
        # Verdicts are kept under the state: none of before stands for one of now.
        assert scanner.state() != fresh
        # What was kept is compared with the same hashes as before, and needs no closer look.
        assert scanner.lists_digest == matched_by
        begun = scanner.begin(UNLISTED)
        kept = unpack_pictures(pack_pictures(begun.sample.pictures))
        assert not scanner.recheck(begun.report.fingerprints, kept).wants_closer_look
        scanner.replace_lists([FRESH])
        assert scanner.state() == fresh
        assert scanner.scan(UNLISTED).verdict is Verdict.NO_MATCH
