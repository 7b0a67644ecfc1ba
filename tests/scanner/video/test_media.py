"""What is seen of a video: key frames, what lies between them, every track, covers, and what is said."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from scanner.decode import decode, prepare
from scanner.outcome import MAX_SAMPLES, Job, Outcome
from scanner.perceptual import hash_picture
from scanner.report import Coverage, UnscannableReason
from scanner.settings import ScannerSettings
from scanner.sniff import MediaType, sniff
from tests.images import distance, marker_pixels
from tests.scanner.clips import FORMATS, HEIGHT, WIDTH, Scene, clip, cover, patch_box, sound

SETTINGS = ScannerSettings()
HIDDEN = 7
NEAR = 31
AROUND = Scene(seed=1, frames=20)


@pytest.fixture(scope="module", autouse=True)
def _prepared() -> None:
    prepare()


def run(data: bytes, *, closer: bool = False, **budgets: Any) -> Outcome:
    kind = sniff(data)
    assert kind is not None
    return decode(data, dataclasses.replace(Job.of(SETTINGS, kind, is_closer_look=closer), **budgets))


def hash_of(seed: int) -> bytes:
    return hash_picture(marker_pixels(seed, width=WIDTH, height=HEIGHT)).dihedral[0]


def nearest(outcome: Outcome, seed: int, *, embedded: bool = False) -> int:
    """How near any frame, or any embedded picture, came to a marker."""
    shown = [one for one in outcome.pictures if (one.frame < 0) == embedded]
    return min((distance(one.dihedral[0], hash_of(seed)) for one in shown), default=256)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_that_is_shown_for_a_second_and_a_half_is_seen_without_a_key_frame(kind: str) -> None:
    outcome = run(clip([AROUND, Scene(seed=HIDDEN, frames=15), AROUND], kind))
    assert outcome.reason is None
    assert outcome.coverage is Coverage.SAMPLED
    assert nearest(outcome, HIDDEN) <= NEAR
    assert outcome.frames == 55
    assert (outcome.width, outcome.height) == (WIDTH, HEIGHT)


def test_a_picture_in_a_single_key_frame_is_seen_however_short() -> None:
    flash = [Scene(seed=1, frames=5), Scene(seed=HIDDEN, frames=1), Scene(seed=1, frames=4)]
    outcome = run(clip([*flash, AROUND], group=5))
    assert nearest(outcome, HIDDEN) <= NEAR


def test_the_last_frame_is_seen() -> None:
    outcome = run(clip([AROUND, Scene(seed=HIDDEN, frames=1)]))
    assert nearest(outcome, HIDDEN) <= NEAR


def test_what_was_sampled_is_said() -> None:
    outcome = run(clip([AROUND, AROUND]))
    assert outcome.sampling is not None
    assert outcome.sampling.duration_ms == pytest.approx(4000, abs=120)
    assert 4 <= outcome.sampling.examined <= 8
    assert 0 < outcome.sampling.longest_gap_ms <= 1500
    assert {one.timestamp_ms for one in outcome.pictures} >= {0}
    frames = [one for one in outcome.pictures if one.timestamp_ms is not None]
    assert all(one.frame * 100 == one.timestamp_ms for one in frames)


def test_a_picture_in_a_second_track_is_seen() -> None:
    outcome = run(clip([AROUND], tracks=[[Scene(seed=HIDDEN, frames=20)]]))
    assert outcome.reason is None
    assert nearest(outcome, HIDDEN) <= NEAR
    assert len({one.frame for one in outcome.pictures}) == len(outcome.pictures)


@pytest.mark.parametrize("kind", ["mp3", "m4a", "flac"])
def test_a_picture_on_the_cover_of_sound_is_seen(kind: str) -> None:
    outcome = run(sound(kind, cover=cover(HIDDEN)))
    assert (outcome.reason, outcome.coverage) == (None, Coverage.NOT_VISUAL)
    assert nearest(outcome, HIDDEN, embedded=True) <= NEAR
    assert len(outcome.pixels) == 1


@pytest.mark.parametrize("kind", ["mp3", "m4a", "flac", "ogg", "wav", "aac", "webm"])
def test_sound_shows_nothing(kind: str) -> None:
    outcome = run(sound(kind))
    assert (outcome.reason, outcome.coverage, outcome.pictures) == (None, Coverage.NOT_VISUAL, ())


def test_a_cover_that_cannot_be_examined_makes_the_sound_unscannable() -> None:
    assert run(sound("flac", cover=cover(1)[:2000])).reason is UnscannableReason.TRUNCATED
    assert run(sound("flac", cover=cover(1)), max_pixels=1000).reason is UnscannableReason.TOO_MANY_PIXELS
    assert run(sound("flac", cover=cover(1)), max_embedded=0).reason is UnscannableReason.TOO_MANY_FRAMES


@pytest.mark.parametrize(("rotation", "turns"), [(90, 1), (180, 2), (270, 3)])
def test_a_turned_video_is_hashed_as_it_is_shown(rotation: int, turns: int) -> None:
    outcome = run(clip([Scene(seed=HIDDEN, frames=5)], rotation=rotation))
    upright = np.rot90(marker_pixels(HIDDEN, width=WIDTH, height=HEIGHT), turns)
    wanted = hash_picture(np.ascontiguousarray(upright)).dihedral[0]
    assert distance(outcome.pictures[0].dihedral[0], wanted) <= NEAR
    assert (outcome.height, outcome.width) == upright.shape[:2]


def test_a_closer_look_goes_by_way_of_the_colours() -> None:
    data = clip([Scene(seed=HIDDEN, frames=10)])
    quick, closer = run(data).pictures[0], run(data, closer=True).pictures[0]
    assert quick.is_approximate
    assert not closer.is_approximate
    assert distance(quick.dihedral[0], closer.dihedral[0]) <= 24
    assert distance(closer.dihedral[0], hash_of(HIDDEN)) <= NEAR


def test_classifiers_see_frames_from_all_over_the_video() -> None:
    outcome = run(clip([Scene(seed=seed, frames=10) for seed in range(1, 13)]))
    assert len(outcome.pixels) == MAX_SAMPLES
    assert len(run(clip([AROUND]), wants_pixels=False).pixels) == 0
    means = {tuple(sample.mean(axis=(0, 1)).round()) for sample in outcome.pixels}
    assert len(means) == MAX_SAMPLES


def test_the_first_frame_alone_can_be_asked_for() -> None:
    outcome = run(clip([Scene(seed=HIDDEN, frames=5), AROUND]), is_first_frame_only=True)
    assert (outcome.reason, len(outcome.pictures)) == (None, 1)
    assert nearest(outcome, HIDDEN) <= NEAR


def test_a_long_video_is_sampled_evenly() -> None:
    outcome = run(clip([Scene(seed=1, frames=60)], "mjpeg.mkv", rate=1), max_video_frames=30)
    assert outcome.sampling is not None
    assert outcome.reason is None
    assert outcome.sampling.examined <= 30
    assert outcome.sampling.longest_gap_ms <= 6_000


def test_when_the_time_is_over_what_was_not_seen_decides() -> None:
    data = clip([Scene(seed=1, frames=300)], group=300)
    rushed = run(data, max_video_ms=1, max_gap_ms=10_000)
    assert rushed.reason is UnscannableReason.TIMEOUT
    assert rushed.sampling is not None
    assert rushed.sampling.longest_gap_ms > 10_000
    assert run(data, max_video_ms=1, max_gap_ms=60_000).reason is None


def test_a_damaged_stretch_that_was_not_seen_makes_the_video_unscannable() -> None:
    data = bytearray(clip([AROUND, AROUND, AROUND], "h264.mkv", group=60))
    data[len(data) // 2 : len(data) * 9 // 10] = bytes(len(data) * 9 // 10 - len(data) // 2)
    assert run(bytes(data)).reason is not None


def test_a_video_that_lies_about_its_times_is_gone_through_by_its_frames() -> None:
    # In so fine a time scale the forty seconds last less than one of our milliseconds.
    data = clip([Scene(seed=1, frames=200), Scene(seed=HIDDEN, frames=150), Scene(seed=1, frames=50)])
    scale = (1_000_000_000).to_bytes(4, "big")
    outcome = run(patch_box(patch_box(data, b"mdhd", 12, scale), b"mvhd", 12, scale))
    assert nearest(outcome, HIDDEN) <= NEAR


def test_a_codec_that_nobody_plays_is_not_decoded() -> None:
    data = clip([AROUND], "h264.mkv").replace(b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/AVX")
    assert run(data).reason is UnscannableReason.UNSUPPORTED


def test_each_type_is_opened_by_its_own_demuxer_alone() -> None:
    data = clip([AROUND], "vp8.webm")
    for wrong in (MediaType.MP4, MediaType.OGG, MediaType.MP3, MediaType.WAV):
        assert decode(data, Job.of(SETTINGS, wrong)).reason is not None
