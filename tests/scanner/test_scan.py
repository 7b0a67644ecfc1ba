"""The whole scanner: what it finds, what it refuses, and that it never calls the unexamined no-match."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from PIL import Image, ImageOps

from scanner.canary import draw_canary
from scanner.detector import Builder, DetectorResult, Need, Sample
from scanner.detectors import DETECTORS
from scanner.hashlist import HashEntry, HashKind, HashList
from scanner.labels import Category
from scanner.perceptual import hash_picture
from scanner.report import (
    Basis,
    Coverage,
    Finding,
    Report,
    RunOutcome,
    UnscannableReason,
    Verdict,
    report_from_json,
    report_to_json,
)
from scanner.scan import Scanner, open_scanner
from scanner.settings import TypeCheck
from scanner.sniff import MediaType
from tests.images import animation, encode, marker, photograph, reference_rgb
from tests.scanner import hostile, misbehaving
from tests.scanner.conftest import PLAIN

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET: Final = marker(77, width=900, height=700)
OTHER: Final = marker(78, width=900, height=700)
PNG_OF_SECRET: Final = encode(SECRET, "PNG")


def list_of(*entries: HashEntry, name: str = "listed", **options: object) -> HashList:
    return dataclasses.replace(
        HashList.of(name=name, version="7", category=Category.NCII_KNOWN, entries=entries),
        **options,  # type: ignore[arg-type]  # the tests name the fields of the list
    )


def pdq_entry(image: Image.Image) -> HashEntry:
    bits = hash_picture(np.asarray(image.convert("RGB"))).dihedral[0]
    return HashEntry(kind=HashKind.PDQ, value=bits)


@pytest.fixture(scope="module")
def scanner() -> Iterator[Scanner]:
    """Knows the secret marker by PDQ and nothing else but the canary."""
    with open_scanner(PLAIN) as opened:
        opened.replace_lists([list_of(pdq_entry(SECRET))])
        yield opened


def reasons(report: Report) -> tuple[Verdict, UnscannableReason | None]:
    return report.verdict, report.reason


# What it finds.


def test_the_canary_matches_exactly_and_by_its_looks(plain_scanner: Scanner) -> None:
    report = plain_scanner.scan(draw_canary(), declared_type="image/png")
    assert reasons(report) == (Verdict.MATCH, None)
    assert {one.basis for one in report.findings} == {Basis.EXACT_HASH, Basis.NEAR_HASH}
    assert {(one.category, one.label) for one in report.findings} == {(Category.SPAM, "canary")}


def test_a_known_picture_is_found_whatever_was_done_to_its_file(scanner: Scanner) -> None:
    exif = Image.Exif()
    shown = SECRET
    variants = {
        "as it is": PNG_OF_SECRET,
        "half the size": encode(SECRET.resize((450, 350), Image.Resampling.LANCZOS), "PNG"),
        "twice the size": encode(SECRET.resize((1800, 1400), Image.Resampling.LANCZOS), "JPEG"),
        "four times the size": encode(
            SECRET.resize((3600, 2800), Image.Resampling.LANCZOS), "JPEG", quality=80
        ),
        "quality 40": encode(SECRET, "JPEG", quality=40),
        "palette": encode(SECRET.quantize(32), "PNG"),
        "GIF": encode(SECRET.quantize(64), "GIF"),
        "CMYK": encode(SECRET.convert("CMYK"), "JPEG"),
        "grey": encode(SECRET.convert("L"), "JPEG"),
        "16-bit grey": encode(
            Image.fromarray(np.asarray(SECRET.convert("L")).astype(np.uint16) * 257), "PNG"
        ),
        "WebP": encode(SECRET, "WEBP", quality=60),
        "AVIF": encode(SECRET, "AVIF", quality=60),
        "second frame": animation([OTHER, SECRET], "GIF"),
        "in the thumbnail": encode(
            OTHER, "JPEG", exif=hostile.exif_with_thumbnail(hostile.thumbnail_of(SECRET))
        ),
        "behind another": hostile.multi_picture(encode(OTHER, "JPEG"), encode(SECRET, "JPEG")),
    }
    for orientation in range(1, 9):
        exif[0x0112] = orientation
        # Store it so that the orientation turns it upright again.
        stored = next(
            candidate
            for method in [None, *Image.Transpose]
            if np.array_equal(
                np.asarray(
                    upright(candidate := shown if method is None else shown.transpose(method), orientation)
                ),
                np.asarray(shown),
            )
        )
        variants[f"orientation {orientation}"] = encode(stored, "JPEG", exif=exif.tobytes(), quality=90)
    for name, data in variants.items():
        report = scanner.scan(data)
        assert reasons(report) == (Verdict.MATCH, None), name
        assert [one.basis for one in report.findings] == [Basis.NEAR_HASH], name
        assert (report.findings[0].distance or 0) <= 31, name
        assert scanner.scan(data) == report, name


def upright(image: Image.Image, orientation: int) -> Image.Image:
    exif = Image.Exif()
    exif[0x0112] = orientation
    copy = image.copy()
    copy.info["exif"] = exif.tobytes()
    turned: Image.Image = ImageOps.exif_transpose(copy)
    return turned


def test_mirrored_and_turned_copies_are_found_where_the_list_asks_for_them() -> None:
    copies = [encode(SECRET.transpose(method), "PNG") for method in Image.Transpose]
    with open_scanner(PLAIN) as scanner:
        scanner.replace_lists([list_of(pdq_entry(SECRET))])
        assert {scanner.scan(copy).verdict for copy in copies} == {Verdict.NO_MATCH}
        scanner.replace_lists([list_of(pdq_entry(SECRET), dihedral=True)])
        assert {scanner.scan(copy).verdict for copy in copies} == {Verdict.MATCH}


def test_hashes_of_list_makers_who_squeeze_first_are_found_too(scanner: Scanner) -> None:
    # Fine stripes: the nearest pixels of a squeezed picture have little to do with the mean of them all.
    base = np.asarray(photograph("gravel").resize((1537, 1031), Image.Resampling.BICUBIC)).astype(int)
    stripes = np.where(np.arange(1537) % 3 == 0, 90, -45)
    drawn = np.clip(base + stripes, 0, 255).astype(np.uint8)
    rows, columns = (np.arange(512) * side // 512 for side in drawn.shape)
    squeezed = np.ascontiguousarray(drawn[rows[:, None], columns])
    entry = HashEntry(kind=HashKind.PDQ, value=hash_picture(squeezed).dihedral[0])
    with open_scanner(PLAIN) as other:
        other.replace_lists([list_of(entry, distance=0)])
        report = other.scan(encode(Image.fromarray(drawn), "PNG"))
    assert reasons(report) == (Verdict.MATCH, None)


@pytest.mark.parametrize("kind", [HashKind.SHA256, HashKind.SHA1, HashKind.MD5])
def test_a_known_digest_matches_whatever_the_bytes_are(kind: HashKind) -> None:
    with open_scanner(PLAIN) as scanner:
        for data in (b"\x00\x00\x00\x20ftypisom....", PNG_OF_SECRET[:2000], b"no media at all", b""):
            entry = HashEntry(kind=kind, value=hashlib.new(kind, data).digest())
            scanner.replace_lists([list_of(entry)])
            report = scanner.scan(data)
            assert report.verdict is Verdict.MATCH
            assert report.reason is not None
            assert [one.basis for one in report.findings] == [Basis.EXACT_HASH]
            assert report.findings[0].list_version == "7"


def test_what_lies_just_beyond_the_distance_is_settled_at_full_resolution() -> None:
    large = photograph("coffee").resize((2051, 1367), Image.Resampling.LANCZOS)
    data = encode(large, "JPEG", quality=70)
    exact = hash_picture(reference_rgb(data)).dihedral[0]
    rng = random.Random(3)
    with open_scanner(PLAIN) as scanner:
        for distance in (30, 31, 32, 33, 40):
            flipped = int.from_bytes(exact) ^ sum(1 << bit for bit in rng.sample(range(256), distance))
            entry = HashEntry(kind=HashKind.PDQ, value=flipped.to_bytes(32))
            scanner.replace_lists([list_of(entry)])
            report = scanner.scan(data)
            assert report.verdict is (Verdict.MATCH if distance <= 31 else Verdict.NO_MATCH)
            assert [one.distance for one in report.findings] == ([distance] if distance <= 31 else [])
            assert report.fingerprints.pdq[0].bits == exact


def test_an_advisory_list_reports_without_deciding(scanner: Scanner) -> None:
    with open_scanner(PLAIN) as other:
        other.replace_lists([list_of(pdq_entry(SECRET), advisory=True)])
        report = other.scan(PNG_OF_SECRET)
    assert reasons(report) == (Verdict.NO_MATCH, None)
    assert [one.advisory for one in report.findings] == [True]


# What it says about other pictures.


def test_an_unknown_picture_is_no_match_and_names_every_detector(scanner: Scanner) -> None:
    data = encode(photograph("astronaut"), "JPEG")
    report = scanner.scan(data, declared_type="image/jpeg")
    assert reasons(report) == (Verdict.NO_MATCH, None)
    assert [(run.name, run.outcome) for run in report.detectors] == [
        ("exact-hash", RunOutcome.RAN),
        ("pdq", RunOutcome.RAN),
    ]
    facts = report.facts
    assert (facts.media_type, facts.width, facts.height, facts.frames) == (MediaType.JPEG, 512, 512, 1)
    assert (facts.size, facts.coverage) == (len(data), Coverage.FULL)
    assert report.fingerprints.sha256 == hashlib.sha256(data).digest()
    assert report_from_json(json.loads(json.dumps(report_to_json(report)))) == report


def test_a_flat_picture_says_that_pdq_had_nothing_to_judge(scanner: Scanner) -> None:
    report = scanner.scan(encode(Image.new("RGB", (300, 200), "teal"), "PNG"))
    assert reasons(report) == (Verdict.NO_MATCH, None)
    assert [run.outcome for run in report.detectors] == [RunOutcome.RAN, RunOutcome.NOT_APPLICABLE]


# What it refuses.

UNSCANNABLE: Final[dict[str, tuple[bytes, str | None, UnscannableReason]]] = {
    "nothing": (b"", None, UnscannableReason.EMPTY),
    "noise": (b"\x01\x02\x03\x04", None, UnscannableReason.NOT_MEDIA),
    "HTML named a picture": (b"<!doctype html><p>", "image/png", UnscannableReason.NOT_MEDIA),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml", UnscannableReason.NOT_MEDIA),
    "EPS named JPEG": (encode(OTHER, "EPS"), "image/jpeg", UnscannableReason.NOT_MEDIA),
    "PDF named JPEG": (encode(OTHER, "PDF"), "image/jpeg", UnscannableReason.NOT_MEDIA),
    "TIFF named JPEG": (encode(OTHER, "TIFF"), "image/jpeg", UnscannableReason.TYPE_MISMATCH),
    "TIFF": (encode(OTHER, "TIFF"), "image/tiff", UnscannableReason.UNSUPPORTED),
    "playlist named MP4": (
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd",
        "video/mp4",
        UnscannableReason.NOT_MEDIA,
    ),
    "concat script": (b"ffconcat version 1.0\nfile x", "video/mp4", UnscannableReason.NOT_MEDIA),
    "a video's first bytes": (b"\x00\x00\x00\x20ftypisom\x00", "video/mp4", UnscannableReason.TRUNCATED),
    "film of another age": (b"FLV\x01\x05", "video/x-flv", UnscannableReason.UNSUPPORTED),
    "video named picture": (b"\x00\x00\x00\x20ftypisom", "image/png", UnscannableReason.TYPE_MISMATCH),
    "sound that has none": (b"ID3\x04\x00\x00", "audio/mpeg", UnscannableReason.CORRUPT),
    "WebP named PNG": (encode(OTHER, "WEBP"), "image/png", UnscannableReason.TYPE_MISMATCH),
    "archive before a picture": (b"PK\x03\x04" + encode(OTHER, "PNG"), None, UnscannableReason.NOT_MEDIA),
    "PNG bomb": (hostile.png_bomb(50_000, 50_000), None, UnscannableReason.TOO_MANY_PIXELS),
    "GIF bomb": (hostile.gif(50_000, 50_000, 1), None, UnscannableReason.TOO_MANY_PIXELS),
    "WebP bomb": (hostile.webp_bomb(50_000, 50_000), None, UnscannableReason.TOO_MANY_PIXELS),
    "AVIF bomb": (hostile.avif_bomb(50_000, 50_000), None, UnscannableReason.TOO_MANY_PIXELS),
    "endless GIF": (hostile.gif(1, 1, 100_000), None, UnscannableReason.TOO_MANY_FRAMES),
    "truncated": (encode(OTHER, "JPEG")[:9000], "image/jpeg", UnscannableReason.TRUNCATED),
}


@pytest.mark.parametrize("name", UNSCANNABLE)
def test_what_cannot_be_examined_is_unscannable_with_its_reason(scanner: Scanner, name: str) -> None:
    data, declared, reason = UNSCANNABLE[name]
    assert reasons(scanner.scan(data, declared_type=declared)) == (Verdict.UNSCANNABLE, reason)


def test_a_polyglot_is_what_its_beginning_says(scanner: Scanner) -> None:
    page = b"<html><script>alert(1)</script>" + b"PK\x03\x04" + bytes(200)
    report = scanner.scan(encode(OTHER, "JPEG") + page, declared_type="image/jpeg")
    assert reasons(report) == (Verdict.NO_MATCH, None)
    assert report.facts.media_type is MediaType.JPEG
    assert scanner.scan(encode(OTHER, "GIF") + page, declared_type="text/html").verdict is Verdict.UNSCANNABLE


def test_a_match_outranks_a_mismatch_of_types(scanner: Scanner) -> None:
    report = scanner.scan(PNG_OF_SECRET, declared_type="image/webp")
    assert reasons(report) == (Verdict.MATCH, UnscannableReason.TYPE_MISMATCH)


def test_a_match_in_what_was_decoded_outranks_truncation(scanner: Scanner) -> None:
    whole = animation([SECRET.quantize(32), OTHER.quantize(32)], "GIF")
    report = scanner.scan(whole[: len(whole) * 9 // 10])
    assert reasons(report) == (Verdict.MATCH, UnscannableReason.TRUNCATED)


def test_bytes_beyond_the_limit_are_not_decoded() -> None:
    with open_scanner(dataclasses.replace(PLAIN, max_bytes=100)) as scanner:
        assert scanner.scan(PNG_OF_SECRET).reason is UnscannableReason.TOO_LARGE


def test_a_sampled_animation_passes_only_where_that_was_accepted() -> None:
    frames = [marker(seed, width=40, height=30) for seed in range(12)]
    data = animation(frames, "GIF")
    strict = dataclasses.replace(PLAIN, max_frames=5)
    with open_scanner(strict) as scanner:
        assert reasons(scanner.scan(data)) == (Verdict.UNSCANNABLE, UnscannableReason.TOO_MANY_FRAMES)
    with open_scanner(dataclasses.replace(strict, accept_sampled=True)) as scanner:
        report = scanner.scan(data)
        assert reasons(report) == (Verdict.NO_MATCH, None)
        assert report.facts.coverage is Coverage.SAMPLED
        # What was cut off is never taken for sampled.
        assert scanner.scan(hostile.gif(1, 1, 100_000)).verdict is Verdict.UNSCANNABLE


def test_within_a_family_types_may_differ_where_that_was_accepted() -> None:
    with open_scanner(dataclasses.replace(PLAIN, type_check=TypeCheck.FAMILY)) as scanner:
        assert scanner.scan(encode(OTHER, "WEBP"), declared_type="image/png").verdict is Verdict.NO_MATCH


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        (misbehaving.CRASH, UnscannableReason.DECODER_CRASH),
        (misbehaving.FILL, UnscannableReason.OUT_OF_MEMORY),
    ],
)
def test_a_decoder_that_fails_makes_bytes_unscannable(word: bytes, reason: UnscannableReason) -> None:
    settings = dataclasses.replace(PLAIN, memory_limit=600 << 20)
    with open_scanner(settings, decoder="tests.scanner.misbehaving:decode") as scanner:
        assert reasons(scanner.scan(encode(OTHER, "PNG") + word)) == (Verdict.UNSCANNABLE, reason)
        assert scanner.scan(encode(OTHER, "PNG")).verdict is Verdict.NO_MATCH


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "AVIF"])
def test_flipped_bits_never_harm_the_scanner_nor_turn_into_a_match(plain_scanner: Scanner, kind: str) -> None:
    rng = random.Random(kind)
    whole = encode(marker(79, width=96, height=80), kind)
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        assert plain_scanner.scan(bytes(damaged)).verdict in {Verdict.NO_MATCH, Verdict.UNSCANNABLE}
    assert plain_scanner.scan(whole).verdict is Verdict.NO_MATCH
    assert plain_scanner.health().pool.crashes == 0


# How it is run.


class BrokenDetector:
    """Raises, as a detector does whose model is damaged."""

    name = "broken"
    version = "1"
    need = Need.DIGESTS
    is_costly = False
    state: Final[dict[str, object]] = {}

    def __init__(self, *, essential: bool) -> None:
        self.essential = essential
        self.advisory = not essential

    def detect(self, sample: Sample) -> DetectorResult:
        raise RuntimeError(sample.fingerprints.sha256.hex())


class EagerDetector(BrokenDetector):
    """Finds something in everything, without deciding."""

    name = "eager"

    def detect(self, sample: Sample) -> DetectorResult:
        finding = Finding(
            detector="eager",
            version="1",
            category=Category.ADULT_CONTENT,
            basis=Basis.CLASSIFIER,
            advisory=True,
            score_permille=990,
        )
        return DetectorResult(findings=(finding,))


def with_detector(monkeypatch: pytest.MonkeyPatch, detector: BrokenDetector) -> None:
    builder = Builder(name="extra", uses_lists=False, build=lambda _settings, _lists: (detector,))
    monkeypatch.setattr("scanner.scan.DETECTORS", (*DETECTORS, builder))


def test_an_essential_detector_that_fails_leaves_nothing_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    with_detector(monkeypatch, BrokenDetector(essential=True))
    with open_scanner(PLAIN) as scanner:
        report = scanner.scan(PNG_OF_SECRET)
        assert reasons(report) == (Verdict.UNSCANNABLE, UnscannableReason.DETECTOR_UNAVAILABLE)
        assert report.detectors[-1].outcome is RunOutcome.FAILED
        # What a detector says about content stays out of what is logged.
        assert scanner.health().failing == {"broken": "RuntimeError"}


def test_an_advisory_detector_that_fails_is_named_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_detector(monkeypatch, BrokenDetector(essential=False))
    with open_scanner(PLAIN) as scanner:
        report = scanner.scan(PNG_OF_SECRET)
    assert reasons(report) == (Verdict.NO_MATCH, None)
    assert report.detectors[-1].outcome is RunOutcome.FAILED


def test_an_advisory_finding_is_reported_and_does_not_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    with_detector(monkeypatch, EagerDetector(essential=False))
    with open_scanner(PLAIN) as scanner:
        report = scanner.scan(PNG_OF_SECRET)
    assert reasons(report) == (Verdict.NO_MATCH, None)
    assert [one.score_permille for one in report.findings] == [990]


def test_lists_are_swapped_while_scans_are_running() -> None:
    known = [list_of(pdq_entry(SECRET))]
    with open_scanner(dataclasses.replace(PLAIN, workers=2)) as scanner, ThreadPoolExecutor(4) as threads:
        verdicts = [threads.submit(scanner.scan, PNG_OF_SECRET) for _ in range(12)]
        for lists in (known, [], known):
            scanner.replace_lists(lists)
        # Every report speaks of one state: the match and the list's run belong together.
        for one in verdicts:
            assert one.result().verdict in {Verdict.MATCH, Verdict.NO_MATCH}
        assert scanner.scan(PNG_OF_SECRET).verdict is Verdict.MATCH
        scanner.replace_lists([])
        assert scanner.scan(PNG_OF_SECRET).verdict is Verdict.NO_MATCH


def test_the_state_names_what_decides_and_changes_with_it() -> None:
    with open_scanner(PLAIN) as scanner:
        empty = scanner.state().document
        scanner.replace_lists([list_of(pdq_entry(SECRET))])
        listed = scanner.state().document
    assert empty != listed
    assert json.loads(json.dumps(listed)) == listed
    assert_only_integers(listed)
    # The state tells which lists are loaded, not what is on them.
    assert pdq_entry(SECRET).value.hex() not in json.dumps(listed)
    with open_scanner(PLAIN) as again:
        assert again.state().document == empty


def assert_only_integers(value: object) -> None:
    if isinstance(value, dict):
        for part in value.values():
            assert_only_integers(part)
    elif isinstance(value, list):
        for part in value:
            assert_only_integers(part)
    else:
        assert not isinstance(value, float)


def test_health_says_how_the_processes_are(plain_scanner: Scanner) -> None:
    health = plain_scanner.health()
    assert health.pool.workers == 1
    assert health.pool.missing == {}
    assert health.lists == 1


# What another's word may spare.


class CostlyDetector(EagerDetector):
    """Counts how often it was asked, and decides."""

    need = Need.PIXELS
    is_costly = True

    def __init__(self) -> None:
        super().__init__(essential=False)
        self.frames: list[int] = []

    def detect(self, sample: Sample) -> DetectorResult:
        self.frames.append(len(sample.pixels))
        return super().detect(sample)


def test_a_scan_that_was_begun_leaves_the_costly_detectors_out(monkeypatch: pytest.MonkeyPatch) -> None:
    costly = CostlyDetector()
    with_detector(monkeypatch, costly)
    with open_scanner(PLAIN) as scanner:
        begun = scanner.begin(PNG_OF_SECRET)
        assert costly.frames == []
        assert not begun.is_whole
        assert reasons(begun.report) == (Verdict.NO_MATCH, None)
        assert begun.report.findings == ()
        assert begun.report.detectors[-1].outcome is RunOutcome.SPARED
        assert report_from_json(report_to_json(begun.report)) == begun.report


def test_a_scan_that_is_finished_says_what_a_whole_one_says(monkeypatch: pytest.MonkeyPatch) -> None:
    costly = CostlyDetector()
    with_detector(monkeypatch, costly)
    with open_scanner(PLAIN) as scanner:
        assert scanner.costly_detectors == {costly.name}
        # The last is large enough for a faster decoding, and a list brings about the closer look.
        large = encode(SECRET.resize((3600, 2800), Image.Resampling.LANCZOS), "JPEG", quality=80)
        scanner.replace_lists([list_of(pdq_entry(SECRET))])
        for data in (PNG_OF_SECRET, encode(OTHER, "PNG"), b"no picture", b"", large):
            assert scanner.finish(scanner.begin(data)) == scanner.scan(data)
    # What is decoded twice is shown to the costly detectors all the same.
    assert costly.frames == [1] * 6


def test_known_pictures_are_found_before_anything_costly_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    costly = CostlyDetector()
    with_detector(monkeypatch, costly)
    with open_scanner(PLAIN) as scanner:
        assert scanner.begin(draw_canary()).report.verdict is Verdict.MATCH
    assert costly.frames == []


def test_without_costly_detectors_a_scan_is_whole_when_it_was_begun(scanner: Scanner) -> None:
    begun = scanner.begin(PNG_OF_SECRET)
    assert not scanner.costly_detectors
    assert begun.is_whole
    assert begun.report == scanner.scan(PNG_OF_SECRET)
