"""What lists with a size, a purpose and suspended entries make of pictures."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest

from scanner import scan as scan_module
from scanner.degenerate import is_degenerate
from scanner.detector import Builder, DetectorResult, Need, Sample
from scanner.detectors import DETECTORS
from scanner.detectors import pdq as pdq_module
from scanner.hashlist import HashEntry, HashKind, HashList, HashTable, Purpose, VideoHashes, name_entry
from scanner.labels import Category
from scanner.report import (
    Basis,
    Finding,
    Report,
    RunOutcome,
    UnscannableReason,
    Verdict,
    report_from_json,
    report_to_json,
)
from scanner.scan import open_scanner
from tests.images import encode, marker
from tests.scanner.conftest import PLAIN
from tests.scanner.hashes import evenly, flip, random_hashes
from tests.scanner.test_detectors import picture, sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scanner.detector import Detector
    from scanner.scan import Scanner

BITS = random_hashes(1, 1)[0].tobytes()
CROWD = 6_000


def listing(*bits: bytes, **options: object) -> HashList:
    made = HashList.of(
        name="listed",
        version="1",
        category=Category.TVEC,
        entries=[HashEntry(kind=HashKind.PDQ, value=one) for one in bits],
    )
    return dataclasses.replace(made, **options)  # type: ignore[arg-type]  # the tests name the fields


def crowd(*bits: bytes, **options: object) -> HashList:
    """Make a list that is large enough for an index."""
    rows = np.concatenate([random_hashes(2, CROWD), np.frombuffer(b"".join(bits), np.uint8).reshape(-1, 32)])
    table = HashTable.from_rows({HashKind.PDQ: rows})
    return listing(table=table, digest=b"", **options)


def pdq(*lists: HashList) -> Detector:
    builder = next(one for one in DETECTORS if one.name == "pdq")
    (detector,) = builder.build(PLAIN, lists)
    return detector


def found(*lists: HashList, query: bytes = BITS) -> list[tuple[str | None, int | None, str | None]]:
    findings = pdq(*lists).detect(sample(picture(query))).findings
    return [(one.list_name, one.distance, one.entry) for one in findings]


@pytest.mark.parametrize("make", [listing, crowd], ids=["small", "large"])
def test_a_finding_names_its_entry_and_a_suspended_one_gives_way_to_the_next(make: object) -> None:
    near, far = flip(BITS, evenly(3, 1)), flip(BITS, evenly(20, 2))
    names = [name_entry(HashKind.PDQ, one) for one in (near, far)]
    full = make(near, far)  # type: ignore[operator]
    assert found(full) == [("listed", 3, names[0])]
    less = dataclasses.replace(full, suspended=frozenset(names[:1]))
    assert found(less) == [("listed", 20, names[1])]
    assert less.effective_digest != full.effective_digest
    assert found(dataclasses.replace(full, suspended=frozenset(names))) == []


def test_large_and_small_lists_are_each_searched_within_their_own_distance() -> None:
    plant = flip(BITS, evenly(25, 3))
    lists = [
        make(plant, name=f"{make.__name__} {distance}", distance=distance)
        for make in (listing, crowd)
        for distance in (24, 25, 40)
    ]
    entry = name_entry(HashKind.PDQ, plant)
    assert found(*lists) == [
        ("listing 25", 25, entry),
        ("listing 40", 25, entry),
        ("crowd 25", 25, entry),
        ("crowd 40", 25, entry),
    ]


@pytest.mark.parametrize("make", [listing, crowd], ids=["small", "large"])
def test_what_left_a_list_matches_no_more_and_what_came_matches(make: object) -> None:
    gone, new = flip(BITS, evenly(3, 4)), flip(BITS, evenly(9, 5))
    changed = dataclasses.replace(
        make(gone),  # type: ignore[operator]
        removed=HashTable.from_entries([HashEntry(kind=HashKind.PDQ, value=gone)]),
        added=HashTable.from_entries([HashEntry(kind=HashKind.PDQ, value=new)]),
        digest=b"",
    )
    assert found(changed) == [("listed", 9, name_entry(HashKind.PDQ, new))]
    assert changed.digest == make(new).digest  # type: ignore[operator]


@pytest.mark.parametrize("hashed", [bytes(32), b"\xff" * 32, b"\xaa" * 32, b"\xff\x00" * 16])
def test_hashes_that_say_nothing_match_nothing_even_when_they_are_listed(hashed: bytes) -> None:
    assert is_degenerate(hashed)
    near = flip(hashed, evenly(4, 6))
    assert found(listing(hashed, near, min_quality=0), query=hashed) == []
    assert found(listing(hashed, distance=200), query=BITS) == []


def test_a_picture_is_looked_up_approximately_only_while_that_is_cheap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    detector = pdq(crowd(BITS, dihedral=True))
    far = sample(picture(is_approximate=True))
    assert not detector.detect(far).wants_closer_look
    monkeypatch.setattr(pdq_module, "MAX_APPROXIMATE_ROWS", CROWD)
    result = detector.detect(far)
    assert result.wants_closer_look
    assert not result.findings
    # An exact hash is looked up whatever it costs.
    assert detector.detect(sample(picture(BITS))).findings
    # So is what was kept: nobody fetches all media again for a list. And many frames cost as many decodings.
    kept = dataclasses.replace(far, is_kept=True)
    assert not detector.detect(kept).wants_closer_look
    assert detector.detect(dataclasses.replace(kept, pictures=(picture(BITS, is_approximate=True),))).findings
    monkeypatch.setattr(pdq_module, "MAX_APPROXIMATE_ROWS", 16 * CROWD)
    film = tuple(picture(bits.tobytes(), is_approximate=True) for bits in random_hashes(9, 40))
    assert not detector.detect(dataclasses.replace(far, pictures=film)).wants_closer_look


def test_an_allow_list_holds_what_only_one_file_can_have() -> None:
    entries = {kind: HashEntry(kind=kind, value=bytes(kind.width - 1) + b"\x01") for kind in HashKind}
    for kind, entry in entries.items():
        table = HashTable.from_entries([entry])
        if kind is HashKind.SHA256:
            assert listing(table=table, digest=b"", purpose=Purpose.ALLOW).has(kind, entry.value)
            continue
        with pytest.raises(ValueError, match="SHA-256 digests only"):
            listing(table=table, purpose=Purpose.ALLOW)
    with pytest.raises(ValueError, match="SHA-256 digests only"):
        listing(purpose=Purpose.ALLOW, videos=(VideoHashes(id="1", frames=random_hashes(3, 2)),))


def test_a_listed_video_needs_an_id_and_frames() -> None:
    assert len(VideoHashes(id="1", frames=random_hashes(3, 2)).entry) == 16
    with pytest.raises(ValueError, match="id"):
        VideoHashes(id="", frames=random_hashes(3, 2))
    for frames in (
        random_hashes(3, 2)[:, :31],
        random_hashes(3, 2)[:0],
        random_hashes(3, 2).astype(np.int64),
    ):
        with pytest.raises(ValueError, match="uint8"):
            VideoHashes(id="1", frames=frames)


# What an allow list changes.

SECRET = encode(marker(41, width=900, height=700), "PNG")
BROKEN = SECRET[: len(SECRET) * 2 // 3]


@pytest.fixture(scope="module")
def scanner() -> Iterator[Scanner]:
    with open_scanner(dataclasses.replace(PLAIN, canary=False)) as opened:
        yield opened


def lists_about(scanner: Scanner, data: bytes, *kinds: HashKind) -> list[HashList]:
    prints = scanner.scan(data).fingerprints
    values = {HashKind.PDQ: prints.pdq[0].bits if prints.pdq else b"", HashKind.SHA256: prints.sha256}
    return [
        HashList.of(
            name=f"by {kind}",
            version="1",
            category=Category.NCII_KNOWN,
            entries=[HashEntry(kind=kind, value=values[kind])],
        )
        for kind in kinds
    ]


def allowing(scanner: Scanner, data: bytes) -> HashList:
    (made,) = lists_about(scanner, data, HashKind.SHA256)
    return dataclasses.replace(made, name="allowed", purpose=Purpose.ALLOW)


def outcomes(report: Report) -> dict[str, RunOutcome]:
    return {run.name: run.outcome for run in report.detectors}


def test_an_allowed_file_is_let_go_although_it_resembles_a_listed_one(scanner: Scanner) -> None:
    scanner.replace_lists([])
    lists = lists_about(scanner, SECRET, HashKind.PDQ)
    scanner.replace_lists(lists)
    assert scanner.scan(SECRET).verdict is Verdict.MATCH
    scanner.replace_lists([*lists, allowing(scanner, SECRET)])
    report = scanner.scan(SECRET)
    assert (report.verdict, report.findings) == (Verdict.NO_MATCH, ())
    assert outcomes(report) == {
        "exact-hash": RunOutcome.RAN,
        "allow-list": RunOutcome.RAN,
        "pdq": RunOutcome.OVERRULED,
    }
    assert report_from_json(report_to_json(report)) == report
    assert scanner.recheck(report.fingerprints, ()).findings == ()


def test_any_other_file_of_the_same_looks_is_not_allowed(scanner: Scanner) -> None:
    scanner.replace_lists([])
    scanner.replace_lists([*lists_about(scanner, SECRET, HashKind.PDQ), allowing(scanner, SECRET)])
    report = scanner.scan(encode(marker(41, width=900, height=700), "JPEG", quality=90))
    assert report.verdict is Verdict.MATCH
    assert outcomes(report)["allow-list"] is RunOutcome.NOT_APPLICABLE


def test_an_exact_match_stands_whatever_is_allowed(scanner: Scanner) -> None:
    scanner.replace_lists([])
    lists = lists_about(scanner, SECRET, HashKind.PDQ, HashKind.SHA256)
    scanner.replace_lists([*lists, allowing(scanner, SECRET)])
    report = scanner.scan(SECRET)
    assert report.verdict is Verdict.MATCH
    assert [one.basis for one in report.findings] == [Basis.EXACT_HASH]


def test_what_could_not_be_examined_stays_so_although_it_is_allowed(scanner: Scanner) -> None:
    scanner.replace_lists([])
    scanner.replace_lists([allowing(scanner, BROKEN)])
    report = scanner.scan(BROKEN)
    assert (report.verdict, report.reason) == (Verdict.UNSCANNABLE, UnscannableReason.TRUNCATED)


class Zealot:
    """A classifier that is sure of everything."""

    name = "zealot"
    version = "1"
    essential = True
    advisory = False
    need = Need.DIGESTS
    is_costly = True
    state: ClassVar[dict[str, object]] = {}

    def detect(self, _sample: Sample) -> DetectorResult:
        claim = Finding(
            detector=self.name,
            version=self.version,
            category=Category.ADULT_CONTENT,
            basis=Basis.CLASSIFIER,
            score_permille=999,
        )
        return DetectorResult(findings=(claim,))


def test_a_classifier_that_decides_is_overruled_too(monkeypatch: pytest.MonkeyPatch) -> None:
    zealot = Builder(name="zealot", uses_lists=False, build=lambda _settings, _lists: (Zealot(),))
    monkeypatch.setattr(scan_module, "DETECTORS", (*DETECTORS, zealot))
    with open_scanner(dataclasses.replace(PLAIN, canary=False)) as opened:
        assert opened.scan(SECRET).verdict is Verdict.MATCH
        opened.replace_lists([allowing(opened, SECRET)])
        report = opened.scan(SECRET)
    assert (report.verdict, report.findings) == (Verdict.NO_MATCH, ())
    assert outcomes(report)["zealot"] is RunOutcome.OVERRULED


def test_allow_lists_are_part_of_what_decides_the_answers(scanner: Scanner) -> None:
    scanner.replace_lists([])
    before = scanner.state()
    scanner.replace_lists([allowing(scanner, SECRET)])
    assert scanner.state() != before
