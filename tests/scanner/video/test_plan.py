"""The plan of a video: what is asked for is spaced as stated, and what was not seen is measured exactly."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from scanner.report import UnscannableReason, Verdict
from scanner.scan import open_scanner
from scanner.settings import ScannerSettings
from scanner.video.plan import MAX_STAMP, Gap, Packets, build_plan, thin
from tests.scanner.clips import sound


def packets(stamps: list[int], *, keys: set[int], lasting: int = 0) -> Packets:
    listed = Packets.empty(1.0)
    for number, stamp in enumerate(stamps):
        listed.add(stamp=stamp, lasting=lasting, is_key=number in keys)
    return listed


def test_the_longest_gap_is_from_the_first_unseen_frame_to_the_next_seen_one() -> None:
    plan = build_plan(packets(list(range(0, 5000, 100)), keys={0}, lasting=100), max_frames=100)
    assert plan.measure(set(range(0, 5000, 100))) == Gap(ms=0, frames=0)
    assert plan.measure({0, 1000, 4900}) == Gap(ms=3800, frames=38)
    assert plan.measure({0}) == Gap(ms=4900, frames=49)
    assert plan.measure(set()) == Gap(ms=5000, frames=50)


def test_a_last_frame_that_was_not_seen_counts_as_long_as_it_lasts() -> None:
    listed = packets([0, 100, 200], keys={0})
    listed.add(stamp=300, lasting=60_000, is_key=False)
    assert build_plan(listed, max_frames=100).measure({0, 100, 200}) == Gap(ms=60_000, frames=1)


def test_of_frames_that_are_shown_at_one_time_one_was_seen() -> None:
    plan = build_plan(packets([0] * 400, keys={0}), max_frames=100)
    assert plan.measure({0}).frames == 399
    assert not plan.keeps_spacing(plan.measure({0}))


@given(
    stamps=st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=1, max_size=60),
    keys=st.sets(st.integers(0, 59)),
    limit=st.integers(1, 40),
)
def test_no_times_are_too_absurd_for_a_plan(stamps: list[int], keys: set[int], limit: int) -> None:
    listed = packets(stamps, keys=keys)
    plan = build_plan(listed, max_frames=limit)
    assert len(plan.keys) <= max(limit // 2, 1)
    assert sorted(at for group in plan.groups for at in range(*group)) == list(range(len(stamps)))
    gap = plan.measure(set(listed.stamps))
    assert gap.ms <= 2 * MAX_STAMP
    assert plan.measure(set()).frames == len(stamps)


@given(count=st.integers(1, 500), limit=st.integers(1, 100))
def test_key_frames_are_thinned_evenly(count: int, limit: int) -> None:
    listed = packets([1000 * one for one in range(count)], keys=set(range(count)))
    kept = thin(list(range(count)), listed, limit)
    assert len(kept) <= max(limit, 1)
    if count > limit > 2:
        assert kept[0] == 0
        assert max(later - one for one, later in pairwise(kept)) <= 4 * count / limit + 1


def test_an_admin_may_refuse_sound() -> None:
    settings = ScannerSettings(workers=1, embedded_classifier=False, accept_audio=False)
    with open_scanner(settings) as scanner:
        report = scanner.scan(sound("mp3"))
    assert (report.verdict, report.reason) == (Verdict.UNSCANNABLE, UnscannableReason.UNSUPPORTED)
