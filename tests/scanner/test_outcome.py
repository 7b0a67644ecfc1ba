"""The binary form of outcomes: exact round trip, and total against a decoder that was taken over."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.detector import SAMPLE_SIDE, PictureHashes
from scanner.errors import MalformedError
from scanner.outcome import MAX_SAMPLES, Job, Outcome, max_outcome_bytes, outcome_to_bytes, parse_outcome
from scanner.reduced import MAX_COPIES, MAX_COPY_PIXELS, Wanted
from scanner.report import Coverage, Sampling, UnscannableReason
from scanner.settings import ScannerSettings
from scanner.sniff import MediaType

PICTURE = PictureHashes(
    frame=-2,
    quality=88,
    dihedral=tuple(bytes([one]) * 32 for one in range(8)),
    resized=tuple(bytes([one]) * 32 for one in range(8, 16)),
    is_approximate=True,
)
OUTCOME = Outcome(
    reason=UnscannableReason.TOO_MANY_FRAMES,
    width=640,
    height=480,
    frames=3,
    coverage=Coverage.SAMPLED,
    pictures=(PICTURE, PICTURE),
    pixels=np.arange(2 * SAMPLE_SIDE * SAMPLE_SIDE * 3, dtype=np.uint64)
    .astype(np.uint8)
    .reshape(2, 256, 256, 3),
)


def test_an_outcome_survives_its_binary_form() -> None:
    again = parse_outcome(outcome_to_bytes(OUTCOME))
    assert (again.reason, again.width, again.height) == (OUTCOME.reason, 640, 480)
    assert (again.frames, again.coverage, again.pictures) == (3, OUTCOME.coverage, OUTCOME.pictures)
    assert np.array_equal(again.pixels, OUTCOME.pixels)


def test_what_was_sampled_of_a_video_survives_the_binary_form() -> None:
    sampling = Sampling(
        duration_ms=2**40, examined=33, longest_gap_ms=967, longest_gap_frames=29, unseen_tracks=2
    )
    frame = replace(PICTURE, frame=29, timestamp_ms=0)
    again = parse_outcome(outcome_to_bytes(Outcome(sampling=sampling, pictures=(frame, PICTURE))))
    assert again.sampling == sampling
    assert [one.timestamp_ms for one in again.pictures] == [0, None]


@given(message=st.binary(max_size=200))
def test_noise_is_malformed_and_nothing_else(message: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_outcome(message)


@given(place=st.integers(0, 60), value=st.integers(0, 255))
def test_a_changed_header_is_malformed_or_a_value(place: int, value: int) -> None:
    message = bytearray(outcome_to_bytes(Outcome(pictures=(PICTURE,))))
    message[place] = value
    with contextlib.suppress(MalformedError):
        parse_outcome(bytes(message))


def test_more_samples_than_agreed_are_refused() -> None:
    pixels = np.zeros((MAX_SAMPLES + 1, SAMPLE_SIDE, SAMPLE_SIDE, 3), dtype=np.uint8)
    with pytest.raises(MalformedError):
        parse_outcome(outcome_to_bytes(Outcome(pixels=pixels)))


def test_a_job_survives_its_message() -> None:
    job = Job.of(ScannerSettings(), MediaType.GIF, is_closer_look=True)
    assert Job.from_bytes(job.to_bytes()) == job
    copying = replace(job, copies=Wanted(count=4, max_side=1024, min_side=160))
    assert Job.from_bytes(copying.to_bytes()) == copying


def test_copies_survive_the_binary_form() -> None:
    copies = (np.full((2, 5, 3), 7, dtype=np.uint8), np.arange(27, dtype=np.uint8).reshape(3, 3, 3))
    again = parse_outcome(outcome_to_bytes(replace(OUTCOME, copies=copies)))
    assert [one.tolist() for one in again.copies] == [one.tolist() for one in copies]
    assert np.array_equal(again.pixels, OUTCOME.pixels)


@pytest.mark.parametrize(
    "copies",
    [
        # One more than was agreed, a picture of no size, and more pixels than there may be.
        tuple(np.zeros((1, 1, 3), dtype=np.uint8) for _ in range(MAX_COPIES + 1)),
        (np.zeros((0, 9, 3), dtype=np.uint8),),
        tuple(np.zeros((1, MAX_COPY_PIXELS // 2 + 1, 3), dtype=np.uint8) for _ in range(2)),
    ],
)
def test_copies_beyond_what_was_agreed_are_refused(copies: tuple[np.ndarray, ...]) -> None:
    with pytest.raises(MalformedError):
        parse_outcome(outcome_to_bytes(Outcome(copies=copies)))


def test_a_copy_that_claims_more_pixels_than_there_are_is_refused() -> None:
    message = bytearray(outcome_to_bytes(Outcome(copies=(np.zeros((2, 2, 3), dtype=np.uint8),))))
    for changed in (message[:-1], message + b"\0", message[:-20]):
        with pytest.raises(MalformedError):
            parse_outcome(bytes(changed))


def test_the_largest_outcome_fits_its_bound() -> None:
    settings = ScannerSettings(max_frames=1, max_video_frames=2, max_embedded=1)
    largest = Outcome(
        pictures=(PICTURE,) * 9,
        pixels=np.zeros((MAX_SAMPLES, SAMPLE_SIDE, SAMPLE_SIDE, 3), dtype=np.uint8),
        copies=(np.zeros((1, MAX_COPY_PIXELS // MAX_COPIES, 3), dtype=np.uint8),) * MAX_COPIES,
    )
    assert len(outcome_to_bytes(largest)) == max_outcome_bytes(settings)
