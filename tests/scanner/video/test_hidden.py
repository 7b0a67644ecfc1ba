"""A file of sound shows nothing but its pictures: wherever one lies in it, it is seen or refused."""

from __future__ import annotations

import base64
import re
import struct
from typing import TYPE_CHECKING

import pytest

from scanner.decode import decode, prepare
from scanner.outcome import Job, Outcome
from scanner.report import Coverage, UnscannableReason
from scanner.settings import ScannerSettings
from scanner.sniff import sniff
from scanner.video.ogg import count_picture_streams
from tests.images import distance, encode, marker
from tests.scanner.clips import HEIGHT, WIDTH, Scene, clip, cover, sound
from tests.scanner.video.test_media import hash_of

if TYPE_CHECKING:
    from collections.abc import Callable

HIDDEN = 7
COVER = cover(HIDDEN)
PLAIN = cover(8)
NEAR = 31


@pytest.fixture(scope="module", autouse=True)
def _prepared() -> None:
    prepare()


def run(data: bytes) -> Outcome:
    kind = sniff(data)
    assert kind is not None
    return decode(data, Job.of(ScannerSettings(), kind))


def shows_hidden(outcome: Outcome) -> bool:
    return any(distance(one.dihedral[0], hash_of(HIDDEN)) <= NEAR for one in outcome.pictures)


def syncsafe(number: int) -> bytes:
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def tag(*frames: tuple[bytes, bytes], is_unsynchronised: bool = False) -> bytes:
    """An ID3v2.4 tag."""
    body = b""
    for name, one in frames:
        written = re.sub(rb"\xff(?=[\x00\xe0-\xff])", b"\xff\x00", one) if is_unsynchronised else one
        body += name + syncsafe(len(written)) + bytes([0, 2 * is_unsynchronised]) + written
    return b"ID3\x04\x00" + bytes([0x80 * is_unsynchronised]) + syncsafe(len(body)) + body


def attached(picture: bytes, kind: bytes = b"image/jpeg") -> tuple[bytes, bytes]:
    return b"APIC", b"\x00" + kind + b"\x00\x03\x00" + picture


def mp3() -> bytes:
    whole = sound("mp3")
    size = sum(byte << shift for byte, shift in zip(whole[6:10], (21, 14, 7, 0), strict=True))
    return whole[10 + size :] if whole.startswith(b"ID3") else whole


def ape(picture: bytes) -> bytes:
    body = b"cover.jpg\x00" + picture
    item = struct.pack("<II", len(body), 2) + b"Cover Art (Front)\x00" + body
    sizes = struct.pack("<III", 2000, len(item) + 32, 1)
    head, foot = (
        b"APETAGEX" + sizes + struct.pack("<I", mark) + bytes(8) for mark in (0xA0000000, 0x80000000)
    )
    return head + item + foot


def flac_block(picture: bytes, kind: bytes) -> bytes:
    facts = struct.pack(">4I", WIDTH, HEIGHT, 24, 0)
    return (
        struct.pack(">II", 3, len(kind)) + kind + bytes(4) + facts + struct.pack(">I", len(picture)) + picture
    )


def flac(kind: bytes) -> bytes:
    whole, block = sound("flac"), flac_block(COVER, kind)
    head = 8 + int.from_bytes(whole[5:8], "big")
    first = bytes([whole[4] & 0x7F]) + whole[5:head]
    return whole[:4] + first + b"\x06" + len(block).to_bytes(3, "big") + block + whole[head:]


