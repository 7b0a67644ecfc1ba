"""Reports survive their JSON form; anything else is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.errors import MalformedError
from scanner.labels import Category
from scanner.report import (
    Basis,
    Coverage,
    DetectorRun,
    Finding,
    Fingerprints,
    MediaFacts,
    PdqHash,
    Report,
    RunOutcome,
    UnscannableReason,
    Verdict,
    report_from_json,
    report_to_json,
)
from scanner.sniff import MediaType

findings = st.builds(
    Finding,
    detector=st.text(max_size=9),
    version=st.text(max_size=9),
    category=st.sampled_from(Category),
    basis=st.sampled_from(Basis),
    label=st.none() | st.text(max_size=9),
    advisory=st.booleans(),
    list_name=st.none() | st.text(max_size=9),
    list_version=st.none() | st.text(max_size=9),
    distance=st.none() | st.integers(0, 256),
    score_permille=st.none() | st.integers(0, 1000),
)
reports = st.builds(
    Report,
    verdict=st.sampled_from(Verdict),
    reason=st.none() | st.sampled_from(UnscannableReason),
    findings=st.lists(findings, max_size=3).map(tuple),
    detectors=st.lists(
        st.builds(
            DetectorRun,
            name=st.text(max_size=9),
            version=st.text(max_size=9),
            essential=st.booleans(),
            outcome=st.sampled_from(RunOutcome),
            scores=st.lists(st.tuples(st.text(max_size=9), st.integers(0, 1000)), max_size=3).map(tuple),
        ),
        max_size=3,
    ).map(tuple),
    fingerprints=st.builds(
        Fingerprints,
        sha256=st.binary(min_size=32, max_size=32),
        sha1=st.binary(min_size=20, max_size=20),
        md5=st.binary(min_size=16, max_size=16),
        pdq=st.lists(
            st.builds(
                PdqHash,
                bits=st.binary(min_size=32, max_size=32),
                quality=st.integers(0, 100),
                frame=st.integers(-9, 999),
            ),
            max_size=3,
        ).map(tuple),
    ),
    facts=st.builds(
        MediaFacts,
        size=st.integers(0, 1 << 40),
        media_type=st.none() | st.sampled_from(MediaType),
        width=st.integers(0, 99_999),
        height=st.integers(0, 99_999),
        frames=st.integers(0, 99_999),
        coverage=st.sampled_from(Coverage),
    ),
)


@given(report=reports)
def test_a_report_survives_its_json_form(report: Report) -> None:
    assert report_from_json(json.loads(json.dumps(report_to_json(report)))) == report


@given(report=reports)
def test_a_report_from_before_scores_were_kept_has_none(report: Report) -> None:
    document = report_to_json(report)
    for run in document["detectors"]:
        del run["scores"]
    assert all(run.scores == () for run in report_from_json(document).detectors)


@given(report=reports, key=st.sampled_from(["verdict", "findings", "detectors", "fingerprints", "facts"]))
def test_a_damaged_form_is_malformed_and_nothing_else(report: Report, key: str) -> None:
    document = report_to_json(report)
    for damage in (None, 7, "x", [1], [{}], {"unknown": 1}):
        with pytest.raises(MalformedError):
            report_from_json({**document, key: damage})
    del document[key]
    with pytest.raises(MalformedError):
        report_from_json(document)
