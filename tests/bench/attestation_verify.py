"""Parsing and verifying on one core: attestations, and the signed requests of the inbox door.

The peer is the bare Ed25519 (or RSA) verification of `cryptography` in the same run: whatever parsing,
canonicalizing and checking cost comes on top of it, and no implementation can be faster than that.
"""

from __future__ import annotations

import gc
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from signatures.algorithms import SignatureAlgorithm, sign_bytes, verify_bytes
from signatures.attestation import AttestationBody, Coverage, build_attestation, parse_attestation
from signatures.attestation_verify import verify_attestation
from signatures.http import Scheme, find_signature, sign_request, verify_request
from signatures.keys import PrivateKey, generate_ed25519, generate_rsa
from signatures.message import RequestMessage
from signatures.objects import IssuerKey
from signatures.revocation import RevocationBody, Scope, build_revocation_index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Source: the design asks for 5,000 attestations a second and 100 microseconds a cavage request on one core.
TARGET_ATTESTATIONS: Final = 5_000.0
TARGET_REQUESTS: Final = 10_000.0

_ACTOR: Final = "https://relay.a.example/actor"
_NOW: Final = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
_ITEMS: Final = 500
_ROUNDS: Final = 7


def _rate(function: Callable[[int], object]) -> float:
    """Return calls a second: the best of several rounds of processor time, since others share the machine."""
    best = float("inf")
    for _ in range(_ROUNDS):
        gc.collect()
        start = time.process_time()
        for index in range(_ITEMS):
            function(index)
        best = min(best, time.process_time() - start)
    return _ITEMS / best


def _bare_rate(key: PrivateKey, algorithm: SignatureAlgorithm) -> float:
    data = bytes(64)
    signature = sign_bytes(key, data)
    return _rate(lambda _: verify_bytes(key.public, algorithm, signature, data))


def _attestation_rate() -> tuple[float, float]:
    key = generate_ed25519()
    key_id = f"{_ACTOR}#{key.public.to_multikey()}"
    body = AttestationBody(
        id=f"{_ACTOR}/attestations/0",
        issuer=_ACTOR,
        audience=f"{_ACTOR}/peers",
        published=_NOW,
        end_time=_NOW + timedelta(days=7),
        salt=bytes(16),
        sha256=bytes(32),
        size=15_356,
        media_type="image/jpeg",
        coverage=Coverage.FULL,
        profile="https://relay.a.example/profiles/image-2",
        state_as_of=_NOW - timedelta(hours=3),
        state_sha256=bytes(range(32)),
    )
    # Every one differs, so that nothing can be remembered from the one before.
    items = [
        build_attestation(
            replace(
                body,
                id=f"https://relay.a.example/attestations/{number}",
                salt=number.to_bytes(16, "big"),
                sha256=bytes([number % 251]) + number.to_bytes(31, "little"),
                size=number + 1,
            ),
            key=key,
            verification_method=key_id,
        )
        for number in range(_ITEMS)
    ]
    issuer_key = IssuerKey(actor=_ACTOR, key_id=key_id, key=key.public)
    revocation = RevocationBody(
        id=f"{_ACTOR}/1",
        issuer=_ACTOR,
        audience=_ACTOR,
        published=_NOW,
        scope=Scope.ATTESTATION,
        object=f"{_ACTOR}/another",
    )
    revocations = build_revocation_index([revocation])

    def verify(index: int) -> None:
        attestation = parse_attestation(items[index])
        verify_attestation(attestation, issuer_key=issuer_key, now=_NOW, revocations=revocations)

    return _rate(verify), _bare_rate(key, SignatureAlgorithm.ED25519)


def _request_rate(scheme: Scheme) -> tuple[float, float]:
    key = generate_rsa()
    # About the size of a Create with one attachment.
    bodies = [b'{"n":%d,"padding":"%s"}' % (number, b"x" * 2_300) for number in range(_ITEMS)]
    messages = [
        sign_request(
            RequestMessage(
                method="POST",
                scheme="https",
                authority="relay.example",
                target="/inbox",
                headers=(("User-Agent", "bench"), ("Content-Type", "application/activity+json")),
                body=body,
            ),
            key=key,
            key_id="https://sender.example/users/alice#main-key",
            scheme=scheme,
            now=_NOW,
        )
        for body in bodies
    ]

    def verify(index: int) -> None:
        signature = find_signature(messages[index])
        if signature is None:
            raise AssertionError("the message was signed")
        verify_request(messages[index], signature, key=key.public, now=_NOW)

    return _rate(verify), _bare_rate(key, SignatureAlgorithm.RSA_V1_5_SHA256)


def _row(name: str, rates: tuple[float, float], target: float | None) -> dict[str, object]:
    value, peer_value = rates
    return {
        "name": name,
        "value": round(value),
        "unit": "1/s",
        "peer": "bare signature verification",
        "peer_value": round(peer_value),
        "ratio": round(value / peer_value, 3),
        "target": None if target is None else f">= {target:.0f}/s on one core",
        "holds": target is None or value >= target,
    }


def run() -> Iterator[dict[str, object]]:
    """Measure and yield one row for each claim."""
    yield _row("attestation_verify", _attestation_rate(), TARGET_ATTESTATIONS)
    yield _row("cavage_request_verify", _request_rate(Scheme.CAVAGE), TARGET_REQUESTS)
    # For comparison: the design sets no figure for the newer scheme, which few senders use yet.
    yield _row("rfc9421_request_verify", _request_rate(Scheme.RFC9421), None)


if __name__ == "__main__":
    for line in run():
        print(line)