def ogg(kind: bytes) -> bytes:
    """Put a comment of one picture, cut into pages, behind the pages of a sound."""
    spelled = b"METADATA_BLOCK_PICTURE=" + base64.b64encode(flac_block(COVER, kind))
    pieces = [spelled[at : at + 255 * 200] for at in range(0, len(spelled), 255 * 200)]
    pages = [
        b"OggS\x00\x00" + bytes(8) + struct.pack("<III", 1, number, 0) + bytes([-(-len(one) // 255)])
        + b"\xff" * (len(one) // 255) + bytes([len(one) % 255] if len(one) % 255 else []) + one
        for number, one in enumerate(pieces)
    ]  # fmt: skip
    return sound("ogg") + b"".join(pages)


PLACES: dict[str, Callable[[], bytes]] = {
    "cover of a type that nobody knows": lambda: tag(attached(COVER, b"image/x-other")) + mp3(),
    "cover without a type": lambda: tag(attached(COVER, b"")) + mp3(),
    "cover in AVIF": lambda: (
        tag(attached(encode(marker(HIDDEN, width=WIDTH, height=HEIGHT), "AVIF"))) + mp3()
    ),
    "second cover of a type that nobody knows": lambda: (
        tag(attached(PLAIN), attached(COVER, b"image/x-other")) + mp3()
    ),
    "general object of ID3": lambda: tag((b"GEOB", b"\x00image/jpeg\x00a\x00b\x00" + COVER)) + mp3(),
    "tag at the end": lambda: mp3() + tag(attached(COVER)),
    "APE tag": lambda: mp3() + ape(COVER),
    "tag of AAC": lambda: sound("aac") + tag(attached(COVER)),
    "FLAC picture of a type that nobody knows": lambda: flac(b"image/x-other"),
    "FLAC picture that says it is a link": lambda: flac(b"-->"),
    "Ogg comment of a type that nobody knows": lambda: ogg(b"image/x-other"),
    "chunk of a WAV": lambda: sound("wav") + b"PICT" + struct.pack("<I", len(COVER)) + COVER,
}


@pytest.mark.parametrize("place", PLACES)
def test_a_picture_is_seen_wherever_it_lies_in_sound(place: str) -> None:
    outcome = run(PLACES[place]())
    assert outcome.reason is None
    assert outcome.coverage is Coverage.NOT_VISUAL
    assert shows_hidden(outcome)


@pytest.mark.parametrize("is_unsynchronised", [False, True])
def test_a_cover_that_the_demuxer_gave_is_not_looked_at_twice(*, is_unsynchronised: bool) -> None:
    outcome = run(tag(attached(COVER), is_unsynchronised=is_unsynchronised) + mp3())
    assert outcome.reason is None
    assert [one.frame for one in outcome.pictures] == [-1]
    assert shows_hidden(outcome)


@pytest.mark.parametrize("kind", ["h264.mp4", "vp8.webm"])
def test_a_film_behind_sound_is_refused(kind: str) -> None:
    first = sound("webm") if kind.endswith("webm") else mp3()
    outcome = run(first + clip([Scene(seed=HIDDEN, frames=20)], kind))
    assert outcome.reason is UnscannableReason.UNSUPPORTED


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("h264.mp4", b"trak", b"skip"),
        ("h264.mkv", b"\x83\x81\x01", b"\x83\x81\x03"),
        ("h264.mkv", b"V_MPEG4/ISO/AVC", b"A_MPEG4/ISO/AVC"),
    ],
)
def test_a_file_without_sound_in_which_no_pictures_are_seen_is_not_sound(
    kind: str, old: bytes, new: bytes
) -> None:
    film = clip([Scene(seed=HIDDEN, frames=20)], kind)
    assert old in film
    assert run(film.replace(old, new, 1)).reason is UnscannableReason.UNSUPPORTED


def test_pictures_in_a_later_chain_of_an_ogg_are_not_passed_over() -> None:
    film = clip([Scene(seed=HIDDEN, frames=20)], "vp8.ogg")
    assert count_picture_streams(sound("ogg") + sound("ogg")) == 0
    assert count_picture_streams(film) == 1
    assert run(film).reason is None
    assert run(sound("ogg") + sound("ogg")).reason is None
    assert run(sound("ogg") + film).reason is UnscannableReason.UNSUPPORTED
