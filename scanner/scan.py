"""Bytes in, report out.

`scan` is synchronous, deterministic and may be called from any number of threads. It never raises about
content: what cannot be examined is `unscannable`, with the reason. In order:

1. digests of the bytes, whatever they are;
2. type by magic bytes, against the declared one;
3. decoding and hashing in the sandbox;
4. every detector that is not costly and whose need was met;
5. where approximate hashes came close to a decision, a second decoding at full resolution;
6. the costly detectors: classifiers and hosted services;
7. the verdict: `match` where any finding decides, else `unscannable` where anything was left unseen, else
`no-match`.
"""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scanner.canary import canary_list
from scanner.detector import Detector, DetectorResult, Need, Sample
from scanner.detectors import DETECTORS
from scanner.judging import build_report, overrule
from scanner.obstacles import find_obstacle, find_shortfall
from scanner.outcome import Job, Outcome, no_pixels
from scanner.pool import DECODER, Pool, PoolHealth
from scanner.reduced import MAX_COPIES, ReducedPicture, Wanted
from scanner.report import (
    Finding,
    Fingerprints,
    MediaFacts,
    PdqHash,
    Report,
    UnscannableReason,
)
from scanner.samples import build_sample, look_closer
from scanner.sniff import DECODABLE, MediaType, sniff
from scanner.state import ScannerState, build_state

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scanner.detector import PictureHashes
    from scanner.hashlist import HashList
    from scanner.settings import ScannerSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannerHealth:
    """How the scanner is.

    Attributes:
        pool: The decoder processes and their sandbox.
        failing: Detectors whose last run failed, with what they said.
        lists: Hash lists that are loaded.
    """

    pool: PoolHealth
    failing: dict[str, str]
    lists: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    """Lists and detectors that belong together; replaced as a whole."""

    lists: tuple[HashList, ...]
    by_builder: tuple[tuple[Detector, ...], ...]
    state: ScannerState
    lists_digest: bytes
    shadow: frozenset[str]

    @property
    def matchers(self) -> tuple[Detector, ...]:
        """The detectors that compare with the lists, without those that are only tried out."""
        groups = zip(DETECTORS, self.by_builder, strict=True)
        return tuple(
            one
            for builder, group in groups
            if builder.uses_lists and builder.compares
            for one in group
            if one.name not in self.shadow
        )

    @property
    def detectors(self) -> tuple[Detector, ...]:
        return tuple(one for group in self.by_builder for one in group)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Begun:
    """A scan that the costly detectors have not seen; what it needs to go on is kept, small.

    Attributes:
        report: What the others found. Its no-match speaks for them alone, so that nobody must keep it as the
            verdict on the bytes, nor attest it.
        is_whole: There is nothing left to ask: `report` is what `finish` returns.
        sample: What detectors see of the bytes.
        detectors: All of them, as they were when the scan began.
        results: The answers of those that were asked, by name.
        reason: Why the bytes cannot be examined wholly, as far as decoding tells.
        lists_digest: The digest of the lists that the bytes were compared with.
        shadow: Names of the detectors that are only tried out.
    """

    report: Report
    is_whole: bool
    sample: Sample
    detectors: tuple[Detector, ...]
    results: dict[str, DetectorResult]
    reason: UnscannableReason | None
    lists_digest: bytes
    shadow: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recheck:
    """What the lists say about hashes that were kept.

    Attributes:
        findings: As a scan would report them.
        wants_closer_look: Approximate hashes came close to a decision, so that only the bytes can tell.
    """

    findings: tuple[Finding, ...] = ()
    wants_closer_look: bool = False


