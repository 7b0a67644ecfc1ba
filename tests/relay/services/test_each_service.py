"""What each service is asked, and how its answers are read."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from relay.services.answers import Answered, Failed, FailureKind, Material, NotTaken, Question
from relay.services.hashes import MAX_HASHES
from relay.services.opening import open_service
from scanner.report import PdqHash
from scanner.sniff import MediaType
from tests.images import encode, marker
from tests.relay.services.parts import HASH, PICTURE, ask, copy_of, find, report_on, section_for
from tests.service_servers import FakeGoogle, FakeHma, FakePhotoDna, FakeShield, Scripted
from tests.service_servers.photodna import status_only

if TYPE_CHECKING:
    from pathlib import Path

MALFORMED = Failed(kind=FailureKind.MALFORMED)


@pytest.mark.parametrize(
    ("classification", "match_type", "found"),
    [
        ("csam", "exact", [("csam-known", "exact_hash")]),
        ("csam", "near", [("csam-known", "near_hash")]),
        ("csam", None, [("csam-known", "near_hash")]),
        ("harmful-abusive-material", "exact", [("csem-other", "exact_hash")]),
    ],
)
async def test_shield_names_what_it_knows_and_how(
    classification: str, match_type: str | None, found: list[tuple[str, str]], tmp_path: Path
) -> None:
    async with FakeShield.open() as shield:
        shield.know(PICTURE, classification, match_type)
        assert await find(section_for(shield, tmp_path), data=PICTURE) == found
    (received,) = shield.received
    assert (received.path, received.body) == ("/v1/media/", PICTURE)
    assert received.headers["Content-Type"] == "image/png"


async def test_shield_finds_nothing_in_what_it_does_not_know(tmp_path: Path) -> None:
    async with FakeShield.open() as shield:
        assert await find(section_for(shield, tmp_path)) == []


async def test_of_shields_near_matches_the_worst_counts(tmp_path: Path) -> None:
    async with FakeShield.open() as shield:
        shield.know(PICTURE, "harmful-abusive-material", "near")
        near = [{"timestamp": 0.0, "classification": "csam", "sha256_hex": "", "sha1_base32": ""}]
        next(iter(shield.known.values()))["near_match_details"] = near
        assert await find(section_for(shield, tmp_path)) == [
            ("csem-other", "near_hash"),
            ("csam-known", "near_hash"),
        ]


@pytest.mark.parametrize(
    "answer",
    [
        {"classification": "another-class", "match_type": "exact"},
        {"classification": "no-known-match", "match_type": "near"},
        {"classification": ["csam"], "match_type": "near"},
        {"match_type": None},
        [],
        None,
    ],
)
async def test_what_shield_never_says_is_no_answer(answer: Any, tmp_path: Path) -> None:
    body = (
        {**answer, "sha256_hex": report_on().fingerprints.sha256.hex()}
        if isinstance(answer, dict)
        else answer
    )
    async with FakeShield.open() as shield:
        shield.script(Scripted(status=200, body=json.dumps(body).encode()))
        assert await ask(section_for(shield, tmp_path)) == MALFORMED


async def test_what_shield_says_about_other_bytes_is_no_answer(tmp_path: Path) -> None:
    other = json.dumps({"classification": "no-known-match", "match_type": None, "sha256_hex": "00" * 32})
    async with FakeShield.open() as shield:
        shield.script(Scripted(status=200, body=other.encode()))
        assert await ask(section_for(shield, tmp_path)) == MALFORMED


async def test_of_formats_that_shield_may_not_read_it_gets_the_hashes(tmp_path: Path) -> None:
    async with FakeShield.open() as shield:
        shield.known_hashes[HASH] = {"classification": "csam", "match_type": "near", "near_match_details": []}
        report = report_on(media_type=MediaType.AVIF)
        assert await find(section_for(shield, tmp_path), report) == [("csam-known", "near_hash")]
    (received,) = shield.received
    assert json.loads(received.body) == {"hashes": [base64.b64encode(HASH).decode()]}


async def test_where_the_admin_wants_hashes_alone_no_byte_of_a_picture_leaves(tmp_path: Path) -> None:
    async with FakeShield.open() as shield:
        assert await find(section_for(shield, tmp_path, what="hashes")) == []
    assert [one.path for one in shield.received] == ["/v1/pdq/"]
    assert PICTURE not in shield.received[0].body


async def test_a_hash_that_shield_leaves_out_is_not_taken_for_unknown(tmp_path: Path) -> None:
    async with FakeShield.open() as shield:
        shield.script(Scripted(status=200, body=b'{"scanned_hashes": {}}'))
        assert await ask(section_for(shield, tmp_path, what="hashes")) == MALFORMED


async def test_of_many_hashes_a_sample_is_asked_about_and_said_to_be_one(tmp_path: Path) -> None:
    many = tuple(PdqHash(bits=bytes([n]) * 32, quality=100, frame=n) for n in range(40))
    flat = tuple(PdqHash(bits=bytes([n]) * 32, quality=10, frame=n) for n in range(3))
    async with FakeShield.open() as shield:
        section = section_for(shield, tmp_path, what="hashes")
        sampled = await ask(section, report_on(hashes=many))
        assert await ask(section, report_on(hashes=flat)) == NotTaken()
    assert isinstance(sampled, Answered)
    assert sampled.is_sampled
    sent = [base64.b64decode(one) for one in json.loads(shield.received[0].body)["hashes"]]
    assert (sent[0], sent[-1], len(sent)) == (many[0].bits, many[-1].bits, MAX_HASHES)
    assert len(shield.received) == 1


async def test_photodna_names_what_it_knows_as_a_near_match(tmp_path: Path) -> None:
    async with FakePhotoDna.open() as photodna:
        photodna.know(PICTURE)
        section = section_for(photodna, tmp_path)
        assert await find(section) == [("csam-known", "near_hash")]
        other = encode(marker(4, width=200, height=200), "PNG")
        assert await find(section, data=other) == []


@pytest.mark.parametrize(
    ("media_type", "facts", "material"),
    [
        (MediaType.PNG, {}, Material.ORIGINAL),
        (MediaType.APNG, {}, Material.ORIGINAL),
        (MediaType.TIFF, {"width": 0, "height": 0}, Material.ORIGINAL),
        (MediaType.WEBP, {}, Material.COPIES),
        (MediaType.AVIF, {}, Material.COPIES),
        (MediaType.HEIF, {}, Material.COPIES),
        (MediaType.JXL, {}, Material.COPIES),
        (MediaType.MP4, {"frames": 30}, Material.COPIES),
        (MediaType.MP3, {"frames": 0}, Material.COPIES),
        (MediaType.MP3, {"frames": 0, "width": 0, "height": 0}, Material.NOTHING),
        # Nobody here can show it, and so it is not released either.
        (MediaType.AVI, {"width": 0, "height": 0}, Material.NOTHING),
        (None, {"width": 0, "height": 0}, Material.NOTHING),
        (MediaType.PNG, {"width": 159}, Material.NOTHING),
        (MediaType.WEBP, {"width": 159}, Material.NOTHING),
        # One of its pictures is small; the others may be larger.
        (MediaType.HEIF, {"width": 159, "frames": 2}, Material.COPIES),
        (MediaType.PNG, {"width": 160, "height": 160}, Material.ORIGINAL),
        (MediaType.PNG, {"size": 4_000_001}, Material.COPIES),
        (MediaType.PNG, {"size": 4_000_000}, Material.ORIGINAL),
    ],
)
async def test_photodna_gets_files_within_its_bounds_and_copies_of_others(
    media_type: MediaType | None, facts: dict[str, int], material: Material, tmp_path: Path
) -> None:
    report = report_on(media_type=media_type, **facts)
    async with FakePhotoDna.open() as photodna, open_service(section_for(photodna, tmp_path)) as service:
        assert service.choose_material(report) is material


async def test_photodna_gets_every_copy_until_it_knows_one(tmp_path: Path) -> None:
    copies = (copy_of(1), copy_of(2), copy_of(3))
    async with FakePhotoDna.open() as photodna:
        photodna.know(copies[1].data)
        section = section_for(photodna, tmp_path)
        known = await ask(section, report_on(media_type=MediaType.MP4, frames=90), copies=copies)
        assert [one.body for one in photodna.received] == [one.data for one in copies[:2]]
        unknown = await ask(section, report_on(media_type=MediaType.HEIF, frames=2), copies=copies[::2])
    assert {one.headers["Content-Type"] for one in photodna.received} == {"image/jpeg"}
    assert isinstance(known, Answered)
    assert [one.category.value for one in known.findings] == ["csam-known"]
    assert known.is_sampled
    assert unknown == Answered()


async def test_one_copy_that_photodna_does_not_answer_about_is_no_answer(tmp_path: Path) -> None:
    fine = Scripted(status=200, body=json.dumps(status_only(3000, "OK")).encode())
    small = Scripted(status=200, body=json.dumps(status_only(3208, "words")).encode())
    report = report_on(media_type=MediaType.WEBP, frames=2)
    async with FakePhotoDna.open() as photodna:
        section = section_for(photodna, tmp_path)
        photodna.script(fine, 500)
        broken = await ask(section, report, copies=(copy_of(1), copy_of(2)))
        photodna.script(fine, small)
        refused = await ask(section, report, copies=(copy_of(1), copy_of(2)))
    assert broken == Failed(kind=FailureKind.SERVER_ERROR)
    assert refused == Failed(kind=FailureKind.REFUSED)


async def test_photodna_is_not_asked_about_copies_that_are_too_small(tmp_path: Path) -> None:
    small, large = copy_of(1, width=159), copy_of(2)
    report = report_on(media_type=MediaType.HEIF, frames=2)
    async with FakePhotoDna.open() as photodna, open_service(section_for(photodna, tmp_path)) as service:
        question = Question(data=PICTURE, report=report, copies=(small, large))
        assert service.count_requests(question) == 1
        assert await service.ask(question) == Answered(is_sampled=True)
        assert await service.ask(replace(question, copies=(small,))) == NotTaken()
    assert len(photodna.received) == 1


async def test_what_photodna_turns_down_for_its_size_it_may_get_as_a_copy(tmp_path: Path) -> None:
    body = json.dumps(status_only(3208, "words")).encode()
    async with FakePhotoDna.open() as photodna:
        photodna.script(*[Scripted(status=200, body=body)] * 2)
        section = section_for(photodna, tmp_path)
        assert await ask(section) == NotTaken(takes_copies=True)
        undecoded = report_on(media_type=MediaType.TIFF, width=0, height=0)
        assert await ask(section, undecoded) == NotTaken()


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        (3206, Failed(kind=FailureKind.REFUSED)),
        (3208, NotTaken(takes_copies=True)),
        (3209, NotTaken(takes_copies=True)),
        (3002, MALFORMED),
        (3004, MALFORMED),
        (9999, MALFORMED),
        ([3208], MALFORMED),
        ({"Code": 3000}, MALFORMED),
        (None, MALFORMED),
    ],
)
async def test_none_of_photodnas_own_errors_is_an_answer(
    code: object, answer: object, tmp_path: Path
) -> None:
    async with FakePhotoDna.open() as photodna:
        photodna.script(Scripted(status=200, body=json.dumps(status_only(code, "words")).encode()))
        assert await ask(section_for(photodna, tmp_path)) == answer


async def test_photodna_that_says_ok_and_not_whether_it_matches_is_no_answer(tmp_path: Path) -> None:
    body = json.dumps({**status_only(3000, "OK"), "IsMatch": None}).encode()
    async with FakePhotoDna.open() as photodna:
        photodna.script(Scripted(status=200, body=body))
        assert await ask(section_for(photodna, tmp_path)) == MALFORMED


async def test_of_an_animation_photodna_is_not_known_to_see_every_frame(tmp_path: Path) -> None:
    async with FakePhotoDna.open() as photodna:
        answer = await ask(section_for(photodna, tmp_path), report_on(frames=12))
    assert isinstance(answer, Answered)
    assert answer.is_sampled


async def test_an_hma_is_asked_by_hashes_and_its_banks_count_as_the_admin_says(tmp_path: Path) -> None:
    async with FakeHma.open() as hma:
        hma.know(HASH, "KNOWN", distance=12)
        hma.know(HASH, "HARMLESS_MEMES")
        answer = await ask(section_for(hma, tmp_path))
    assert isinstance(answer, Answered)
    (finding,) = answer.findings
    assert (finding.category.value, finding.basis.value, finding.distance) == ("csam-known", "near_hash", 12)
    (received,) = hma.received
    assert (received.method, received.query) == ("GET", {"signal_type": "pdq", "signal": HASH.hex()})


async def test_an_hma_that_holds_nothing_near_finds_nothing(tmp_path: Path) -> None:
    async with FakeHma.open() as hma:
        assert await find(section_for(hma, tmp_path)) == []
        assert await ask(section_for(hma, tmp_path), report_on(hashes=())) == NotTaken()


async def test_an_hma_can_be_sent_the_file(tmp_path: Path) -> None:
    async with FakeHma.open() as hma:
        hma.file_banks = {"pdq": {"TERROR": [{"bank_content_id": 1, "distance": "0"}]}, "video_md5": {}}
        assert await find(section_for(hma, tmp_path, what="media")) == [("tvec", "near_hash")]
        # It hashed nothing, so that it has looked at nothing.
        hma.file_banks = {}
        assert await ask(section_for(hma, tmp_path, what="media")) == MALFORMED
    assert PICTURE in hma.received[0].body


async def test_an_hma_tells_an_equal_file_from_a_near_one(tmp_path: Path) -> None:
    async with FakeHma.open() as hma:
        hma.file_banks = {"video_md5": {"KNOWN": [{"bank_content_id": 1, "distance": ""}]}}
        report = report_on(media_type=MediaType.MP4)
        assert await find(section_for(hma, tmp_path, what="media"), report) == [("csam-known", "exact_hash")]


@pytest.mark.parametrize("body", [b"[]", b'{"KNOWN": {}}', b'{"KNOWN": 1}', b"null"])
async def test_what_an_hma_never_says_is_no_answer(body: bytes, tmp_path: Path) -> None:
    async with FakeHma.open() as hma:
        hma.script(Scripted(status=200, body=body))
        assert await ask(section_for(hma, tmp_path)) == MALFORMED


async def test_google_advises_from_the_priority_on_that_the_admin_chose(tmp_path: Path) -> None:
    async with FakeGoogle.open() as google:
        for priority, found in (
            ("VERY_LOW", []),
            ("MEDIUM", []),
            ("HIGH", [("csam-suspected", "classifier")]),
            ("VERY_HIGH", [("csam-suspected", "classifier")]),
        ):
            google.rate(PICTURE, priority)
            assert await find(section_for(google, tmp_path)) == found
        answer = await ask(section_for(google, tmp_path))
    assert isinstance(answer, Answered)
    assert answer.findings[0].advisory
    assert "key" not in google.received[0].query


@pytest.mark.parametrize("priorities", [[], ["HIGH", "LOW"], ["URGENT"], "HIGH", [None]])
async def test_what_google_never_says_is_no_answer(priorities: object, tmp_path: Path) -> None:
    body = json.dumps({"reviewPriorities": priorities}).encode()
    async with FakeGoogle.open() as google:
        google.script(Scripted(status=200, body=body))
        assert await ask(section_for(google, tmp_path)) == MALFORMED


async def test_google_gets_copies_of_what_it_does_not_take_and_the_most_urgent_counts(
    tmp_path: Path,
) -> None:
    copies = (copy_of(1), copy_of(2), copy_of(3))
    report = report_on(media_type=MediaType.MP4, frames=30)
    async with FakeGoogle.open() as google, open_service(section_for(google, tmp_path)) as service:
        google.rate(copies[1].data, "VERY_HIGH")
        question = Question(data=PICTURE, report=report, copies=copies)
        assert service.choose_material(report) is Material.COPIES
        assert service.count_requests(question) == 1
        answer = await service.ask(question)
        assert isinstance(answer, Answered)
        assert [one.label for one in answer.findings] == ["VERY_HIGH"]
        assert answer.is_sampled
        calm = await service.ask(replace(question, copies=copies[:1], report=report_on(frames=1)))
    assert calm == Answered()
    assert [len(json.loads(one.body)["images"]) for one in google.received] == [3, 1]


@pytest.mark.parametrize(
    ("media_type", "facts", "material"),
    [
        (MediaType.WEBP, {}, Material.ORIGINAL),
        (MediaType.WEBP, {"size": 7_000_000}, Material.ORIGINAL),
        (MediaType.WEBP, {"size": 7_000_001}, Material.COPIES),
        (MediaType.AVIF, {}, Material.COPIES),
        (MediaType.TIFF, {"width": 0, "height": 0}, Material.NOTHING),
    ],
)
async def test_google_gets_files_within_its_bounds_and_copies_of_others(
    media_type: MediaType, facts: dict[str, int], material: Material, tmp_path: Path
) -> None:
    async with FakeGoogle.open() as google, open_service(section_for(google, tmp_path)) as service:
        assert service.choose_material(report_on(media_type=media_type, **facts)) is material
