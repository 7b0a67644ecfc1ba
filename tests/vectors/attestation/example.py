"""One attestation, every step of its making and checking written out: the example that the FEP prints."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Final

import rfc8785

from tests.vectors.attestation.kit import (
    ATTESTATION,
    CONTEXT,
    ISSUER,
    KEY_ID,
    MEDIA,
    NOW,
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

PAIR_KEY: Final = hashlib.sha256(b"breakwater test vectors: key of a pair").digest()


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
        "stateCanonical": rfc8785.dumps(STATE).decode(),
        "stateDigestMultibase": multihash(rfc8785.dumps(STATE)),
        "scoresCanonical": rfc8785.dumps(SCORES).decode(),
        "scanCommitment": multihash(rfc8785.dumps(SCORES)),
    }


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


if __name__ == "__main__":
    print(json.dumps(make_example(), indent=1))
