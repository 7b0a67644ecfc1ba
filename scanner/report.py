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
    NOT_VISUAL = "not_visual"
    """Sound: it shows nothing but its cover pictures, which were examined."""


class RunOutcome(StrEnum):
    """What became of one detector in one scan."""

    RAN = "ran"
    NOT_APPLICABLE = "not_applicable"
    FAILED = "failed"
    SPARED = "spared"
    """A costly detector that was not asked yet: the report speaks of the others alone."""
    OVERRULED = "overruled"
    """What it found was set aside, because the administrator allowed exactly these bytes. That is a local
    decision: the report must not be attested to others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PdqHash:
    """The PDQ hash of one picture.

    Attributes:
        bits: 32 bytes, most significant bit of the hash first, as its usual hexadecimal form is written.
        quality: 0 to 100; below 50 the hash says nothing about the picture and is not matched.
        frame: Index of the frame in an animation or a video; -1, -2, … for pictures embedded in the metadata.
        timestamp_ms: Of a frame of a video, when it is shown, counted from the earliest one; None for
            pictures.
    """

    bits: bytes
    quality: int
    frame: int
    timestamp_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprints:
    """Digests of the exact bytes, and perceptual hashes of every picture that was decoded."""

    sha256: bytes
    sha1: bytes
    md5: bytes
    pdq: tuple[PdqHash, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """What was seen of a video; `docs/video.md` states the rule.

    Attributes:
        duration_ms: From its earliest frame to its latest.
        examined: Frames that were hashed.
        longest_gap_ms: The longest stretch of which no frame was examined.
        longest_gap_frames: The most frames in a row of which none was examined.
        unseen_tracks: Tracks with pictures that no detector sees: subtitles that are drawn.
    """

    duration_ms: int
    examined: int
    longest_gap_ms: int
    longest_gap_frames: int
    unseen_tracks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFacts:
    """What the bytes are, as far as it was established.

    Attributes:
        size: Length in bytes.
        media_type: By magic bytes; None where they are unknown.
        width: Pixels as shown (after EXIF orientation); 0 where not decoded.
        height: Pixels as shown (after EXIF orientation); 0 where not decoded.
        frames: Frames of the animation or video that the file holds; 0 where not decoded.
        coverage: Whether every frame was examined.
        sampling: Of a video, what was sampled; None for everything else.
    """

    size: int
    media_type: MediaType | None
    width: int = 0
    height: int = 0
    frames: int = 0
    coverage: Coverage = Coverage.FULL
    sampling: Sampling | None = None


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
    1000. `is_hosted` tells a service of others from the detectors of this machine.
    """

    name: str
    version: str
    essential: bool
    outcome: RunOutcome
    scores: tuple[tuple[str, int], ...] = ()
    is_hosted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowRun:
    """What a detector that is only tried out would have said; for statistics, never shown nor attested."""

    run: DetectorRun
    findings: tuple[Finding, ...]


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
    shadow: tuple[ShadowRun, ...] = ()


def report_to_json(report: Report) -> dict[str, Any]:
    """Build the JSON form of a report: byte strings as hexadecimal, integers, strings and null only."""
    document = asdict(report)
    document["findings"] = [asdict(finding) for finding in report.findings]
    document["detectors"] = [asdict(run) for run in report.detectors]
    document["shadow"] = [
        {"run": asdict(one.run), "findings": [asdict(finding) for finding in one.findings]}
        for one in report.shadow
    ]
    document["fingerprints"] = {
        "sha256": report.fingerprints.sha256.hex(),
        "sha1": report.fingerprints.sha1.hex(),
        "md5": report.fingerprints.md5.hex(),
        "pdq": [
            {"bits": one.bits.hex(), "quality": one.quality, "frame": one.frame}
            | ({} if one.timestamp_ms is None else {"timestamp_ms": one.timestamp_ms})
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
            findings=_findings(document["findings"]),
            detectors=tuple(_run(one) for one in document["detectors"]),
            shadow=tuple(
                ShadowRun(run=_run(one["run"]), findings=_findings(one["findings"]))
                for one in document.get("shadow", ())
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
                    "sampling": None if facts.get("sampling") is None else Sampling(**facts["sampling"]),
                }
            ),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise MalformedError("this is not the JSON form of a report") from error


def _findings(document: list[dict[str, Any]]) -> tuple[Finding, ...]:
    return tuple(
        Finding(**{**one, "category": Category(one["category"]), "basis": Basis(one["basis"])})
        for one in document
    )


def _run(document: dict[str, Any]) -> DetectorRun:
    scores = tuple((name, int(score)) for name, score in document.get("scores", ()))
    return DetectorRun(**{**document, "outcome": RunOutcome(document["outcome"]), "scores": scores})
