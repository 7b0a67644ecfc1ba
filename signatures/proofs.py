"""Data Integrity proofs on JSON documents: cryptosuite eddsa-jcs-2022, as FEP-8b32 uses it.

Source: W3C vc-di-eddsa section 3.3 (eddsa-jcs-2022), W3C vc-data-integrity section 4, FEP-8b32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from signatures.algorithms import SignatureAlgorithm, sign_bytes, verify_bytes
from signatures.encoding import decode_base58btc, encode_base58btc
from signatures.errors import MalformedError, Reason, VerificationError
from signatures.jcs import digest_of_document
from signatures.keys import KeyAlgorithm, PrivateKey, PublicKey
from signatures.times import format_json_time, parse_time_stamp

if TYPE_CHECKING:
    from datetime import datetime

    from signatures.strictjson import JsonObject, JsonValue

CRYPTOSUITE: Final = "eddsa-jcs-2022"
PROOF_TYPE: Final = "DataIntegrityProof"
PROOF_PURPOSE: Final = "assertionMethod"

ED25519_SIGNATURE_SIZE: Final = 64
# "z" and at most 88 base58 digits for 64 bytes.
MAX_PROOF_VALUE_CHARS: Final = 89


def add_proof(
    document: JsonObject, *, key: PrivateKey, verification_method: str, created: datetime
) -> JsonObject:
    """Return the document with a proof by this key.

    Raises:
        MalformedError: the document cannot be canonicalized.
        ValueError: the key is not Ed25519, or the document has a proof already.
    """
    if key.public.algorithm is not KeyAlgorithm.ED25519:
        raise ValueError("eddsa-jcs-2022 takes an Ed25519 key")
    if "proof" in document:
        raise ValueError("the document has a proof already")
    proof: JsonObject = {
        "type": PROOF_TYPE,
        "cryptosuite": CRYPTOSUITE,
        "created": format_json_time(created),
        "verificationMethod": verification_method,
        "proofPurpose": PROOF_PURPOSE,
    }
    if "@context" in document:
        proof["@context"] = document["@context"]
    signature = sign_bytes(key, build_hash_data(document, proof))
    return {**document, "proof": {**proof, "proofValue": encode_base58btc(signature)}}


def get_proof(document: JsonObject) -> JsonObject:
    """Return the one proof of a document after the checks that need no key.

    Raises:
        MalformedError: a member of the proof has the wrong type.
        VerificationError: there is not exactly one proof (wrong_proof), its type or suite (wrong_suite),
            purpose (wrong_purpose) or context (wrong_context) is not the one expected.
    """
    proof = document.get("proof")
    if not isinstance(proof, dict):
        raise VerificationError(Reason.WRONG_PROOF, "there is not exactly one proof")
    if proof.get("type") != PROOF_TYPE or proof.get("cryptosuite") != CRYPTOSUITE:
        raise VerificationError(Reason.WRONG_SUITE, f"not a {PROOF_TYPE} of {CRYPTOSUITE}")
    if proof.get("proofPurpose") != PROOF_PURPOSE:
        raise VerificationError(Reason.WRONG_PURPOSE, f"not for {PROOF_PURPOSE}")
    _require_context_prefix(document, proof)
    if not isinstance(proof.get("verificationMethod"), str):
        raise MalformedError("a proof without verificationMethod")
    return proof


def _require_context_prefix(document: JsonObject, proof: JsonObject) -> None:
    # vc-di-eddsa section 3.3.2: the document's @context starts with all values of the proof's, in the
    # same order, or the proof is not verified. A proof without a context on a document with one is the
    # form of 2023, whose options were hashed without it.
    if ("@context" in document) != ("@context" in proof):
        raise VerificationError(Reason.WRONG_CONTEXT, "only one of document and proof has a context")
    ours, theirs = (_as_list(part.get("@context")) for part in (proof, document))
    if ours != theirs[: len(ours)]:
        raise VerificationError(Reason.WRONG_CONTEXT, "the proof's context does not start the document's")


def _as_list(context: JsonValue) -> list[JsonValue]:
    return context if isinstance(context, list) else [context]


def build_hash_data(document: JsonObject, proof: JsonObject) -> bytes:
    """Return the 64 bytes that are signed: the hashes of the proof options and of the document.

    Raises:
        MalformedError: one of them cannot be canonicalized.
    """
    options = {name: value for name, value in proof.items() if name != "proofValue"}
    unsecured = {name: value for name, value in document.items() if name != "proof"}
    if "@context" in proof:
        # vc-di-eddsa section 3.3.2: what was signed is the document with the proof's @context.
        unsecured["@context"] = proof["@context"]
    return digest_of_document(options) + digest_of_document(unsecured)


def parse_proof_value(proof: JsonObject) -> bytes:
    """Return the 64 bytes of a proof's signature.

    Raises:
        MalformedError: there are not 64 of them in base58btc.
    """
    text = proof.get("proofValue")
    if not isinstance(text, str):
        raise MalformedError("a proof without proofValue")
    signature = decode_base58btc(text, max_chars=MAX_PROOF_VALUE_CHARS)
    if len(signature) != ED25519_SIGNATURE_SIZE:
        raise MalformedError("a proofValue that is not 64 bytes")
    return signature


def verify_proof(document: JsonObject, *, key: PublicKey, now: datetime | None = None) -> None:
    """Verify the one proof of a document under a key.

    The caller owes: the document came from `strictjson`; `verificationMethod` names this key, the key
    was admitted, and its controller may speak for the document (FEP-fe34); how old `created` may be.

    Raises:
        MalformedError: a member of the proof is malformed.
        VerificationError: as `get_proof`; the proof has run out, or has an end and no time was given
            (expired); the key is not Ed25519 (wrong_key); the signature is not its own (bad_signature).
    """
    # 1. Exactly one proof, of our suite, for our purpose, in the document's context.
    proof = get_proof(document)
    # 2. Its own times, which vc-data-integrity 2.1 spells as dateTimeStamps: implementations write fractions
    #    of seconds. `expires` is optional, and obeyed where it stands (vc-data-integrity 4.3).
    if "created" in proof:
        parse_time_stamp(proof["created"])
    if "expires" in proof:
        expires = parse_time_stamp(proof["expires"])
        if now is None or now >= expires:
            raise VerificationError(Reason.EXPIRED, "the proof has run out")
    # 3. The signature, last because it costs most.
    signature = parse_proof_value(proof)
    verify_bytes(key, SignatureAlgorithm.ED25519, signature, build_hash_data(document, proof))
