"""Videos that were made to do harm, or to hide something: never a crash, never a no-match by not looking."""

from __future__ import annotations

import dataclasses
import io
import random
import resource
import struct
from typing import TYPE_CHECKING

import av
import pytest

from scanner.decode import decode, prepare
from scanner.outcome import Job, Outcome
from scanner.perceptual import hash_picture
from scanner.report import UnscannableReason, Verdict
from scanner.settings import ScannerSettings
from scanner.sniff import MediaType, sniff
from tests.fuzz.structure import parts
from tests.images import distance, marker_pixels
from tests.scanner import clips
from tests.scanner.clips import Scene, clip, cover, patch_box, sound, with_outside_reference

if TYPE_CHECKING:
    from scanner.scan import Scanner

SETTINGS = ScannerSettings()
SHOWN = [Scene(seed=1, frames=12)]
CLUSTER = b"\x1f\x43\xb6\x75"
SEED = 20_261_122
MUTATIONS = 150


@pytest.fixture(scope="module", autouse=True)
def _prepared() -> None:
    prepare()


def run(data: bytes) -> Outcome:
    kind = sniff(data)
    assert kind is not None
    return decode(data, dataclasses.replace(Job.of(SETTINGS, kind), wants_pixels=False))


@pytest.mark.parametrize("kind", ["h264.mp4", "mpeg4.mov", "h264.mkv", "vp8.webm"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_video_that_was_cut_short_is_never_whole(kind: str, share: float) -> None:
    data = clip(SHOWN, kind)
    assert run(data).reason is None
    assert run(data[: int(len(data) * share)]).reason is UnscannableReason.TRUNCATED


def test_a_track_whose_data_lies_elsewhere_is_refused() -> None:
    data = clip(SHOWN)
    assert run(with_outside_reference(data, b"\0")).reason is None
    assert run(with_outside_reference(data)).reason is UnscannableReason.UNSUPPORTED
    assert run(with_outside_reference(data, b"file:///etc/passwd\0")).reason is UnscannableReason.UNSUPPORTED


def edited(entries: list[tuple[int, int, int]]) -> bytes:
    """A clip with an edit list put into its track."""
    body = bytes(4) + struct.pack(">I", len(entries)) + b"".join(struct.pack(">IiI", *one) for one in entries)
    elst = struct.pack(">I", 8 + len(body)) + b"elst" + body
    edts = struct.pack(">I", 8 + len(elst)) + b"edts" + elst
    data = bytearray(clip(SHOWN, "mpeg4.mov").replace(b"edts", b"skip"))
    for kind in (b"moov", b"trak"):
        place = data.find(kind) - 4
        (size,) = struct.unpack_from(">I", data, place)
        struct.pack_into(">I", data, place, size + len(edts))
    behind = data.find(b"trak") + 4
    data[behind:behind] = edts
    return bytes(data)


NORMAL = 0x0001_0000


def test_an_edit_list_that_holds_or_repeats_a_moment_is_refused() -> None:
    assert run(edited([(1000, 0, NORMAL)])).reason is None
    assert run(edited([(500, -1, NORMAL), (1000, 0, NORMAL)])).reason is None
    assert run(edited([(60_000, 300, 0)])).reason is UnscannableReason.UNSUPPORTED
    assert run(edited([(100, 300, NORMAL)] * 4)).reason is UnscannableReason.UNSUPPORTED
    assert run(edited([(100, at, NORMAL) for at in range(9)])).reason is UnscannableReason.UNSUPPORTED


def test_what_an_edit_list_leaves_out_is_seen_all_the_same() -> None:
    assert run(edited([(100, 0, NORMAL)])).frames == SHOWN[0].frames


def test_a_huge_canvas_is_refused_before_it_is_allocated() -> None:
    data = clip(SHOWN, "vp8.webm")
    # Width and height in every key frame, behind its start code. Source: RFC 6386, 9.1.
    huge = data.replace(
        b"\x9d\x01\x2a" + struct.pack("<HH", clips.WIDTH, clips.HEIGHT),
        b"\x9d\x01\x2a" + struct.pack("<HH", 16_383, 16_383),
    )
    assert huge != data
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert run(huge).reason is not None
    # One such frame takes 400 MB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10
    whole = Job.of(SETTINGS, MediaType.WEBM)
    for budget in ({"max_pixels": 50_000}, {"max_side": 300}):
        outcome = decode(data, dataclasses.replace(whole, **budget))
        assert outcome.reason is UnscannableReason.TOO_MANY_PIXELS


def test_a_table_of_a_thousand_million_frames_is_refused() -> None:
    data = clip(SHOWN, "mpeg4.mov")
    count = struct.pack(">I", 1_000_000_000)
    assert run(patch_box(data, b"stsz", 8, count)).reason is UnscannableReason.TOO_MANY_FRAMES


def test_a_last_frame_that_lasts_for_days_is_one_that_was_seen() -> None:
    data = clip([*SHOWN, Scene(seed=5, frames=1)], "mpeg4.mov")
    outcome = run(data)
    assert outcome.sampling is not None
    assert outcome.sampling.longest_gap_ms <= 1500


@pytest.mark.parametrize("hidden", [b"cmov", b"rmra"])
def test_a_header_that_is_hidden_or_elsewhere_is_refused(hidden: bytes) -> None:
    data = clip(SHOWN, "mpeg4.mov").replace(b"udta", hidden)
    assert hidden in data
    assert run(data).reason is UnscannableReason.UNSUPPORTED


@pytest.mark.parametrize("handler", [b"pict", b"auxv"])
def test_a_second_track_of_pictures_in_an_unknown_codec_is_not_passed_over(handler: bytes) -> None:
    data = clip(SHOWN, "mpeg4.mov", tracks=[SHOWN])
    second, codec = data.rindex(b"mhlrvide") + 4, data.rindex(b"mp4v")
    unknown = data[:second] + handler + data[second + 4 : codec] + b"zzzz" + data[codec + 4 :]
    assert run(unknown).reason is UnscannableReason.UNSUPPORTED


@pytest.mark.parametrize(
    "text",
    [
        b"#EXTM3U\n#EXTINF:1,\nhttp://10.0.0.1/a.ts\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"<?xml version='1.0'?><MPD></MPD>",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\n",
    ],
)
def test_a_playlist_that_is_named_video_is_none(plain_scanner: Scanner, text: bytes) -> None:
    for declared in ("video/mp4", "video/webm", None):
        report = plain_scanner.scan(text, declared_type=declared)
        assert report.verdict is Verdict.UNSCANNABLE
    # Even where its type was mistaken, the forced demuxer reads no playlist.
    for kind in (MediaType.MP4, MediaType.MATROSKA, MediaType.OGG, MediaType.MP3):
        assert decode(text, Job.of(SETTINGS, kind)).reason is not None


def test_mutated_files_crash_nothing_and_end_in_a_verdict(plain_scanner: Scanner) -> None:
    chance = random.Random(SEED)
    originals = [clip(SHOWN, kind) for kind in clips.FORMATS if kind != "prores.mov"]
    originals += [sound(kind, cover=cover(1)) for kind in ("mp3", "flac", "m4a")]
    crashes = plain_scanner.health().pool.crashes
    for number in range(MUTATIONS):
        data = bytearray(originals[number % len(originals)])
        for _ in range(chance.randint(1, 12)):
            data[chance.randrange(16, len(data))] = chance.randrange(256)
        assert plain_scanner.scan(bytes(data)).verdict in {Verdict.NO_MATCH, Verdict.UNSCANNABLE}
    assert plain_scanner.health().pool.crashes == crashes


def test_a_video_is_scanned_in_the_sandbox(plain_scanner: Scanner) -> None:
    for kind in clips.FORMATS:
        report = plain_scanner.scan(clip(SHOWN, kind))
        assert report.verdict is Verdict.NO_MATCH
        assert report.facts.sampling is not None
        assert report.facts.sampling.examined >= 2


def test_damage_in_key_frames_that_their_decoder_passes_over_is_corrupt() -> None:
    whole = clip([Scene(seed=1, frames=30)], "hevc.mp4", group=10)
    assert run(whole).reason is None
    with av.open(io.BytesIO(whole)) as container:
        keys = [one for one in container.demux(container.streams.video[0]) if one.size and one.is_keyframe]
        places = [(one.pos or 0, one.size) for one in keys]
    assert len(places) == 3
    chance = random.Random(SEED)
    for place, size in places:
        damaged = bytearray(whole)
        at = place + chance.randrange(size // 2, size - 100)
        damaged[at : at + 4] = chance.randbytes(4)
        assert run(bytes(damaged)).reason is UnscannableReason.CORRUPT


def test_a_key_frame_that_claims_the_time_of_another_is_seen() -> None:
    first, second = (clip([Scene(seed=seed, frames=5)], "vp9.webm") for seed in (1, 2))
    (before,), (behind,) = (
        [part for part in parts(data) if data[part.start : part.start + 4] == CLUSTER]
        for data in (first, second)
    )
    both = bytearray(first[: before.end] + second[behind.start : behind.end] + first[before.end :])
    for length in before.around:
        length.write(both, length.read(both) + behind.end - behind.start)
    wanted = hash_picture(marker_pixels(2, width=clips.WIDTH, height=clips.HEIGHT)).dihedral[0]
    outcome = run(bytes(both))
    assert min(distance(one.dihedral[0], wanted) for one in outcome.pictures) <= 20