class Scanner:
    """Examine bytes; made by `open_scanner`."""

    def __init__(self, settings: ScannerSettings, pool: Pool) -> None:
        self._settings = settings
        self._pool = pool
        self._replacing = threading.Lock()
        self._failing: dict[str, str] = {}
        self._loaded = self._load((), None)

    def scan(self, data: bytes, *, declared_type: str | None = None) -> Report:
        """Examine some bytes.

        Args:
            data: The exact bytes that would be delivered.
            declared_type: The media type that somebody claims for them; None where nobody does.

        Raises:
            ScannerClosedError: The scanner was closed.
        """
        return self.finish(self.begin(data, declared_type=declared_type))

    def begin(self, data: bytes, *, declared_type: str | None = None) -> Begun:
        """Examine some bytes by everything but the costly detectors.

        The bytes are decoded once: `finish` goes on from there.

        Raises:
            ScannerClosedError: The scanner was closed.
        """
        # Lists may be swapped while this runs; one report speaks of one state.
        loaded = self._loaded
        detectors = loaded.detectors
        prints = Fingerprints(
            sha256=hashlib.sha256(data).digest(),
            sha1=hashlib.sha1(data, usedforsecurity=False).digest(),
            md5=hashlib.md5(data, usedforsecurity=False).digest(),
        )
        found = sniff(data)
        obstacle = find_obstacle(data, found, declared_type, self._settings)
        outcome = Outcome(reason=obstacle)
        if found in DECODABLE and obstacle in {None, UnscannableReason.TYPE_MISMATCH}:
            outcome = self._decode(data, found, detectors)
        reason = obstacle or find_shortfall(outcome, self._settings)
        sample = build_sample(data, found, prints, outcome)
        results = {one.name: self._ask(one, sample) for one in detectors if not one.is_costly}
        again = [one for one in detectors if one.name in results and results[one.name].wants_closer_look]
        if again and found is not None:
            closer = self._pool.run(
                data, Job.of(self._settings, found, is_closer_look=True, wants_pixels=False)
            )
            sample = look_closer(sample, closer)
            results |= {one.name: self._ask(one, sample) for one in again}
            # What is only tried out makes nothing unscannable.
            standing = [one for one in again if one.name not in loaded.shadow]
            if standing:
                reason = reason or find_shortfall(closer, self._settings)
            if any(results[one.name].wants_closer_look for one in standing):
                # A video of which there was less time to see shows fewer frames than the first time.
                reason = reason or UnscannableReason.TIMEOUT
        return Begun(
            report=build_report(detectors, results, reason, sample, loaded.shadow),
            is_whole=len(results) == len(detectors),
            sample=sample,
            detectors=detectors,
            results=results,
            reason=reason,
            lists_digest=loaded.lists_digest,
            shadow=loaded.shadow,
        )

    def finish(self, begun: Begun) -> Report:
        """Ask the costly detectors, too, and return the whole report."""
        costly = {one.name: self._ask(one, begun.sample) for one in begun.detectors if one.is_costly}
        return build_report(begun.detectors, begun.results | costly, begun.reason, begun.sample, begun.shadow)

    def recheck(self, prints: Fingerprints, pictures: tuple[PictureHashes, ...]) -> Recheck:
        """Compare hashes that were kept of some bytes with the lists as they are now.

        The bytes are not needed, and so the costly detectors are not asked.
        """
        sample = Sample(
            fingerprints=prints,
            facts=MediaFacts(size=0, media_type=None),
            pictures=pictures,
            pixels=no_pixels(),
            is_kept=True,
        )
        results = overrule({one.name: self._ask(one, sample) for one in self._loaded.matchers})
        return Recheck(
            findings=tuple(finding for one in results.values() for finding in one.findings),
            # What could not be compared has not been compared.
            wants_closer_look=any(
                one.wants_closer_look or one.failed is not None for one in results.values()
            ),
        )

    def hash_picture(self, data: bytes) -> PdqHash | UnscannableReason:
        """Compute the exact PDQ hash of a picture as it is shown first; nothing is looked up or judged.

        Transparency is laid over white, the orientation of the metadata is followed, and of an animation the
        first frame counts.

        Args:
            data: Untrusted bytes; they are decoded in the sandbox only.

        Returns:
            The hash with its quality, which is 0 where there is nothing to see; or why there is none.

        Raises:
            ScannerClosedError: The scanner was closed.
        """
        found = sniff(data)
        obstacle = find_obstacle(data, found, None, self._settings)
        if obstacle is not None or found is None:
            return obstacle or UnscannableReason.NOT_MEDIA
        job = Job.of(self._settings, found, is_closer_look=True, wants_pixels=False, is_first_frame_only=True)
        outcome = self._pool.run(data, job)
        if outcome.reason is not None or not outcome.pictures:
            return outcome.reason or UnscannableReason.CORRUPT
        first = outcome.pictures[0]
        return PdqHash(bits=first.dihedral[0], quality=first.quality, frame=first.frame)

    def reduce_picture(
        self, data: bytes, *, max_side: int, min_side: int
    ) -> ReducedPicture | UnscannableReason:
        """Make reduced copies of what is shown, for whoever does not take the file itself.

        Of a still picture there is one; of an animation or a video there are at most
        `scanner.reduced.MAX_COPIES`, evenly chosen and the first frame first: a sample, where it has more
        frames. What lies in the metadata is left out.

        Args:
            data: Untrusted bytes; they are decoded in the sandbox only.
            max_side: The longer side of a copy in pixels; nothing is enlarged.
            min_side: The shorter side is not shrunk below this.

        Returns:
            The copies, or why there is none.

        Raises:
            ScannerClosedError: The scanner was closed.
        """
        found = sniff(data)
        obstacle = find_obstacle(data, found, None, self._settings)
        if obstacle is not None or found is None:
            return obstacle or UnscannableReason.NOT_MEDIA
        wanted = Wanted(count=MAX_COPIES, max_side=max_side, min_side=min_side)
        job = Job.of(
            self._settings,
            found,
            is_closer_look=True,
            wants_pixels=False,
            is_first_frame_only=True,
            copies=wanted,
        )
        outcome = self._pool.run(data, job)
        # Where something failed half way, what is there is a sample.
        if not outcome.copies:
            return outcome.reason or UnscannableReason.CORRUPT
        return ReducedPicture(pictures=outcome.copies)

    def replace_lists(self, lists: Sequence[HashList]) -> None:
        """Swap all hash lists at once; scans that are running finish with the old ones.

        Building the indexes takes about 0.2 seconds for a million hashes.
        """
        with self._replacing:
            self._loaded = self._load(tuple(lists), self._loaded)

    @property
    def lists_digest(self) -> bytes:
        """SHA-256 over what the lists hold and how they are compared with; equal on every start."""
        return self._loaded.lists_digest

    @property
    def costly_detectors(self) -> frozenset[str]:
        """The names of the detectors that another's word could spare."""
        loaded = self._loaded
        return frozenset(one.name for one in loaded.detectors if one.is_costly) - loaded.shadow

    def state(self) -> ScannerState:
        """Say what decides the answers of this scanner."""
        return self._loaded.state

    def health(self) -> ScannerHealth:
        """Say how the scanner is."""
        return ScannerHealth(
            pool=self._pool.health(), failing=dict(self._failing), lists=len(self._loaded.lists)
        )

    def _load(self, lists: tuple[HashList, ...], previous: _Loaded | None) -> _Loaded:
        if self._settings.canary:
            lists = (canary_list(), *lists)
        groups = tuple(
            builder.build(self._settings, lists)
            if previous is None or builder.uses_lists
            else previous.by_builder[place]
            for place, builder in enumerate(DETECTORS)
        )
        shadow = frozenset(
            one.name
            for builder, group in zip(DETECTORS, groups, strict=True)
            for one in group
            if self._settings.shadow & {one.name, builder.name}
        )
        # What is only tried out decides no answer, so that trying it out makes no verdict old.
        detectors = [one for group in groups for one in group if one.name not in shadow]
        matching = [
            [one.name, one.version, one.state]
            for builder, group in zip(DETECTORS, groups, strict=True)
            if builder.uses_lists and builder.compares
            for one in group
        ]
        return _Loaded(
            lists=lists,
            by_builder=groups,
            state=build_state(self._settings, detectors),
            lists_digest=hashlib.sha256(json.dumps(matching, sort_keys=True).encode()).digest(),
            shadow=shadow,
        )

    def _decode(self, data: bytes, found: MediaType, detectors: tuple[Detector, ...]) -> Outcome:
        wants_pixels = any(one.need is Need.PIXELS for one in detectors)
        return self._pool.run(data, Job.of(self._settings, found, wants_pixels=wants_pixels))

    def _ask(self, detector: Detector, sample: Sample) -> DetectorResult:
        if _is_lacking(detector.need, sample):
            return DetectorResult(not_applicable=True)
        try:
            result = detector.detect(sample)
        except Exception as error:  # noqa: BLE001 - a detector that raises has failed, whatever it raises
            # The kind of the error alone: its words may speak of the content.
            result = DetectorResult(failed=type(error).__name__)
        if result.failed is None:
            self._failing.pop(detector.name, None)
        else:
            self._failing[detector.name] = result.failed
        return result


@contextmanager
def open_scanner(settings: ScannerSettings, *, decoder: str = DECODER) -> Iterator[Scanner]:
    """Start the decoder processes and load the detectors.

    Args:
        settings: Bounds and switches.
        decoder: `module:function` that the sandboxed processes run.

    Raises:
        SandboxError: The processes cannot be started, or the sandbox lacks what the settings do not accept.
        MalformedError: A model's directory is wrong.
    """
    with Pool(settings, decoder=decoder) as pool:
        yield Scanner(settings, pool)


def _is_lacking(need: Need, sample: Sample) -> bool:
    if need is Need.PICTURE_HASHES:
        return not sample.pictures
    return need is Need.PIXELS and len(sample.pixels) == 0
