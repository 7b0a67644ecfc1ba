"""Only a complete scan of our own that found nothing at all is ever signed, and not all of those."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import attestations, commitments, feed
from relay.exchange.commitments import SALT2_SIZE
from relay.model import DeliveryDecision, EvidenceBasis, MediaDecision
from relay.stages.attest import AttestTools, attest, is_attestable, is_withheld
from relay.tools.identity import Identity
from scanner.report import Coverage, DetectorRun, MediaFacts, Report, RunOutcome, UnscannableReason, Verdict
from scanner.sniff import MediaType
from signatures.attestation import Coverage as SignedCoverage
from signatures.attestation import parse_attestation
from signatures.attestation_verify import verify_attestation
from signatures.encoding import decode_base64url
from signatures.keys import generate_ed25519, generate_rsa
from signatures.objects import IssuerKey
from tests.fediverse.clock import START
from tests.relay.stages.parts import decision, evidence, finding, outcome, report

if TYPE_CHECKING:
    from db.pool import Database
    from relay.model import Decision, Evidence
    from relay.tools.scanning import Scanning

SHA256 = report().fingerprints.sha256
LIFE = timedelta(hours=24)
KEYS = generate_rsa(), generate_ed25519()


@pytest.fixture
def tools(database: Database, scanning: Scanning) -> AttestTools:
    return AttestTools(
        is_enabled=True,
        identity=Identity(
            base_url="https://relay.example", http_key=KEYS[0], signing_key=KEYS[1], secret=bytes(32)
        ),
        database=database,
        scanning=scanning,
        profile="image-1",
        life=LIFE,
        withheld_permille=0,
    )


def _of(
    tools: AttestTools, given: Report | None = None, *, basis: EvidenceBasis = EvidenceBasis.SCAN
) -> Evidence:
    return replace(evidence(given, basis=basis), state_digest=tools.scanning.state_digest)


def _released(*pieces: Evidence) -> Decision:
    return decision(DeliveryDecision.FORWARD, *(outcome(piece) for piece in pieces))


async def _find(tools: AttestTools) -> attestations.StoredAttestation | None:
    async with tools.database.connection() as conn:
        return await attestations.find_newest(conn, SHA256, tools.identity.profile("image-1"))


@pytest.mark.parametrize("basis", [EvidenceBasis.SCAN, EvidenceBasis.OWN_VERDICT])
async def test_what_our_own_scan_did_not_find_is_signed_and_stored(
    basis: EvidenceBasis, tools: AttestTools
) -> None:
    assert await attest(_released(_of(tools, basis=basis)), tools=tools, now=START) == 1

    stored = await _find(tools)
    assert stored is not None
    signed = parse_attestation(stored.object)
    key = IssuerKey(actor=tools.identity.actor, key_id=tools.identity.verification_method, key=KEYS[1].public)
    verify_attestation(signed, issuer_key=key, now=START + timedelta(hours=1))
    assert (stored.published, stored.end_time) == (START, START + LIFE)
    assert (stored.sha256, stored.state_digest) == (SHA256, tools.scanning.state_digest)
    assert not stored.is_withheld_share


_ESSENTIALS = MediaFacts(size=5, media_type=MediaType.PNG)
_UNFIT = {
    "a match": report(Verdict.MATCH, findings=(finding(),)),
    "an advisory finding": report(findings=(finding(advisory=True),)),
    "unscannable": report(Verdict.UNSCANNABLE, reason=UnscannableReason.CORRUPT),
    "a failed detector": report(outcome=RunOutcome.FAILED),
    "a sample of its frames": report(facts=replace(_ESSENTIALS, coverage=Coverage.SAMPLED)),
    "its beginning": report(facts=replace(_ESSENTIALS, coverage=Coverage.PREFIX)),
    "sound, which shows nothing": report(
        facts=MediaFacts(size=5, media_type=MediaType.MP3, coverage=Coverage.NOT_VISUAL)
    ),
    "no known type": report(facts=replace(_ESSENTIALS, media_type=None)),
}


@pytest.mark.parametrize("name", _UNFIT)
async def test_nothing_is_signed_about(name: str, tools: AttestTools) -> None:
    assert await attest(_released(_of(tools, _UNFIT[name])), tools=tools, now=START) == 0
    assert await _find(tools) is None


async def test_of_a_video_it_is_said_that_it_was_sampled(tools: AttestTools) -> None:
    facts = MediaFacts(size=5, media_type=MediaType.MP4, coverage=Coverage.SAMPLED)
    assert await attest(_released(_of(tools, report(facts=facts))), tools=tools, now=START) == 1
    stored = await _find(tools)
    assert stored is not None
    body = parse_attestation(stored.object).body
    assert (body.media_type, body.coverage) == ("video/mp4", SignedCoverage.SAMPLED)


@pytest.mark.parametrize(
    "basis", [EvidenceBasis.RULING, EvidenceBasis.FETCH, EvidenceBasis.NOT_MEDIA], ids=str
)
async def test_nobody_elses_word_is_signed(basis: EvidenceBasis, tools: AttestTools) -> None:
    assert await attest(_released(_of(tools, basis=basis)), tools=tools, now=START) == 0


async def test_what_was_not_released_is_not_signed(tools: AttestTools) -> None:
    held = decision(DeliveryDecision.HOLD, outcome(_of(tools), MediaDecision.WITHHOLD))

    assert await attest(held, tools=tools, now=START) == 0


async def test_a_scan_by_older_lists_is_not_signed_in_the_name_of_newer_ones(tools: AttestTools) -> None:
    older = replace(_of(tools), state_digest=bytes(32))

    assert await attest(_released(older), tools=tools, now=START) == 0
    assert await attest(_released(replace(older, state_digest=None)), tools=tools, now=START) == 0


async def test_an_admin_who_wants_none_gets_none(tools: AttestTools) -> None:
    silent = replace(tools, is_enabled=False)

    assert await attest(_released(_of(silent)), tools=silent, now=START) == 0


async def test_the_same_bytes_are_signed_once_while_it_lasts_and_anew_afterwards(tools: AttestTools) -> None:
    twice = _released(_of(tools), _of(tools))

    assert await attest(twice, tools=tools, now=START) == 1
    assert await attest(twice, tools=tools, now=START + LIFE - timedelta(seconds=1)) == 0
    assert await attest(twice, tools=tools, now=START + LIFE) == 1


async def test_two_attestations_share_neither_name_nor_salt(tools: AttestTools) -> None:
    """Equal salts would tell which attestations speak of the same bytes."""
    await attest(_released(_of(tools)), tools=tools, now=START)
    first = await _find(tools)
    await attest(_released(_of(tools)), tools=tools, now=START + LIFE)
    second = await _find(tools)

    assert first is not None
    assert second is not None
    assert first.id != second.id
    assert parse_attestation(first.object).body.salt != parse_attestation(second.object).body.salt


async def test_a_share_is_kept_back_and_marked(tools: AttestTools) -> None:
    none_leaves = replace(tools, withheld_permille=1000)

    assert await attest(_released(_of(tools)), tools=none_leaves, now=START) == 1
    stored = await _find(tools)
    assert stored is not None
    assert stored.is_withheld_share


async def test_which_share_is_decided_by_the_day_and_the_secret(tools: AttestTools) -> None:
    tenth = replace(tools, withheld_permille=100)
    digests = [bytes([number // 256, number % 256]) * 16 for number in range(3000)]

    def share(secret: bytes, days: int, hours: int = 0) -> set[bytes]:
        now = START.replace(hour=0) + timedelta(days=days, hours=hours)
        return {one for one in digests if is_withheld(one, secret=secret, now=now, tools=tenth)}

    today = share(bytes(32), 0)
    assert 200 < len(today) < 400
    assert share(bytes(32), 0, hours=23) == today
    assert share(bytes(32), 1) != today
    assert share(bytes(31) + b"\1", 0) != today


async def _read_feed(tools: AttestTools) -> list[bytes]:
    async with tools.database.connection() as conn:
        items = await feed.read(conn, cursor=0, peer="https://peer.example/actor", visible_at=None, limit=9)
    return [item.object for item in items]


async def test_what_is_issued_is_published_once_as_it_was_signed(tools: AttestTools) -> None:
    for _ in range(2):
        await attest(_released(_of(tools)), tools=tools, now=START)

    stored = await _find(tools)
    assert stored is not None
    assert await _read_feed(tools) == [stored.object]


async def test_what_is_of_the_withheld_share_never_gets_into_the_feed(tools: AttestTools) -> None:
    tools = replace(tools, withheld_permille=1_000)
    await attest(_released(_of(tools)), tools=tools, now=START)

    stored = await _find(tools)
    assert stored is not None
    assert stored.is_withheld_share
    assert await _read_feed(tools) == []


def _scored() -> Report:
    whole = report()
    model = DetectorRun(
        name="model", version="1", essential=False, outcome=RunOutcome.RAN, scores=(("drawn", 412),)
    )
    return replace(whole, detectors=(*whole.detectors, model))


async def _find_opening(tools: AttestTools) -> tuple[bytes | None, bytes | None]:
    """Find what is committed to, and what that can be opened with."""
    stored = await _find(tools)
    assert stored is not None
    digest = parse_attestation(stored.object).body.scan_commitment
    if digest is None:
        return None, None
    async with tools.database.connection() as conn:
        return digest, await commitments.find_opening(conn, digest)


async def test_scores_are_committed_to_and_kept_for_whoever_audits(tools: AttestTools) -> None:
    await attest(_released(_of(tools, _scored())), tools=tools, now=START)

    digest, opening = await _find_opening(tools)
    assert opening is not None
    assert hashlib.sha256(opening).digest() == digest
    document = json.loads(opening)
    assert document["scores"] == {"model": 412}
    assert len(decode_base64url(document["salt2"], size=SALT2_SIZE)) == SALT2_SIZE


async def test_a_scan_without_scores_is_attested_without_a_commitment(tools: AttestTools) -> None:
    await attest(_released(_of(tools)), tools=tools, now=START)

    assert await _find_opening(tools) == (None, None)


async def test_what_is_never_given_out_can_never_be_opened(tools: AttestTools) -> None:
    tools = replace(tools, withheld_permille=1_000)
    await attest(_released(_of(tools, _scored())), tools=tools, now=START)

    digest, opening = await _find_opening(tools)
    assert digest is not None
    assert opening is None


def test_what_an_allow_list_of_ours_set_aside_is_not_told_to_others_as_a_scan() -> None:
    whole = report()
    assert is_attestable(evidence(whole))
    overruled = tuple(replace(run, outcome=RunOutcome.OVERRULED) for run in whole.detectors)
    assert overruled
    assert not is_attestable(evidence(replace(whole, detectors=overruled)))
