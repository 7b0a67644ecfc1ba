"""Attestations within activities: found with their media, wherever media may stand, and hiding nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from relay.stages.extract import extract
from tests.relay.stages import samples
from tests.signatures.test_attestation import build

if TYPE_CHECKING:
    from signatures.strictjson import JsonValue

URL = "https://files.example/a.png"
ATTESTATION = build()
OBJECT = json.loads(ATTESTATION)


def found(*attachments: dict[str, JsonValue]) -> list[tuple[str, bytes | None]]:
    activity = extract(samples.create({"attachment": list(attachments)}))
    return [(one.url, one.attestation) for one in activity.references]


@pytest.mark.parametrize(
    "name", ["scanAttestation", "f06a:scanAttestation", "https://w3id.org/fep/f06a#scanAttestation"]
)
def test_an_attachment_brings_its_attestation_along_under_any_of_its_names(name: str) -> None:
    attachment = {"type": "Document", "mediaType": "image/png", "url": URL, name: OBJECT}
    assert found(attachment) == [(URL, ATTESTATION)]


def test_an_attestation_names_no_media_itself() -> None:
    # Its id, its issuer, its policy and its key are addresses of documents, which nobody has to fetch.
    assert found({"type": "Document", "url": URL, "scanAttestation": OBJECT}) == [(URL, ATTESTATION)]


def test_what_hides_within_an_attestation_is_found_all_the_same() -> None:
    hidden = "https://files.example/hidden.png"
    held = {**OBJECT, "attachment": {"type": "Image", "url": hidden}}
    assert hidden in dict(found({"type": "Document", "url": URL, "scanAttestation": held}))


def test_the_links_of_a_picture_share_its_attestation() -> None:
    links = [{"type": "Link", "mediaType": "image/png", "href": URL}]
    assert found({"type": "Image", "url": links, "scanAttestation": OBJECT}) == [(URL, ATTESTATION)]


def test_each_attachment_has_its_own() -> None:
    other = "https://files.example/b.png"
    assert found(
        {"type": "Document", "url": URL, "scanAttestation": OBJECT},
        {"type": "Document", "url": other},
    ) == [(URL, ATTESTATION), (other, None)]


def test_a_second_mention_of_the_same_picture_may_bring_the_attestation() -> None:
    assert found(
        {"type": "Document", "url": URL}, {"type": "Document", "url": URL, "scanAttestation": OBJECT}
    ) == [(URL, ATTESTATION)]


@pytest.mark.parametrize("value", ["text", 7, {"type": "Note"}, [], {**OBJECT, "long": "x" * 9_000}])
def test_what_is_no_attestation_leaves_the_picture_as_it_was(value: JsonValue) -> None:
    assert found({"type": "Document", "url": URL, "scanAttestation": value}) == [(URL, None)]
