"""What the attestation vectors are made with: keys of printed seeds, a signer, an object of each type."""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any, Final

import base58
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ACTOR: Final = "https://relay.a.example/actor"
NOW: Final = "2026-11-22T03:00:00Z"
CONTEXT: Final = [
    "https://www.w3.org/ns/activitystreams",
    "https://w3id.org/security/data-integrity/v2",
    "https://w3id.org/fep/f06a",
]

Json = dict[str, Any]


def make_key(name: str) -> Ed25519PrivateKey:
    seed = hashlib.sha256(f"breakwater test vectors: {name}".encode()).digest()
    return Ed25519PrivateKey.from_private_bytes(seed)


def multikey(key: Ed25519PrivateKey) -> str:
    return multibase(b"\xed\x01" + key.public_key().public_bytes_raw())


def multibase(data: bytes) -> str:
    return "z" + base58.b58encode(data).decode()


def multihash(data: bytes) -> str:
    return multibase(b"\x12\x20" + hashlib.sha256(data).digest())


ISSUER: Final = make_key("issuer")
OTHER: Final = make_key("second issuer")
KEY_ID: Final = f"{ACTOR}#{multikey(ISSUER)}"

ATTESTATION: Final[Json] = {
    "@context": CONTEXT,
    "id": "https://relay.a.example/attestations/01KAN3ZK8W6V2J7S4Q0XTR9M5B",
    "type": "MediaScanAttestation",
    "attributedTo": ACTOR,
    "to": f"{ACTOR}/peers",
    "published": "2026-11-22T02:30:00Z",
    "endTime": "2026-11-29T02:30:00Z",
    "salt": "uAAECAwQFBgcICQoLDA0ODw",
    "media": {"digestMultibase": multihash(b"some bytes"), "size": 15_356, "mediaType": "image/jpeg"},
    "verdict": "no-match",
    "basis": "scan",
    "coverage": "full",
    "profile": "https://relay.a.example/profiles/image-2",
    "state": {"asOf": "2026-11-22T00:00:00Z", "digestMultibase": multihash(b"a state")},
}
REVOCATION: Final[Json] = {
    "@context": CONTEXT,
    "id": "https://relay.a.example/revocations/01KAN40000000000000000000",
    "type": "MediaScanRevocation",
    "attributedTo": ACTOR,
    "to": f"{ACTOR}/peers",
    "published": "2026-11-22T02:45:00Z",
    "scope": "state",
    "object": multihash(b"a state"),
    "action": "rescan",
}


def sign(document: Json, *, key: Ed25519PrivateKey = ISSUER, **options: Any) -> Json:
    """Add a proof, as W3C vc-di-eddsa describes eddsa-jcs-2022; `options` change it before it is signed."""
    proof = {
        "@context": document["@context"],
        "type": "DataIntegrityProof",
        "cryptosuite": "eddsa-jcs-2022",
        "created": document.get("published"),
        "verificationMethod": KEY_ID,
        "proofPurpose": "assertionMethod",
        **options,
    }
    proof = {name: value for name, value in proof.items() if value is not None}
    unsecured = {**document, "@context": proof.get("@context", document["@context"])}
    hashes = hashlib.sha256(rfc8785.dumps(proof)).digest() + hashlib.sha256(rfc8785.dumps(unsecured)).digest()
    return {**document, "proof": {**proof, "proofValue": multibase(key.sign(hashes))}}


def change(document: Json, **changes: Any) -> Json:
    """Change members, those of members by "media__size", None takes one away."""
    result = copy.deepcopy(document)
    for path, value in changes.items():
        *parents, name = path.split("__")
        place = result
        for parent in parents:
            place = place[parent]
        if value is None:
            del place[name]
        else:
            place[name] = value
    return result


def case(name: str, document: Json | str, expected: str, bug: str = "", **setting: Any) -> Json:
    raw = document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)
    key = {"actor": ACTOR, "id": KEY_ID, "multikey": multikey(ISSUER), **setting.pop("key", {})}
    result = {"name": name, "expected": expected, "now": NOW, "key": key, **setting, "raw": raw}
    return {**result, "bug": bug} if bug else result
