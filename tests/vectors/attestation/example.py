"""One attestation, every step of its making and checking written out: the example that the FEP prints."""

from __future__ import annotations

import base64
import hashlib

import rfc8785

from tests.vectors.attestation.kit import (
    ACTOR,
    ALERT,
    API,
    ATTESTATION,
    CONTEXT,
    DOUBT,
    ISSUER,
    ISSUER_API,
    KEY_ID,
    MEDIA,
    NOW,
    PAIR_KEY,
    REVOCATION,
    SCORES,
    STATE,
    Json,
    hash_data,
    multihash,
    multikey,
    proof_options,
    seed_of,
    sign,
)


def make_example() -> Json:
    signed = sign(ATTESTATION)
    options = proof_options(ATTESTATION)
    canonical = rfc8785.dumps(signed)
    both = hash_data(ATTESTATION, options)
    digest = hashlib.sha256(MEDIA).digest()
    return {
        "now": NOW,
        "issuerSeedHex": seed_of("issuer").hex(),
        "issuerKeyId": KEY_ID,
        "issuerMultikey": multikey(ISSUER),
        "actor": _make_actor(),
        "mediaBase64": _text(MEDIA),
        "mediaSha256Hex": digest.hex(),
        "mediaDigestMultibase": multihash(MEDIA),
        "unsecuredDocumentCanonical": rfc8785.dumps(ATTESTATION).decode(),
        "unsecuredDocumentSha256Hex": both[32:].hex(),
        "proofOptionsCanonical": rfc8785.dumps(options).decode(),
        "proofOptionsSha256Hex": both[:32].hex(),
        "signatureHex": ISSUER.sign(both).hex(),
        "attestation": canonical.decode(),
        "headers": {
            "Repr-Digest": f"sha-256=:{_text(digest)}:",
            "Media-Scan-Attestation": f":{_text(canonical)}:",
        },
        "note": _make_note(signed),
        "revocation": rfc8785.dumps(sign(REVOCATION)).decode(),
        "pairKeyHex": PAIR_KEY.hex(),
        "alert": rfc8785.dumps(sign(ALERT)).decode(),
        "doubt": rfc8785.dumps(sign(DOUBT)).decode(),
        "stateCanonical": rfc8785.dumps(STATE).decode(),
        "stateDigestMultibase": multihash(rfc8785.dumps(STATE)),
        "scoresCanonical": rfc8785.dumps(SCORES).decode(),
        "scanCommitment": multihash(rfc8785.dumps(SCORES)),
    }


def _make_actor() -> Json:
    """The issuer's actor, with what this FEP needs of it."""
    return {
        "@context": [
            CONTEXT[0],
            "https://www.w3.org/ns/did/v1",
            "https://w3id.org/security/multikey/v1",
            CONTEXT[2],
            {"generator": "as:generator", "implements": "https://w3id.org/fep/844e/implements"},
        ],
        "id": ACTOR,
        "type": "Application",
        "inbox": f"{ACTOR}/inbox",
        "outbox": f"{ACTOR}/outbox",
        "endpoints": {"mediaScanApi": API},
        "generator": {
            "type": "Application",
            "implements": [{"href": CONTEXT[2], "name": "FEP-f06a: Media Scan Attestations"}],
        },
        "assertionMethod": [_make_multikey(multikey(ISSUER))],
        "authentication": [_make_multikey(multikey(ISSUER_API))],
    }


def _make_multikey(key: str) -> Json:
    return {"id": f"{ACTOR}#{key}", "type": "Multikey", "controller": ACTOR, "publicKeyMultibase": key}


def _make_note(signed: Json) -> Json:
    """A post whose attachment carries the attestation with it, as one that signs its posts would send it."""
    return {
        "@context": [CONTEXT[0], CONTEXT[2]],
        "id": "https://a.example/notes/1",
        "type": "Note",
        "attributedTo": "https://a.example/users/alice",
        "to": "https://www.w3.org/ns/activitystreams#Public",
        "content": "A grey pixel",
        "attachment": [
            {
                "type": "Image",
                "mediaType": "image/gif",
                "url": "https://a.example/media/1.gif",
                "scanAttestation": signed,
            }
        ],
    }


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
