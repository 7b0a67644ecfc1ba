"""Which public keys may be stored and believed at all.

`cryptography` loads Ed25519 keys of small order, under which one constant signature verifies every
message, and RSA keys of any strength. Admission is the gate in front of the key store.
"""

from __future__ import annotations

import functools
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa

from signatures.edwards import find_point, has_small_order, is_in_prime_subgroup
from signatures.errors import Reason, VerificationError
from signatures.keys import KEY_CACHE_SIZE, KeyAlgorithm, PublicKey
from signatures.published_keys import PUBLISHED_KEYS

# Source: NIST SP 800-131A rev. 2: less than 2,048 bits is disallowed.
MIN_RSA_BITS: Final = 2_048
# A verification with 8,192 bits takes ten times as long as one with 2,048; nobody in the fediverse has more.
MAX_RSA_BITS: Final = 8_192
# Source: FIPS 186-5 section 5.1: 2**16 < e; above 2**32 an exponent only slows verification down.
MIN_RSA_EXPONENT: Final = 65_537
MAX_RSA_EXPONENT: Final = 2**32


def admit_key(key: PublicKey, *, allow_published_test_keys: bool = False) -> None:
    """Verify that a key may be stored and believed (about 1 ms for a new Ed25519 key, then cached).

    It does not say *whose* key this is: the caller owes that the owner names the key and the key its
    owner, on one origin (FEP-fe34).

    Raises:
        VerificationError: key_refused.
    """
    if not allow_published_test_keys and key.fingerprint in PUBLISHED_KEYS:
        raise VerificationError(Reason.KEY_REFUSED, "a published example key, which is everyone's")
    fault = _find_fault(key)
    if fault is not None:
        raise VerificationError(Reason.KEY_REFUSED, fault)


@functools.lru_cache(maxsize=KEY_CACHE_SIZE)
def _find_fault(key: PublicKey) -> str | None:
    match key.algorithm:
        case KeyAlgorithm.ED25519:
            return _find_ed25519_fault(key.to_raw())
        case KeyAlgorithm.RSA:
            return _find_rsa_fault(key)


def _find_ed25519_fault(raw: bytes) -> str | None:
    point = find_point(raw)
    if point is None:
        return "not the canonical encoding of a point on the curve"
    if has_small_order(point):
        return "a point of small order: one signature would verify every message"
    if not is_in_prime_subgroup(point):
        return "a point outside the prime-order subgroup: verifiers disagree about it"
    return None


def _find_rsa_fault(key: PublicKey) -> str | None:
    if not isinstance(key.handle, rsa.RSAPublicKey):
        return "not an RSA key"
    numbers = key.handle.public_numbers()
    if not MIN_RSA_BITS <= key.handle.key_size <= MAX_RSA_BITS:
        return "a modulus of fewer than 2,048 or more than 8,192 bits"
    if numbers.n % 2 == 0:
        return "an even modulus"
    if not MIN_RSA_EXPONENT <= numbers.e < MAX_RSA_EXPONENT or numbers.e % 2 == 0:
        return "a public exponent that is too small, too large or even"
    return None
