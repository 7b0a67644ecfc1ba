"""Scores are committed to before anybody asks, and an opening is held against our own of the same model."""

from __future__ import annotations

import hashlib
import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage import data as photographs

from relay.exchange.commitments import (
    MAX_OPENING_BYTES,
    Commitment,
    build_commitment,
    find_comparable,
    weigh_opening,
)
from relay.trust import MODEL_MARGIN, Audited
from scanner.embedded_classifier import open_embedded_detector
from scanner.report import DetectorRun, RunOutcome
from signatures.jcs import canonicalize
from tests.scanner.test_classifier import sample

SALT = bytes(range(16))


def run(name: str, **scores: int) -> DetectorRun:
    return DetectorRun(
        name=name, version="1", essential=False, outcome=RunOutcome.RAN, scores=tuple(sorted(scores.items()))
    )


RUNS = (run("lists"), run("model", drawn=412, other=3))
OURS = {"model/drawn": 412, "model/other": 3}


def commit(**scores: int) -> Commitment:
    made = build_commitment((run("model", **scores),), salt2=SALT)
    assert made is not None
    return made


def describe(*, decoder: str = "1", version: str = "1", threshold: int = 800) -> dict[str, Any]:
    return {
        "decoders": {"pillow": decoder},
        "rendering": "1",
        "budgets": {"max_side": 16_384},
        "detectors": [
            {"name": "lists", "version": "7", "state": {}},
            {"name": "model", "version": version, "state": {"permille": threshold}},
        ],
        "salt": "ours",
    }


def test_a_commitment_is_the_digest_of_the_salted_scores_in_their_canonical_form() -> None:
    made = build_commitment(RUNS, salt2=SALT)

    assert made is not None
    assert made.opening == canonicalize({"salt2": "uAAECAwQFBgcICQoLDA0ODw", "scores": dict(OURS)})
    assert made.digest == hashlib.sha256(made.opening).digest()


def test_a_score_that_is_the_only_one_of_its_detector_has_its_name() -> None:
    assert find_comparable((run("model", drawn=412),), ours=describe(), theirs=describe()) == {"model": 412}


def test_equal_scores_are_committed_to_alike_by_nobody() -> None:
    other = build_commitment(RUNS, salt2=bytes(16))
    made = build_commitment(RUNS, salt2=SALT)
    assert made is not None
    assert other is not None
    assert made.digest != other.digest


def test_a_scan_without_scores_commits_to_nothing() -> None:
    assert build_commitment((run("lists"),), salt2=SALT) is None


def test_more_scores_than_an_opening_may_have_are_not_committed_to() -> None:
    many = {f"label-{number}": 1 for number in range(MAX_OPENING_BYTES // 12)}
    assert build_commitment((run("model", **many),), salt2=SALT) is None


@pytest.mark.parametrize("off_by", [-MODEL_MARGIN, 0, MODEL_MARGIN])
def test_scores_that_differ_as_machines_do_agree(off_by: int) -> None:
    made = commit(drawn=412 + off_by, other=3)
    assert weigh_opening(made.opening, made.digest, ours=OURS) is Audited.AGREES


@pytest.mark.parametrize(
    "scores",
    [{"drawn": 412 - MODEL_MARGIN - 1, "other": 3}, {"drawn": 0, "other": 0}, {"drawn": 412}, {"x": 1}],
)
def test_invented_or_missing_scores_disagree(scores: dict[str, int]) -> None:
    made = commit(**scores)
    assert weigh_opening(made.opening, made.digest, ours=OURS) is Audited.DISAGREES


def test_scores_of_models_that_we_have_not_are_nobodys_business() -> None:
    made = commit(drawn=412, other=3, more=999)
    assert weigh_opening(made.opening, made.digest, ours=OURS) is Audited.AGREES


def test_whoever_opens_something_else_than_was_signed_contradicts_itself() -> None:
    made, other = commit(drawn=0, other=0), commit(drawn=412, other=3)
    assert weigh_opening(other.opening, made.digest, ours=OURS) is Audited.CONTRADICTS
    assert weigh_opening(b"", made.digest, ours=OURS) is Audited.CONTRADICTS


@given(
    st.binary(max_size=64)
    | st.recursive(st.none() | st.integers() | st.text(max_size=3), st.lists, max_leaves=3)
)
def test_whatever_was_committed_to_is_read_and_convinces_nobody(value: Any) -> None:
    opening = value if isinstance(value, bytes) else json.dumps({"scores": {"model/drawn": value}}).encode()
    digest = hashlib.sha256(opening).digest()
    assert weigh_opening(opening, digest, ours=OURS) is Audited.DISAGREES


def test_scores_are_compared_where_the_same_model_saw_the_same_pixels() -> None:
    assert find_comparable(RUNS, ours=describe(), theirs={**describe(), "salt": "theirs"}) == OURS


@pytest.mark.parametrize(
    "theirs",
    [
        describe(decoder="2"),
        describe(version="2"),
        describe(threshold=801),
        {},
        {"detectors": "none"},
        {**describe(), "detectors": [None, {"name": "lists", "version": "7", "state": {}}]},
    ],
)
def test_scores_of_another_scanner_are_not_compared(theirs: dict[str, Any]) -> None:
    assert find_comparable(RUNS, ours=describe(), theirs=theirs) == {}


def test_scores_of_harmless_photographs_cannot_be_guessed() -> None:
    """What the simulation of lazy signers takes for granted of one audit in 140 holds for many more."""
    detector = open_embedded_detector()
    rows = []
    for name in ("astronaut", "coffee", "chelsea", "rocket", "retina"):
        picture = Image.fromarray(getattr(photographs, name)()).convert("RGB")
        width, height = picture.size
        for left, top in itertools.product((0, width // 4, width // 2), (0, height // 4, height // 2)):
            cut = picture.crop((left, top, left + width // 2, top + height // 2)).resize((256, 256))
            scores = detector.detect(sample(np.asarray(cut)[None])).scores
            rows.append([score for _, score in scores])
    table = np.array(rows)

    is_off = np.abs(table - np.median(table, axis=0)) > MODEL_MARGIN
    assert is_off.any(axis=1).mean() > 0.1
