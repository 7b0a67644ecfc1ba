"""What the FEP prints is what the vectors hold, and what it names is what is enforced."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from relay.exchange import client, prefixes
from relay.exchange.actors import DiscoveryFailure, DiscoveryReason, PeerFacts, read_peer
from relay.exchange.lookups import Buckets, Digests, parse_question
from relay.tools.documents import Document
from relay.tools.identity import API_TERM, CAPABILITY
from signatures import admission
from signatures.alert import ALERT_TYPE
from signatures.attestation import ATTESTATION_TYPE, CONTEXT, Coverage
from signatures.attestation_verify import MAX_LIFE
from signatures.doubt import DOUBT_TYPE
from signatures.errors import Reason
from signatures.fields import ATTESTATION_HEADER, MAX_FIELD_CHARS
from signatures.http import FASP_FRESHNESS
from signatures.message import ResponseMessage
from signatures.objects import MAX_AHEAD, MAX_OBJECT_BYTES, MAX_OBJECT_DEPTH
from signatures.origins import MAX_URL_CHARS
from signatures.revocation import REVOCATION_TYPE, Scope
from tests.vectors.attestation.make import make_files
from tests.vectors.attestation.printed import FEP, count_examples, print_examples
from tests.vectors.attestation.reading import read_cases, read_example

TEXT: Final = FEP.read_text(encoding="utf-8")
_CONTEXT_FILE: Final = FEP.with_name("context-f06a.jsonld")
# What the two contexts before ours define of the members that the objects have.
_DEFINED_ELSEWHERE: Final = {
    "@context", "id", "type", "attributedTo", "to", "published", "endTime", "mediaType", "object", "proof",
}  # fmt: skip


def test_every_example_is_the_one_of_the_vectors() -> None:
    assert count_examples(TEXT) >= 20
    assert print_examples(TEXT, make_files()) == TEXT


def test_its_name_is_that_of_its_title() -> None:
    [title] = re.findall(r"^# FEP-[0-9a-f]{4}: (.*)$", TEXT, re.MULTILINE)
    slug = hashlib.sha256(title.encode()).hexdigest()[:4]
    assert f'slug: "{slug}"' in TEXT
    assert f"https://w3id.org/fep/{slug}" == CONTEXT[-1] == CAPABILITY


def test_it_has_every_section_that_a_fep_and_its_readers_need() -> None:
    sections = re.findall(r"^## (.*)$", TEXT, re.MULTILINE)
    assert [sections[0], sections[-1]] == ["Summary", "Copyright"]
    assert set(sections) >= {
        "Motivation", "Prior art", "Requirements", "The objects", "Proof", "Verification", "Life of keys",
        "Exchange", "Peers", "The peer API", "Alerts", "Doubts", "Trust", "Privacy considerations",
        "Security considerations", "Test vectors", "Implementations", "References",
    }  # fmt: skip


@pytest.mark.parametrize(
    "phrase",
    [
        f"at most {MAX_OBJECT_BYTES:,} octets",
        f"at most {MAX_OBJECT_DEPTH} levels",
        f"at most {MAX_URL_CHARS:,} characters",
        f"at most {MAX_LIFE.days} days",
        f"at most {MAX_AHEAD.seconds // 60} minutes ahead",
        f"longer than {MAX_FIELD_CHARS:,} characters",
        f"at most {FASP_FRESHNESS.max_age.seconds // 60} minutes from the recipient's clock",
        f"1 to {client.MAX_DIGESTS} digests",
        f"1 to {prefixes.MAX_PREFIXES} prefixes",
        "to " + ", ".join(map(str, prefixes.PADDED_TO[:-1])) + f" or {prefixes.PADDED_TO[-1]}",
        f"at most {prefixes.MAX_BITS}",
        f"holds about {prefixes.BUCKET_SIZE}",
        f"at most {client.MAX_PAGE}, in the order",
        f"`wait`, 0 to {client.MAX_WAIT_S},",
        f"`{ATTESTATION_HEADER}`",
        f"`endpoints.{API_TERM}`",
        *(f"`{scope.value}`" for scope in Scope),
        *(f"`{coverage.value}`" for coverage in Coverage),
        *(f"`{kind}`" for kind in (ATTESTATION_TYPE, REVOCATION_TYPE, ALERT_TYPE, DOUBT_TYPE)),
    ],
)
def test_every_bound_and_word_that_is_enforced_stands_in_it(phrase: str) -> None:
    # Wherever a line ends.
    assert phrase in " ".join(TEXT.split())


def test_every_outcome_of_the_vectors_is_explained_at_its_step() -> None:
    _, _, verification = TEXT.partition("\n## Verification\n")
    steps = re.split(r"^(\d+)\. \*\*", verification.partition("\n## ")[0], flags=re.MULTILINE)
    by_step = dict(zip(map(int, steps[1::2]), steps[2::2], strict=True))
    assert sorted(by_step) == list(range(1, 13))
    cases = [
        case
        for folder in ("attestations", "revocations", "alerts", "doubts")
        for case in read_cases(f"{folder}/refused")
    ]
    outcomes = {(case["step"], case["expected"]) for case in cases}
    for step, outcome in sorted(outcomes):
        assert f"`{outcome}`" in by_step[step], (step, outcome)
    words = {"malformed", *(reason.value for reason in Reason)}
    told = {(step, word) for step, text in by_step.items() for word in re.findall(r"`([a-z_]+)`", text)}
    assert {(step, word) for step, word in told if word in words and step < 11} == outcomes


def _terms(context: dict[str, Any]) -> set[str]:
    """List every term that a context defines, those of its scoped contexts included."""
    found: set[str] = set()
    for name, definition in context.items():
        if isinstance(definition, dict):
            found |= {name} | _terms(definition.get("@context", {}))
    return found


def _members(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(_members, value))
    if not isinstance(value, dict):
        return set()
    return set(value).union(*(_members(one) for name, one in value.items() if name != "proof"))


def test_the_context_defines_every_member_and_type_and_nothing_else() -> None:
    context = json.loads(_CONTEXT_FILE.read_text(encoding="utf-8"))["@context"]
    example = read_example()
    names: set[str] = set()
    for kind in ("attestation", "revocation", "alert", "doubt"):
        document = json.loads(example[kind])
        names |= _members(document) | {document["type"]}
        assert set(document) - _DEFINED_ELSEWHERE <= _terms(context[document["type"]]["@context"])
    ours = names - _DEFINED_ELSEWHERE | {"scanCommitment", "scanAttestation", API_TERM}
    assert _terms(context) - {"object"} == ours


@pytest.mark.parametrize("target", re.findall(r"\]\(((?!https?:)[^)#]+)\)", TEXT))
def test_every_link_within_the_project_leads_somewhere(target: str) -> None:
    assert (Path(FEP).parent / target).exists()


def _read_actor() -> PeerFacts | DiscoveryFailure:
    actor = read_example()["actor"]
    return read_peer(Document(url=actor["id"], value=actor), asked=actor["id"], domain="a.example")


def test_the_actor_that_it_prints_is_found_to_be_a_relay_but_for_its_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = _read_actor()
    assert isinstance(refused, DiscoveryFailure)
    assert refused.reason is DiscoveryReason.BAD_KEY
    monkeypatch.setattr(admission, "PUBLISHED_KEYS", frozenset())
    facts, actor = _read_actor(), read_example()["actor"]
    assert isinstance(facts, PeerFacts), facts
    assert facts.api_url == actor["endpoints"][API_TERM]
    assert [key.key_id for key in facts.keys] == [read_example()["issuerKeyId"]]
    assert [key.multikey for key in facts.api_keys] == [actor["authentication"][0]["publicKeyMultibase"]]


def _body(name: str) -> str:
    [body] = [case["message"]["body"] for case in read_cases("messages/valid") if case["name"] == name]
    return str(body)


def test_the_questions_that_it_prints_are_understood_by_the_relay() -> None:
    sha256 = bytes.fromhex(read_example()["mediaSha256Hex"])
    assert parse_question(_body("a look-up").encode()) == Digests(sha256=(sha256,))
    buckets = parse_question(_body("a look-up by prefix").encode())
    assert isinstance(buckets, Buckets)
    assert len(buckets.prefixes) == prefixes.PADDED_TO[0]
    assert prefixes.cut_prefix(sha256, bits=buckets.bits) in buckets.prefixes


def test_the_page_that_the_vectors_hold_is_read_with_its_objects_as_they_were_signed() -> None:
    answer = ResponseMessage(status=200, headers=(), body=_body("a page of the feed").encode())
    page = client._read_page(answer, after=41)
    example = read_example()
    assert [item.object.decode() for item in page.items] == [example["attestation"], example["revocation"]]
    assert [item.seq for item in page.items] == [42, page.cursor]
