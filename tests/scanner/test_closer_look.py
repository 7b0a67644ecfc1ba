"""A second decoding settles what the first left open; what no decoding has shown stays unexamined."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final, cast

import pytest

from scanner.outcome import Outcome
from scanner.report import Coverage, UnscannableReason, Verdict
from scanner.scan import Scanner
from tests.images import encode
from tests.scanner.conftest import PLAIN
from tests.scanner.hashes import evenly, flip
from tests.scanner.test_detectors import picture
from tests.scanner.test_scan import OTHER, SECRET, list_of, pdq_entry

if TYPE_CHECKING:
    from scanner.outcome import Job
    from scanner.pool import Pool
    from scanner.settings import ScannerSettings

LISTED: Final = pdq_entry(SECRET)
NEAR: Final = flip(LISTED.value, evenly(40, seed=5))
FAR: Final = flip(LISTED.value, evenly(120, seed=6))
CLIP: Final = encode(OTHER, "PNG")
"""Any decodable bytes: what decoding them gives is written in each test."""


class ScriptedPool:
    """Gives one outcome for the first look and another for the closer one."""

    def __init__(self, first: Outcome, closer: Outcome) -> None:
        self._outcomes = {False: first, True: closer}

    def run(self, _data: bytes, job: Job) -> Outcome:
        return self._outcomes[job.is_closer_look]


def scanner_of(first: Outcome, closer: Outcome, settings: ScannerSettings = PLAIN) -> Scanner:
    scanner = Scanner(settings, cast("Pool", cast("Any", ScriptedPool(first, closer))))
    scanner.replace_lists([list_of(LISTED)])
    return scanner


def seen(bits: bytes, frame: int, *, is_approximate: bool) -> Any:
    return dataclasses.replace(picture(bits, is_approximate=is_approximate), frame=frame)


FIRST: Final = Outcome(
    pictures=(seen(FAR, 0, is_approximate=True), seen(NEAR, 1, is_approximate=True)),
    coverage=Coverage.SAMPLED,
)


def test_what_the_closer_look_finds_counts() -> None:
    exact = (seen(FAR, 0, is_approximate=False), seen(LISTED.value, 1, is_approximate=False))
    report = scanner_of(FIRST, dataclasses.replace(FIRST, pictures=exact)).scan(CLIP)
    assert (report.verdict, report.reason) == (Verdict.MATCH, None)


def test_what_the_closer_look_settles_is_no_match() -> None:
    exact = (seen(FAR, 0, is_approximate=False), seen(NEAR, 1, is_approximate=False))
    report = scanner_of(FIRST, dataclasses.replace(FIRST, pictures=exact)).scan(CLIP)
    assert (report.verdict, report.reason) == (Verdict.NO_MATCH, None)


def test_a_frame_that_the_closer_look_did_not_come_to_is_not_settled() -> None:
    fewer = dataclasses.replace(FIRST, pictures=(seen(FAR, 0, is_approximate=False),))
    report = scanner_of(FIRST, fewer).scan(CLIP)
    assert (report.verdict, report.reason) == (Verdict.UNSCANNABLE, UnscannableReason.TIMEOUT)


def test_a_match_of_the_first_look_stands_where_the_second_did_not_come_to_it() -> None:
    first = dataclasses.replace(FIRST, pictures=(*FIRST.pictures, seen(LISTED.value, 2, is_approximate=True)))
    fewer = dataclasses.replace(
        FIRST,
        pictures=tuple(seen(bits, frame, is_approximate=False) for frame, bits in enumerate((FAR, NEAR))),
    )
    assert scanner_of(first, fewer).scan(CLIP).verdict is Verdict.MATCH


@pytest.mark.parametrize(
    "reason", [UnscannableReason.DECODER_CRASH, UnscannableReason.TIMEOUT, UnscannableReason.CORRUPT]
)
def test_a_closer_look_that_fails_settles_nothing(reason: UnscannableReason) -> None:
    report = scanner_of(FIRST, Outcome(reason=reason)).scan(CLIP)
    assert (report.verdict, report.reason) == (Verdict.UNSCANNABLE, reason)


def test_a_sample_that_is_accepted_is_looked_at_again_all_the_same() -> None:
    short = dataclasses.replace(FIRST, reason=UnscannableReason.TOO_MANY_FRAMES)
    exact = (seen(FAR, 0, is_approximate=False), seen(LISTED.value, 1, is_approximate=False))
    accepting = dataclasses.replace(PLAIN, accept_sampled=True)
    report = scanner_of(short, dataclasses.replace(short, pictures=exact), accepting).scan(CLIP)
    assert report.verdict is Verdict.MATCH


@pytest.mark.parametrize("reason", [None, UnscannableReason.TOO_MANY_FRAMES])
def test_a_decoding_that_shows_nothing_examined_nothing(reason: UnscannableReason | None) -> None:
    nothing = Outcome(reason=reason, width=640, height=480, frames=3, coverage=Coverage.SAMPLED)
    accepting = dataclasses.replace(PLAIN, accept_sampled=True)
    report = scanner_of(nothing, nothing, accepting).scan(CLIP)
    assert (report.verdict, report.reason) == (Verdict.UNSCANNABLE, UnscannableReason.CORRUPT)
