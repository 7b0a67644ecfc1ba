"""A calibration is read strictly, for it decides what a model's word is worth."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.calibration import RESERVED, LabelRule, parse_calibration
from scanner.canary import canary_list
from scanner.detectors import DETECTORS
from scanner.embedded_classifier import get_embedded_calibration
from scanner.errors import MalformedError
from scanner.hashlist import HashList, Purpose, VideoHashes
from scanner.labels import Category
from scanner.preprocess import PREPROCESS_VERSION
from scanner.settings import CLASSIFIERS, ScannerSettings


def valid() -> dict[str, Any]:
    return {
        "format": 1,
        "name": "my-model",
        "version": "2026-11",
        "preprocess": PREPROCESS_VERSION,
        "files": {"model.safetensors": "ab" * 32, "config.json": "cd" * 32},
        "labels": {
            "nsfw": {
                "category": "adult-content",
                "label": "porn",
                "threshold_permille": 900,
                "false_positives_per_million": 1200,
                "measured_on": 50000,
            },
            "sfw": None,
        },
    }


def test_a_whole_calibration_is_read() -> None:
    calibration = parse_calibration(json.dumps(valid()).encode())
    assert calibration.files["model.safetensors"] == bytes.fromhex("ab" * 32)
    assert calibration.advisory
    assert calibration.labels["sfw"] is None
    assert calibration.labels["nsfw"] == LabelRule(
        category=Category.ADULT_CONTENT,
        label="porn",
        threshold_permille=900,
        false_positives_per_million=1200,
        measured_on=50000,
    )
    assert json.loads(json.dumps(calibration.state)) == calibration.state


def test_rates_may_be_unmeasured_and_labels_unnamed() -> None:
    document = valid()
    document["labels"]["nsfw"] = {"category": "csam-suspected", "threshold_permille": 1}
    document["advisory"] = False
    calibration = parse_calibration(json.dumps(document).encode())
    rule = calibration.labels["nsfw"]
    assert rule is not None
    assert (rule.label, rule.false_positives_per_million, rule.measured_on) == ("nsfw", None, None)
    assert not calibration.advisory


RULE = "labels.nsfw."


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        ("format", 2, "format"),
        ("preprocess", "other-1", "measured with another"),
        ("name", "My Model", "name"),
        ("name", "", "name"),
        ("name", "pdq", "another detector"),
        ("name", "classifier", "another detector"),
        ("version", 7, "version"),
        ("version", "x" * 65, "version"),
        ("advisory", 1, "advisory"),
        ("files", {}, "files"),
        ("files", {"../model.safetensors": "ab" * 32}, "plain file name"),
        ("files", {"model.safetensors": "AB" * 32}, "lower-case"),
        ("files", {"model.safetensors": None}, "64"),
        ("labels", {}, "labels"),
        ("labels", {"sfw": None}, "no label a meaning"),
        ("labels", [], "labels"),
        ("extra", 1, "unknown keys: extra"),
        (f"{RULE}category", "csam-known", "verified list"),
        (f"{RULE}category", "ncii-reported", "verified list"),
        (f"{RULE}category", "naughty", "one of"),
        (f"{RULE}category", ["spam"], "one of"),
        (f"{RULE}threshold_permille", 0, "1 to 1,000"),
        (f"{RULE}threshold_permille", 1001, "1 to 1,000"),
        (f"{RULE}threshold_permille", 0.9, "integer"),
        (f"{RULE}threshold_permille", True, "integer"),
        (f"{RULE}measured_on", None, "together"),
        (f"{RULE}measured_on", 0, "1 to"),
        (f"{RULE}false_positives_per_million", -1, "0 to"),
        (f"{RULE}threshold", 900, "unknown keys: threshold"),
        ("labels.nsfw", 900, "must be an object"),
    ],
)
def test_what_is_wrong_is_named(path: str, value: object, word: str) -> None:
    document = valid()
    target = document
    *parents, last = path.split(".")
    for parent in parents:
        target = target[parent]
    target[last] = value
    with pytest.raises(MalformedError) as caught:
        parse_calibration(json.dumps(document).encode())
    assert word in str(caught.value)
    assert "calibration.json" in str(caught.value)


def test_no_classifier_may_take_the_name_of_another_detector() -> None:
    allowing = dataclasses.replace(
        HashList.of(name="mine", version="1", category=Category.SPAM, entries=()), purpose=Purpose.ALLOW
    )
    frames = np.arange(64, dtype=np.uint8).reshape(2, 32)
    film = VideoHashes(id="a", frames=frames)
    films = dataclasses.replace(canary_list(), videos=(film,), is_overdue=True)
    others = {
        one.name
        for builder in DETECTORS
        if builder.uses_lists
        for one in builder.build(ScannerSettings(), (films, allowing))
    }
    assert others == RESERVED - {CLASSIFIERS}
    assert {builder.name for builder in DETECTORS} <= RESERVED


@pytest.mark.parametrize("key", sorted(valid()))
def test_no_key_may_be_missing(key: str) -> None:
    document = valid()
    del document[key]
    with pytest.raises(MalformedError, match=f"lacks {key}"):
        parse_calibration(json.dumps(document).encode())


def test_a_key_given_twice_is_refused() -> None:
    with pytest.raises(MalformedError, match="unique"):
        parse_calibration(b'{"format": 1, "format": 1}')


@given(
    st.one_of(
        st.binary(max_size=100),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
            ),
        ).map(lambda value: json.dumps(value).encode()),
        st.fixed_dictionaries(
            {key: st.none() | st.integers() | st.dictionaries(st.text(), st.none()) for key in valid()}
        ).map(lambda value: json.dumps(valid() | value).encode()),
    )
)
def test_parsing_is_total(data: bytes) -> None:
    try:
        parse_calibration(data)
    except MalformedError as error:
        assert str(error)  # noqa: PT017 - either outcome is allowed; nothing else may be raised


def test_the_embedded_classifier_speaks_of_adult_content_only_and_advises() -> None:
    calibration = get_embedded_calibration()
    rules = [rule for rule in calibration.labels.values() if rule is not None]
    assert {rule.category for rule in rules} == {Category.ADULT_CONTENT}
    assert calibration.advisory
    assert calibration.labels["drawing"] is None
    assert calibration.labels["neutral"] is None
