"""What detectors see of some bytes: built from one decoding, mended by a second."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from scanner.detector import Sample
from scanner.report import MediaFacts, PdqHash

if TYPE_CHECKING:
    from scanner.detector import PictureHashes
    from scanner.outcome import Outcome
    from scanner.report import Fingerprints
    from scanner.sniff import MediaType


def _add_hashes(prints: Fingerprints, pictures: tuple[PictureHashes, ...]) -> Fingerprints:
    hashes = tuple(
        PdqHash(bits=one.dihedral[0], quality=one.quality, frame=one.frame, timestamp_ms=one.timestamp_ms)
        for one in pictures
    )
    return replace(prints, pdq=hashes)


def look_closer(sample: Sample, closer: Outcome) -> Sample:
    """Put the pictures of a second decoding in the place of those of the first.

    What the second did not come to stays as it was, approximate: nothing was settled about it. The small
    frames are those of the first decoding, for the second has none.
    """
    asked, settled = (Counter(one.frame for one in part) for part in (sample.pictures, closer.pictures))
    left = tuple(one for one in sample.pictures if settled[one.frame] < asked[one.frame])
    pictures = closer.pictures + left
    return replace(sample, pictures=pictures, fingerprints=_add_hashes(sample.fingerprints, pictures))


def build_sample(data: bytes, found: MediaType | None, prints: Fingerprints, outcome: Outcome) -> Sample:
    """Build the sample of bytes of a type, with their digests, out of what decoding gave."""
    return Sample(
        fingerprints=_add_hashes(prints, outcome.pictures),
        facts=MediaFacts(
            size=len(data),
            media_type=found,
            width=outcome.width,
            height=outcome.height,
            frames=outcome.frames,
            coverage=outcome.coverage,
            sampling=outcome.sampling,
        ),
        pictures=outcome.pictures,
        pixels=outcome.pixels,
    )
