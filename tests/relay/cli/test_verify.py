from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from relay.tools.identity import Identity
from relay.tools.key_files import load_or_create_keys, rotate_signing_key
from signatures.attestation import AttestationBody, Coverage, build_attestation
from tests.relay.cli.commands import answer, breakwater

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 22, 2, 30, tzinfo=UTC)
AT = "2026-11-22T03:00:00Z"
MEDIA = b"the bytes that were scanned"


def own_identity(data_dir: Path, base_url: str = "http://127.0.0.1:8790/breakwater") -> Identity:
    keys = load_or_create_keys(data_dir)
    return Identity(
        base_url=base_url, http_key=keys.http_key, signing_key=keys.signing_key, secret=keys.secret
    )


def attest(identity: Identity) -> bytes:
    body = AttestationBody(
        id=f"{identity.base_url}/attestations/01KAN3ZK8W6V2J7S4Q0XTR9M5B",
        issuer=identity.actor,
        audience=identity.peers_collection,
        published=NOW,
        end_time=NOW + timedelta(days=7),
        salt=bytes(16),
        sha256=hashlib.sha256(MEDIA).digest(),
        size=len(MEDIA),
        media_type="image/png",
        coverage=Coverage.FULL,
        profile=identity.profile("image-1"),
        state_as_of=NOW,
        state_sha256=bytes(32),
    )
    return build_attestation(body, key=identity.signing_key, verification_method=identity.verification_method)


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return own_identity(tmp_path / "data")


@pytest.fixture
def attestation(tmp_path: Path, identity: Identity) -> Path:
    path = tmp_path / "attestation.json"
    path.write_bytes(attest(identity))
    return path


def outcomes(said: dict) -> dict[str, str]:
    return {step["name"]: step["outcome"] for step in said["steps"]}


def test_an_own_attestation_is_verified_with_the_own_keys(attestation: Path, tmp_path: Path) -> None:
    said = answer("verify", attestation, "--at", AT, data_dir=tmp_path / "data")
    assert said["verified"]
    assert said["attestation"]["size"] == len(MEDIA)
    assert set(outcomes(said).values()) == {"ok", "not checked"}
    text = breakwater("verify", attestation, "--at", AT, data_dir=tmp_path / "data").output
    assert "Verified." in text
    assert "safe" not in text
    assert "clean" not in text


def test_it_is_verified_with_nothing_but_the_issuers_actor(
    attestation: Path, identity: Identity, tmp_path: Path
) -> None:
    document = tmp_path / "actor.json"
    document.write_text(json.dumps(identity.build_actor()), encoding="utf-8")
    words = ("verify", attestation, "--actor-document", document, "--at", AT)
    assert answer(*words, data_dir=tmp_path / "other")["verified"]
    multikey = identity.signing_key.public.to_multikey()
    assert answer("verify", attestation, "--key", multikey, "--at", AT)["verified"]


def test_it_can_be_read_from_standard_input(attestation: Path, tmp_path: Path) -> None:
    result = breakwater(
        "verify", "-", "--at", AT, "--json", data_dir=tmp_path / "data", typed=attestation.read_bytes()
    )
    assert json.loads(result.stdout)["verified"]


def test_the_bytes_at_hand_are_compared(attestation: Path, tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.write_bytes(MEDIA)
    words = ("verify", attestation, "--at", AT, "--media", media)
    assert outcomes(answer(*words, data_dir=tmp_path / "data"))["media"] == "ok"
    media.write_bytes(MEDIA + b"!")
    other = answer(*words, data_dir=tmp_path / "data", status=1)
    assert not other["verified"]
    assert outcomes(other)["media"] == "failed"


@pytest.mark.parametrize(
    ("old", "new", "step"),
    [
        (b'"size":27', b'"size":28', "signature"),
        (b"MediaScanAttestation", b"MediaScanAttestatiom", "type"),
        (b"eddsa-jcs-2022", b"eddsa-rdfc-2022", "suite"),
        (b'"no-match"', b'"match"', "claim"),
        (b'"published"', b'"publishe"', "form"),
        (b"/breakwater/attestations/", b"9/breakwater/attestations/", "origin"),
    ],
)
def test_the_rule_that_does_not_hold_is_named(
    attestation: Path, tmp_path: Path, old: bytes, new: bytes, step: str
) -> None:
    data = attestation.read_bytes()
    assert old in data
    attestation.write_bytes(data.replace(old, new, 1))
    said = answer("verify", attestation, "--at", AT, data_dir=tmp_path / "data", status=1)
    assert outcomes(said)[step] == "failed"
    order = [one["outcome"] for one in said["steps"]]
    failed = order.index("failed")
    assert set(order[:failed]) <= {"ok"}
    assert set(order[failed + 1 :]) == {"not reached"}


def test_time_outside_its_life_is_named(attestation: Path, tmp_path: Path) -> None:
    for at in ("2026-11-29T02:30:00Z", "2026-11-22T02:24:59Z"):
        said = answer("verify", attestation, "--at", at, data_dir=tmp_path / "data", status=1)
        assert outcomes(said)["window"] == "failed"


def test_a_retired_key_still_verifies_until_it_ends(attestation: Path, tmp_path: Path) -> None:
    rotate_signing_key(tmp_path / "data", now=NOW)
    assert answer("verify", attestation, "--at", AT, data_dir=tmp_path / "data")["verified"]


def test_another_relays_attestation_is_not_taken_for_ones_own(tmp_path: Path) -> None:
    own_identity(tmp_path / "data")
    path = tmp_path / "foreign.json"
    path.write_bytes(attest(own_identity(tmp_path / "foreign")))
    said = answer("verify", path, "--at", AT, data_dir=tmp_path / "data", status=1)
    assert outcomes(said)["issuer"] == "failed"


def test_an_issuer_elsewhere_needs_tls(tmp_path: Path) -> None:
    identity = own_identity(tmp_path / "data", "http://relay.example")
    path = tmp_path / "plain.json"
    path.write_bytes(attest(identity))
    words = ("verify", path, "--at", AT, "--key", identity.signing_key.public.to_multikey())
    refused = answer(*words, status=1)
    assert not refused["verified"]
    assert answer(*words, "--allow-http")["verified"]


@pytest.mark.parametrize(
    ("name", "content"), [("actor.json", "[]"), ("actor.json", "{"), ("missing.json", None)]
)
def test_a_document_that_cannot_be_read_is_no_verdict(
    attestation: Path, tmp_path: Path, name: str, content: str | None
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    result = breakwater("verify", attestation, "--actor-document", tmp_path / name, "--at", AT)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")


def test_without_any_key_there_is_no_verdict(attestation: Path, tmp_path: Path) -> None:
    result = breakwater("verify", attestation, data_dir=tmp_path / "empty")
    assert result.exit_code == 2
    assert "--actor-document" in result.stderr
    assert breakwater("verify", attestation, "--key", "z6Mk").exit_code == 2
    assert breakwater("verify", tmp_path / "missing", data_dir=tmp_path / "data").exit_code == 2
