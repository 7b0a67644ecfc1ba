"""Known videos by the share of their pictures: whole, cut out, among others, and what is too little."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scanner.detector import DetectorResult, PictureHashes, Sample
from scanner.detectors.vpdq import BUILDER
from scanner.hashlist import HashList, HashTable, VideoHashes
from scanner.keeping import MAX_KEPT, pack_pictures, unpack_pictures
from scanner.labels import Category
from scanner.report import Basis, Fingerprints, MediaFacts, Verdict
from scanner.scan import open_scanner
from scanner.settings import ScannerSettings
from scanner.sniff import MediaType
from tests.scanner.clips import Scene, clip
from tests.scanner.video.test_media import run

if TYPE_CHECKING:
    from collections.abc import Sequence

SETTINGS = ScannerSettings(workers=1, embedded_classifier=False)
CHANCE = np.random.default_rng(20_261_122)
PICTURES = CHANCE.integers(0, 256, (40, 32), dtype=np.uint8)
KNOWN = PICTURES[:10]


def listing(*videos: VideoHashes, suspended: frozenset[str] = frozenset()) -> HashList:
    return HashList(
        name="videos",
        version="1",
        category=Category.NCII_KNOWN,
        table=HashTable.from_entries([]),
        videos=videos,
        suspended=suspended,
    )


KNOWN_VIDEO = VideoHashes(id="a", frames=KNOWN)


def ask(
    shown: Sequence[np.ndarray], source: HashList, *, quality: int = 100, approximate: bool = False
) -> DetectorResult:
    pictures = tuple(
        PictureHashes(
            frame=number,
            quality=quality,
            dihedral=(bits.tobytes(),) * 8,
            resized=(bits.tobytes(),) * 8,
            is_approximate=approximate,
            timestamp_ms=number * 1000,
        )
        for number, bits in enumerate(shown)
    )
    (detector,) = BUILDER.build(SETTINGS, (source,))
    return detector.detect(
        Sample(
            fingerprints=Fingerprints(sha256=bytes(32), sha1=bytes(20), md5=bytes(16)),
            facts=MediaFacts(size=1, media_type=MediaType.MP4),
            pictures=pictures,
            pixels=np.empty((0, 256, 256, 3), dtype=np.uint8),
        )
    )


def flip(bits: np.ndarray, count: int) -> np.ndarray:
    unpacked = np.unpackbits(bits)
    unpacked[:count] ^= 1
    return np.packbits(unpacked)


def test_a_known_video_is_found() -> None:
    (found,) = ask([flip(one, 31) for one in KNOWN], listing(KNOWN_VIDEO)).findings
    assert (found.basis, found.category, found.distance) == (Basis.NEAR_HASH, Category.NCII_KNOWN, 31)
    assert found.entry == KNOWN_VIDEO.entry
    assert ask([flip(one, 32) for one in KNOWN], listing(KNOWN_VIDEO)).findings == ()


def test_a_cutting_of_a_known_video_is_found() -> None:
    assert ask(KNOWN[3:6], listing(KNOWN_VIDEO)).findings


def test_a_known_video_among_others_is_found() -> None:
    assert ask([*PICTURES[10:], *KNOWN[:8]], listing(KNOWN_VIDEO)).findings


def test_too_small_a_share_is_no_match() -> None:
    assert ask([*PICTURES[10:], *KNOWN[:7]], listing(KNOWN_VIDEO)).findings == ()


def test_a_title_that_videos_have_in_common_is_one_picture_however_long_it_lasts() -> None:
    title = [flip(KNOWN[0], count) for count in range(12)]
    assert ask([*title, *PICTURES[10:13]], listing(KNOWN_VIDEO)).findings == ()
    assert ask(title, listing(VideoHashes(id="b", frames=np.stack([*title, PICTURES[20]])))).findings == ()


def test_one_list_makes_one_finding_and_a_suspended_video_none() -> None:
    copy = VideoHashes(id="b", frames=KNOWN[:9])
    assert len(ask(KNOWN, listing(KNOWN_VIDEO, copy)).findings) == 1
    one_left = listing(KNOWN_VIDEO, copy, suspended=frozenset({KNOWN_VIDEO.entry}))
    assert ask(KNOWN, one_left).findings[0].entry == copy.entry
    none_left = listing(KNOWN_VIDEO, suspended=frozenset({KNOWN_VIDEO.entry}))
    assert ask(KNOWN, none_left).findings == ()


def test_flat_frames_say_nothing() -> None:
    answer = ask(KNOWN, listing(KNOWN_VIDEO), quality=40)
    assert (answer.findings, answer.not_applicable) == ((), True)


def test_approximate_hashes_near_a_decision_wait_for_the_exact_ones() -> None:
    near_miss = ask([flip(one, 50) for one in KNOWN], listing(KNOWN_VIDEO), approximate=True)
    assert (near_miss.findings, near_miss.wants_closer_look) == ((), True)
    assert not ask(PICTURES[10:20], listing(KNOWN_VIDEO), approximate=True).wants_closer_look


def test_a_listed_video_is_found_after_another_encoder_had_it() -> None:
    scenes = [Scene(seed=seed, frames=15) for seed in range(1, 6)]
    known = [one.dihedral[0] for one in run(clip(scenes), closer=True).pictures]
    frames = np.frombuffer(b"".join(dict.fromkeys(known)), np.uint8).reshape(-1, 32)
    with open_scanner(SETTINGS) as scanner:
        scanner.replace_lists([listing(VideoHashes(id="a", frames=frames))])
        assert scanner.scan(clip(scenes, "vp9.webm", rate=12)).verdict is Verdict.MATCH
        others = [Scene(seed=seed, frames=15) for seed in range(11, 16)]
        assert scanner.scan(clip(others)).verdict is Verdict.NO_MATCH


def test_what_is_kept_of_a_long_video_finds_it_whole_but_not_a_short_part_of_it() -> None:
    frames = CHANCE.integers(0, 256, (200, 32), dtype=np.uint8)
    shown = tuple(
        PictureHashes(
            frame=number,
            quality=100,
            dihedral=(bits.tobytes(),) * 8,
            resized=(bits.tobytes(),) * 8,
            is_approximate=False,
        )
        for number, bits in enumerate(frames)
    )
    kept = [np.frombuffer(one.dihedral[0], np.uint8) for one in unpack_pictures(pack_pictures(shown))]
    assert len(kept) == MAX_KEPT
    assert ask(kept, listing(VideoHashes(id="a", frames=frames))).findings
    part = listing(VideoHashes(id="a", frames=frames[:10]))
    assert ask(list(frames), part).findings
    assert not ask(kept, part).findings
