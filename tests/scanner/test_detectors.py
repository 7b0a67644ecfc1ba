"""The detectors of this package, one by one, on samples made by hand."""

from __future__ import annotations

import dataclasses
import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from scanner.detector import Detector, Need, PictureHashes, Sample
from scanner.detectors import DETECTORS
from scanner.detectors.pdq import MARGIN, QUALITY_MARGIN, RESIZED_MARGIN
from scanner.errors import MalformedError
from scanner.hashlist import HashEntry, HashKind, HashList
from scanner.labels import Category
from scanner.outcome import no_pixels
from scanner.report import Fingerprints, MediaFacts, RunOutcome, Verdict
from scanner.scan import open_scanner
from scanner.settings import ScannerSettings
from scanner.sniff import MediaType
from tests.images import encode, marker
from tests.scanner.conftest import PLAIN

if TYPE_CHECKING:
    from pathlib import Path

BITS = random.Random(11).randbytes(32)
LISTED = HashList.of(
    name="listed",
    version="1",
    category=Category.TVEC,
    entries=[HashEntry(kind=HashKind.PDQ, value=BITS)],
)


def flip(bits: bytes, count: int) -> bytes:
    changed = int.from_bytes(bits) ^ sum(1 << bit for bit in random.Random(count).sample(range(256), count))
    return changed.to_bytes(32)


FAR = flip(BITS, 128)


def picture(
    upright: bytes = FAR,
    *,
    mirrored: bytes = FAR,
    resized: bytes = FAR,
    quality: int = 90,
    is_approximate: bool = False,
) -> PictureHashes:
    return PictureHashes(
        frame=0,
        quality=quality,
        dihedral=(upright, mirrored, *[FAR] * 6),
        resized=(resized, *[FAR] * 7),
        is_approximate=is_approximate,
    )


def sample(*pictures: PictureHashes) -> Sample:
    return Sample(
        fingerprints=Fingerprints(sha256=bytes(32), sha1=bytes(20), md5=bytes(16)),
        facts=MediaFacts(size=1, media_type=MediaType.JPEG),
        pictures=pictures,
        pixels=no_pixels(),
    )


def pdq(*lists: HashList, advisory: frozenset[str] = frozenset()) -> Detector:
    builder = next(one for one in DETECTORS if one.name == "pdq")
    (detector,) = builder.build(dataclasses.replace(PLAIN, advisory=advisory), lists)
    return detector


@pytest.mark.parametrize("distance", [0, 1, 30, 31, 32, 40])
def test_pdq_matches_up_to_the_distance_of_the_list(distance: int) -> None:
    result = pdq(LISTED).detect(sample(picture(flip(BITS, distance))))
    assert [one.distance for one in result.findings] == ([distance] if distance <= 31 else [])
    assert not result.wants_closer_look


def test_pdq_reports_the_nearest_of_all_pictures_once_per_list() -> None:
    other = dataclasses.replace(LISTED, name="other", category=Category.CSAM_KNOWN, distance=5)
    near, nearer = picture(flip(BITS, 20)), picture(flip(BITS, 9))
    found = pdq(LISTED, other).detect(sample(near, nearer)).findings
    assert [(one.list_name, one.distance) for one in found] == [("listed", 9)]


def test_pdq_looks_for_mirrored_copies_only_where_the_list_asks() -> None:
    mirrored = sample(picture(mirrored=BITS))
    assert pdq(LISTED).detect(mirrored).findings == ()
    assert len(pdq(dataclasses.replace(LISTED, dihedral=True)).detect(mirrored).findings) == 1


def test_pdq_looks_the_squeezed_variant_up_too() -> None:
    assert len(pdq(LISTED).detect(sample(picture(resized=flip(BITS, 3)))).findings) == 1


@pytest.mark.parametrize(
    ("kind", "margin"), [("upright", MARGIN), ("resized", RESIZED_MARGIN)], ids=["upright", "squeezed"]
)
def test_an_approximate_hash_within_the_margin_asks_for_a_closer_look(kind: str, margin: int) -> None:
    def wants(distance: int) -> bool:
        approximate = picture(**{kind: flip(BITS, distance), "is_approximate": True})  # type: ignore[arg-type]  # by name
        return pdq(LISTED).detect(sample(approximate)).wants_closer_look

    assert [wants(distance) for distance in (0, 31, 32, 31 + margin, 32 + margin)] == [True] * 4 + [False]


def test_a_hash_of_low_quality_is_not_matched_and_says_so() -> None:
    result = pdq(LISTED).detect(sample(picture(BITS, quality=49)))
    assert result.findings == ()
    assert result.not_applicable
    # A list may accept less.
    assert (
        len(
            pdq(dataclasses.replace(LISTED, min_quality=40))
            .detect(sample(picture(BITS, quality=49)))
            .findings
        )
        == 1
    )


def test_an_approximate_quality_around_that_of_the_list_asks_for_a_closer_look() -> None:
    def wants(quality: int) -> bool:
        strict = dataclasses.replace(LISTED, min_quality=80)
        return (
            pdq(strict).detect(sample(picture(BITS, quality=quality, is_approximate=True))).wants_closer_look
        )

    assert [wants(80), wants(80 - QUALITY_MARGIN), wants(79 - QUALITY_MARGIN)] == [True, True, False]


def test_what_is_advisory_by_the_settings_is_never_essential() -> None:
    detector = pdq(LISTED, advisory=frozenset({"pdq"}))
    assert (detector.advisory, detector.essential) == (True, False)
    assert [one.advisory for one in detector.detect(sample(picture(BITS))).findings] == [True]


def test_every_detector_has_its_own_name_and_a_state_without_hashes() -> None:
    detectors = [one for builder in DETECTORS for one in builder.build(ScannerSettings(), (LISTED,))]
    names = [one.name for one in detectors]
    assert names == ["exact-hash", "pdq", "embedded-classifier"]
    for one in detectors:
        assert not (one.advisory and one.essential)
        assert BITS.hex() not in repr(one.state)


def test_the_embedded_classifier_runs_and_decides_nothing_by_default() -> None:
    with open_scanner(dataclasses.replace(ScannerSettings(), workers=1)) as scanner:
        report = scanner.scan(encode(marker(1), "JPEG"))
        assert report.verdict is Verdict.NO_MATCH
        last = report.detectors[-1]
        assert (last.name, last.essential, last.outcome) == ("embedded-classifier", False, RunOutcome.RAN)
        assert scanner.scan(b"no picture").detectors[-1].outcome is RunOutcome.NOT_APPLICABLE


def test_whether_a_classifier_decides_is_the_word_of_the_settings() -> None:
    builder = next(one for one in DETECTORS if one.name == "classifier")
    (asked,) = builder.build(dataclasses.replace(ScannerSettings(), advisory=frozenset()), ())
    assert (asked.advisory, asked.need) == (False, Need.PIXELS)


def test_a_directory_without_a_model_stops_the_start_with_a_reason(tmp_path: Path) -> None:
    settings = dataclasses.replace(PLAIN, classifier_dirs=(tmp_path,))
    with pytest.raises(MalformedError), open_scanner(settings):
        pass


def test_pixels_of_a_sample_are_what_classifiers_expect() -> None:
    assert no_pixels().shape == (0, 256, 256, 3)
    assert no_pixels().dtype == np.uint8
