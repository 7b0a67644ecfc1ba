"""What the attestation vectors are made with: keys of printed seeds, a signer, an object of each type.

Everything here uses `cryptography`, `rfc8785` and `base58` alone, so that the package under test is held
against another reading of the same text.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import json
from typing import Any, Final

import base58
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ACTOR: Final = "https://relay.a.example/actor"
API: Final = "https://relay.a.example/api/v1"
PEER: Final = "https://relay.b.example/actor"
NOW: Final = "2026-11-22T03:00:00Z"
CONTEXT: Final = [
    "https://www.w3.org/ns/activitystreams",
    "https://w3id.org/security/data-integrity/v2",
    "https://w3id.org/fep/f06a",
]
# A GIF of one grey pixel: the media that the attestation below is about.
MEDIA: Final = base64.b64decode("R0lGODlhAQABAIAAAICAgAAAACwAAAAAAQABAAACAkQBADs=")

Json = dict[str, Any]


def make_key(name: str) -> Ed25519PrivateKey:
    """Make a test key. Its seed is printed here, so whoever reads this has the key: admission refuses it."""
    return Ed25519PrivateKey.from_private_bytes(seed_of(name))


def seed_of(name: str) -> bytes:
    return hashlib.sha256(f"breakwater test vectors: {name}".encode()).digest()


def multikey(key: Ed25519PrivateKey) -> str:
    return multikey_of(key.public_key().public_bytes_raw())


def multikey_of(raw: bytes) -> str:
    return multibase(b"\xed\x01" + raw)


def multibase(data: bytes) -> str:
    return "z" + base58.b58encode(data).decode()


def multibase64url(data: bytes) -> str:
    return "u" + base64.urlsafe_b64encode(data).decode().rstrip("=")


def multihash(data: bytes) -> str:
    return multibase(b"\x12\x20" + hashlib.sha256(data).digest())


ISSUER: Final = make_key("issuer")
OTHER: Final = make_key("second issuer")
# What signs requests and answers of the peer API: of the issuer, and of the relay that asks it.
ISSUER_API: Final = make_key("issuer's api")
PEER_API: Final = make_key("peer's api")
KEY_ID: Final = f"{ACTOR}#{multikey(ISSUER)}"
ISSUER_API_ID: Final = f"{ACTOR}#{multikey(ISSUER_API)}"
PEER_API_ID: Final = f"{PEER}#{multikey(PEER_API)}"

# A scanner's state and the scores of a scan: salted, integers only, digested in their canonical form.
STATE: Final[Json] = {
    "salt": "uEBESExQVFhcYGRobHB0eHw",
    "decoder": "example-decoder 4.2",
    "lists": [{"name": "example list", "version": "2026-11-22", "maxDistance": 31}],
}
SCORES: Final[Json] = {"salt2": "uICEiIyQlJicoKSorLC0uLw", "scores": {"adult-content": 12, "malware": 0}}

ATTESTATION: Final[Json] = {
    "@context": CONTEXT,
    "id": "https://relay.a.example/attestations/01KAN3ZK8W6V2J7S4Q0XTR9M5B",
    "type": "MediaScanAttestation",
    "attributedTo": ACTOR,
    "to": f"{ACTOR}/peers",
    "published": "2026-11-22T02:30:00Z",
    "endTime": "2026-11-29T02:30:00Z",
    "salt": "uAAECAwQFBgcICQoLDA0ODw",
    "media": {"digestMultibase": multihash(MEDIA), "size": len(MEDIA), "mediaType": "image/gif"},
    "verdict": "no-match",
    "basis": "scan",
    "coverage": "full",
    "profile": "https://relay.a.example/profiles/image-2",
    "state": {"asOf": "2026-11-22T00:00:00Z", "digestMultibase": multihash(rfc8785.dumps(STATE))},
}
REVOCATION: Final[Json] = {
    "@context": CONTEXT,
    "id": "https://relay.a.example/revocations/01KAN40000000000000000000",
    "type": "MediaScanRevocation",
    "attributedTo": ACTOR,
    "to": f"{ACTOR}/peers",
    "published": "2026-11-22T02:45:00Z",
    "scope": "state",
    "object": ATTESTATION["state"]["digestMultibase"],
    "action": "rescan",
}
# The key of a pair of relays, which their admins exchange; alerts between them are sealed with it.
PAIR_KEY: Final = seed_of("key of a pair")
ALERT: Final[Json] = {
    "@context": CONTEXT,
    "id": "https://relay.a.example/alerts/01KAN45000000000000000000",
    "type": "MediaScanAlert",
    "attributedTo": ACTOR,
    "to": PEER,
    "published": "2026-11-22T02:50:00Z",
    "mac": multibase64url(hmac.digest(PAIR_KEY, hashlib.sha256(MEDIA).digest(), "sha256")),
    "category": "spam",
}
DOUBT: Final[Json] = {
    "@context": CONTEXT,
    "id": "https://relay.a.example/doubts/01KAN46000000000000000000",
    "type": "MediaScanDoubt",
    "attributedTo": ACTOR,
    "to": f"{ACTOR}/peers",
    "published": "2026-11-22T02:55:00Z",
    "object": "https://relay.c.example/actor",
    "profile": "https://relay.c.example/profiles/image-1",
    "key": f"https://relay.c.example/actor#{multikey(OTHER)}",
}


def sign(document: Json, *, key: Ed25519PrivateKey = ISSUER, **options: Any) -> Json:
    """Add a proof, as W3C vc-di-eddsa describes eddsa-jcs-2022; `options` change it before it is signed."""
    proof = proof_options(document, **options)
    signature = key.sign(hash_data(document, proof))
    return {**document, "proof": {**proof, "proofValue": multibase(signature)}}


def proof_options(document: Json, **options: Any) -> Json:
    proof = {
        "@context": document["@context"],
        "type": "DataIntegrityProof",
        "cryptosuite": "eddsa-jcs-2022",
        "created": document.get("published"),
        "verificationMethod": KEY_ID,
        "proofPurpose": "assertionMethod",
        **options,
    }
    return {name: value for name, value in proof.items() if value is not None}


def hash_data(document: Json, proof: Json) -> bytes:
    """The 64 bytes that are signed: the digest of the proof's options, then that of the document."""
    unsecured = {**document, "@context": proof.get("@context", document["@context"])}
    return hashlib.sha256(rfc8785.dumps(proof)).digest() + hashlib.sha256(rfc8785.dumps(unsecured)).digest()


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


def case(
    name: str, document: Json | str | bytes, expected: str, bug: str = "", *, step: int = 0, **setting: Any
) -> Json:
    """Describe one vector: what is received, with which keys and when, and how it ends at which step."""
    key = {"actor": ACTOR, "id": KEY_ID, "multikey": multikey(ISSUER), **setting.pop("key", {})}
    result: Json = {"name": name}
    if bug:
        result["bug"] = bug
    result["expected"] = expected
    if step:
        result["step"] = step
    result |= {"now": NOW, "key": key, **setting}
    if isinstance(document, bytes):
        return {**result, "rawBase64": base64.b64encode(document).decode()}
    raw = document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)
    return {**result, "raw": raw}
