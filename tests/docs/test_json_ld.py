"""To a JSON-LD processor the objects say what the FEP says: nothing is lost, and nothing is added.

No part of the relay expands anything; others' software does. The contexts are those that the processor brings
along; that of Data Integrity it has inside of another. Copies of that one differ in whether they define
`digestMultibase`, so that ours does, and has to hold with both.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest
from pyld import jsonld
from pyld.documentloader.frozen import BUNDLED_CONTEXTS, FrozenDocumentLoader

from signatures.attestation import CONTEXT
from tests.vectors.attestation.printed import FEP
from tests.vectors.attestation.reading import FOLDER, read_example

if TYPE_CHECKING:
    from collections.abc import Iterator

_AS: Final = "https://www.w3.org/ns/activitystreams#"
_SEC: Final = "https://w3id.org/security#"
_OURS: Final = "https://w3id.org/fep/f06a#"
_DC: Final = "http://purl.org/dc/terms/"
_CREDENTIALS: Final = "https://www.w3.org/ns/credentials/v2"
_TERMS: Final = {
    "attributedTo": _AS, "to": _AS, "published": _AS, "endTime": _AS, "mediaType": _AS, "object": _AS,
    "attachment": _AS, "content": _AS, "url": _AS,
    "proof": _SEC, "digestMultibase": _SEC, "cryptosuite": _SEC, "verificationMethod": _SEC,
    "proofPurpose": _SEC, "proofValue": _SEC, "created": _DC,
    "salt": _OURS, "media": _OURS, "size": _OURS, "verdict": _OURS, "basis": _OURS, "coverage": _OURS,
    "profile": _OURS, "state": _OURS, "asOf": _OURS, "scanCommitment": _OURS, "scope": _OURS, "action": _OURS,
    "mac": _OURS, "category": _OURS, "key": _OURS, "scanAttestation": _OURS,
}  # fmt: skip
"""Where each member's meaning is defined, as the FEP says."""


_DIGEST: Final = "digestMultibase"
_INTEGRITIES: Final = (("DataIntegrityProof",), ("DataIntegrityProof", _DIGEST))
"""What the context of Data Integrity defines beside `proof`, in either copy."""


def _read_contexts(defined: tuple[str, ...]) -> dict[str, Any]:
    credentials = json.loads(BUNDLED_CONTEXTS[_CREDENTIALS].read_text(encoding="utf-8"))["@context"]
    integrity = {
        "id": "@id",
        "type": "@type",
        "@protected": True,
        "proof": {"@id": f"{_SEC}proof", "@type": "@id", "@container": "@graph"},
        **{name: credentials[name] for name in defined},
    }
    ours = json.loads(FEP.with_name("context-f06a.jsonld").read_text(encoding="utf-8"))
    activity_streams = BUNDLED_CONTEXTS[CONTEXT[0]]
    return {CONTEXT[0]: activity_streams, CONTEXT[1]: {"@context": integrity}, CONTEXT[2]: ours}


def _expand(document: Any, defined: tuple[str, ...]) -> Any:
    # Whatever else it were to load is refused: nothing here goes to the network.
    options = {"documentLoader": FrozenDocumentLoader(documents=_read_contexts(defined))}
    (expanded,) = jsonld.expand(document, options)
    return expanded


def _list_objects() -> Iterator[tuple[str, Any]]:
    example = read_example()
    yield "note", example["note"]
    for kind in ("attestation", "revocation", "alert", "doubt"):
        yield kind, json.loads(example[kind])
    # The rest of the vectors are as these, or have members that mean nothing to anybody on purpose.
    for name in (
        "attestations/valid/with-a-commitment",
        "attestations/valid/video-mp4-with-coverage-sampled",
    ):
        case = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        yield name, json.loads(case["raw"])


_OBJECTS: Final = dict(_list_objects())


def _count_members(document: Any) -> dict[str, int]:
    """Count how often each member stands anywhere, by what it means."""
    counts: dict[str, int] = {}
    pending = [document]
    while pending:
        one = pending.pop()
        if isinstance(one, list):
            pending += one
        elif isinstance(one, dict):
            for name, value in one.items():
                if name in {"@context", "id", "type"}:
                    continue
                meaning = f"{_TERMS[name]}{name}"
                counts[meaning] = counts.get(meaning, 0) + 1
                pending.append(value)
    return counts


def _count_meanings(expanded: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    pending = [expanded]
    while pending:
        one = pending.pop()
        if isinstance(one, list):
            pending += one
        elif isinstance(one, dict):
            for name, value in one.items():
                if not name.startswith("@"):
                    counts[name] = counts.get(name, 0) + 1
                pending.append(value)
    return counts


@pytest.mark.parametrize("defined", _INTEGRITIES)
@pytest.mark.parametrize("name", _OBJECTS)
def test_every_member_means_what_the_fep_says_and_none_is_lost_or_added(
    name: str, defined: tuple[str, ...]
) -> None:
    document = _OBJECTS[name]
    assert _count_meanings(_expand(document, defined)) == _count_members(document)


def test_a_member_that_no_context_defines_is_seen_to_be_lost() -> None:
    document = json.loads(read_example()["attestation"]) | {"content": "defined", "undefined": "lost"}
    counts = _count_meanings(_expand(document, _INTEGRITIES[0]))
    assert f"{_AS}content" in counts
    assert not any(name.startswith("http") and name.endswith("undefined") for name in counts)


@pytest.mark.parametrize("defined", _INTEGRITIES)
def test_values_keep_their_types(defined: tuple[str, ...]) -> None:
    attestation = json.loads(read_example()["attestation"])
    expanded = _expand(attestation, defined)
    assert expanded["@id"] == attestation["id"]
    assert expanded["@type"] == [f"{_OURS}MediaScanAttestation"]
    assert expanded[f"{_AS}attributedTo"] == [{"@id": attestation["attributedTo"]}]
    assert expanded[f"{_OURS}profile"] == [{"@id": attestation["profile"]}]
    (media,) = expanded[f"{_OURS}media"]
    assert media[f"{_OURS}size"] == [
        {"@type": "http://www.w3.org/2001/XMLSchema#integer", "@value": attestation["media"]["size"]}
    ]
    assert media[f"{_SEC}digestMultibase"] == [
        {"@type": f"{_SEC}multibase", "@value": attestation["media"]["digestMultibase"]}
    ]
    (graph,) = expanded[f"{_SEC}proof"]
    (proof,) = graph["@graph"]
    assert proof[f"{_SEC}proofPurpose"] == [{"@id": f"{_SEC}assertionMethod"}]
    assert proof[f"{_SEC}verificationMethod"] == [{"@id": attestation["proof"]["verificationMethod"]}]
