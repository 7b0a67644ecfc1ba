"""What a scan says about some bytes: findings, who looked, what was hashed, and the verdict."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from scanner.errors import MalformedError
from scanner.labels import Category
from scanner.sniff import MediaType


class Verdict(StrEnum):
    """The answer of a scan. There is no word for harmless: a scanner can only say what it did not find."""

    MATCH = "match"
    NO_MATCH = "no-match"
    UNSCANNABLE = "unscannable"


class Basis(StrEnum):
    """What kind of knowledge a finding rests on."""

    EXACT_HASH = "exact_hash"
    NEAR_HASH = "near_hash"
    CLASSIFIER = "classifier"
    HUMAN = "human"
    NOTICE = "notice"
    PEER = "peer"


class UnscannableReason(StrEnum):
    """Why some bytes could not be examined wholly."""

    EMPTY = "empty"
    NOT_MEDIA = "not_media"
    UNSUPPORTED = "unsupported"
    TYPE_MISMATCH = "type_mismatch"
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"
    TOO_LARGE = "too_large"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_MANY_FRAMES = "too_many_frames"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    DECODER_CRASH = "decoder_crash"
    DETECTOR_UNAVAILABLE = "detector_unavailable"


class Coverage(StrEnum):
    """How much of the media the detectors saw."""

    FULL = "full"
    SAMPLED = "sampled"
    PREFIX = "prefix"


class RunOutcome(StrEnum):
    """What became of one detector in one scan."""

    RAN = "ran"
    NOT_APPLICABLE = "not_applicable"
    FAILED = "failed"
    SPARED = "spared"
    """A costly detector that was not asked yet: the report speaks of the others alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PdqHash:
    """The PDQ hash of one picture.

    Attributes:
        bits: 32 bytes, most significant bit of the hash first, as its usual hexadecimal form is written.
        quality: 0 to 100; below 50 the hash says nothing about the picture and is not matched.
        frame: Index of the animation frame; -1, -2, … for pictures embedded in the metadata.
    """

    bits: bytes
    quality: int
    frame: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprints:
    """Digests of the exact bytes, and perceptual hashes of every picture that was decoded."""

    sha256: bytes
    sha1: bytes
    md5: bytes
    pdq: tuple[PdqHash, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFacts:
    """What the bytes are, as far as it was established.

    Attributes:
        size: Length in bytes.
        media_type: By magic bytes; None where they are unknown.
        width: Pixels as shown (after EXIF orientation); 0 where not decoded.
        height: Pixels as shown (after EXIF orientation); 0 where not decoded.
        frames: Animation frames that the file holds; 0 where not decoded.
        coverage: Whether every frame was examined.
    """

    size: int
    media_type: MediaType | None
    width: int = 0
    height: int = 0
    frames: int = 0
    coverage: Coverage = Coverage.FULL


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The claim of one detector about the media.

    Attributes:
        detector: Name of the detector.
        version: Version of the detector.
        category: The harm that is claimed.
        basis: What the claim rests on.
        label: The detector's or list's own finer word, where it has one.
        advisory: True where the finding is reported but does not decide the verdict.
        list_name: The hash list that matched, for list matches.
        list_version: The version of that list.
        distance: Hamming distance in bits, 0 to 256, for near matches.
        score_permille: Calibrated score, 0 to 1000, for classifiers.
        entry: Which listed entry matched, as `scanner.hashtable.name_entry` calls it; for this instance's own
            counting only, never for logs, metrics, messages, peers or attestations.
    """

    detector: str
    version: str
    category: Category
    basis: Basis
    label: str | None = None
    advisory: bool = False
    list_name: str | None = None
    list_version: str | None = None
    distance: int | None = None
    score_permille: int | None = None
    entry: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorRun:
    """One detector's part in a scan; every detector that is switched on has one in every report.

    `scores` are what a model made of the media, fired or not: the name of each label with its score, 0 to
    1000.
    """

    name: str
    version: str
    essential: bool
    outcome: RunOutcome
    scores: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All claims about some bytes, and the verdict they amount to.

    `reason` is set exactly where the bytes could not be examined wholly. With verdict `match` it may still
    be set: a known digest matches whatever the bytes are, and the reader should know that nothing else was
    looked at.
    """

    verdict: Verdict
    reason: UnscannableReason | None
    findings: tuple[Finding, ...]
    detectors: tuple[DetectorRun, ...]
    fingerprints: Fingerprints
    facts: MediaFacts


def report_to_json(report: Report) -> dict[str, Any]:
    """Build the JSON form of a report: byte strings as hexadecimal, integers, strings and null only."""
    document = asdict(report)
    document["findings"] = [asdict(finding) for finding in report.findings]
    document["detectors"] = [asdict(run) for run in report.detectors]
    document["fingerprints"] = {
        "sha256": report.fingerprints.sha256.hex(),
        "sha1": report.fingerprints.sha1.hex(),
        "md5": report.fingerprints.md5.hex(),
        "pdq": [
            {"bits": one.bits.hex(), "quality": one.quality, "frame": one.frame}
            for one in report.fingerprints.pdq
        ],
    }
    return document


def report_from_json(document: dict[str, Any]) -> Report:
    """Parse the JSON form of a report, as `report_to_json` builds it.

    Raises:
        MalformedError: The document is not such a form.
    """
    try:
        prints, facts = document["fingerprints"], document["facts"]
        reason, kind = document["reason"], facts["media_type"]
        return Report(
            verdict=Verdict(document["verdict"]),
            reason=None if reason is None else UnscannableReason(reason),
            findings=tuple(
                Finding(**{**one, "category": Category(one["category"]), "basis": Basis(one["basis"])})
                for one in document["findings"]
            ),
            detectors=tuple(
                DetectorRun(
                    **{
                        **one,
                        "outcome": RunOutcome(one["outcome"]),
                        "scores": tuple((name, int(score)) for name, score in one.get("scores", ())),
                    }
                )
                for one in document["detectors"]
            ),
            fingerprints=Fingerprints(
                sha256=bytes.fromhex(prints["sha256"]),
                sha1=bytes.fromhex(prints["sha1"]),
                md5=bytes.fromhex(prints["md5"]),
                pdq=tuple(PdqHash(**{**one, "bits": bytes.fromhex(one["bits"])}) for one in prints["pdq"]),
            ),
            facts=MediaFacts(
                **{
                    **facts,
                    "media_type": None if kind is None else MediaType(kind),
                    "coverage": Coverage(facts["coverage"]),
                }
            ),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise MalformedError("this is not the JSON form of a report") from error
