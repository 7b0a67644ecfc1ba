"""Public and private keys, and the spellings in which they travel: PEM and Multikey.

Parsing says nothing about whether a key may be believed: see `signatures.admission`.
"""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from signatures.encoding import (
    MAX_BASE58_CHARS,
    decode_base58btc,
    decode_varint,
    encode_base58btc,
    encode_varint,
)
from signatures.errors import MalformedError

# An RSA-8192 key takes 1,400 characters of PEM; the rest is room for line ends and blanks.
MAX_PEM_CHARS: Final = 4_096

# What our own keys get. Source: every server in the fediverse verifies RSA-2048; more costs them time.
RSA_BITS: Final = 2_048
RSA_EXPONENT: Final = 65_537

# A parsed RSA key takes about 4 kB: 16 MB at the most, and a busy server hears from fewer keys an hour.
KEY_CACHE_SIZE: Final = 4_096

# Source: multiformats/multicodec table.csv (ed25519-pub, rsa-pub).
_MULTICODEC_ED25519: Final = 0xED
_MULTICODEC_RSA: Final = 0x1205

ED25519_KEY_SIZE: Final = 32

_PEM_BLOCK: Final = re.compile(
    r"\s*-----BEGIN (RSA )?PUBLIC KEY-----[A-Za-z0-9+/=\s]+-----END (RSA )?PUBLIC KEY-----\s*", re.ASCII
)


class KeyAlgorithm(StrEnum):
    """The families of keys that the fediverse uses."""

    RSA = "rsa"
    ED25519 = "ed25519"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A public key that was parsed, and not yet admitted.

    `spki` is its DER SubjectPublicKeyInfo in our own spelling: two equal keys have equal bytes, however
    they travelled.
    """

    algorithm: KeyAlgorithm
    spki: bytes
    handle: rsa.RSAPublicKey | ed25519.Ed25519PublicKey = field(compare=False, repr=False)

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of `spki` in hex."""
        return hashlib.sha256(self.spki).hexdigest()

    def to_pem(self) -> str:
        """Return PEM of the SubjectPublicKeyInfo, as `publicKeyPem` carries it."""
        return self.handle.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode("ascii")

    def to_raw(self) -> bytes:
        """Return the 32 bytes of an Ed25519 key, or the PKCS#1 DER of an RSA key."""
        if isinstance(self.handle, ed25519.Ed25519PublicKey):
            return self.handle.public_bytes_raw()
        return self.handle.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)

    def to_multikey(self) -> str:
        """Return `publicKeyMultibase` of a Multikey (FEP-521a)."""
        codec = _MULTICODEC_RSA if self.algorithm is KeyAlgorithm.RSA else _MULTICODEC_ED25519
        return encode_base58btc(encode_varint(codec) + self.to_raw())


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateKey:
    """A private key and its public half."""

    public: PublicKey
    handle: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey = field(compare=False, repr=False)

    def to_pem(self) -> bytes:
        """Return unencrypted PKCS#8 PEM; whoever stores it owes the file mode."""
        return self.handle.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


@functools.lru_cache(maxsize=KEY_CACHE_SIZE)
def _load_public_pem(pem: str) -> PublicKey:
    try:
        key = serialization.load_pem_public_key(pem.encode("ascii"))
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise MalformedError("not a public key that we can read") from error
    return _wrap_public(key)


def parse_public_key_pem(pem: str) -> PublicKey:
    """Parse one PEM block that holds a SubjectPublicKeyInfo or a PKCS#1 RSA key.

    Raises:
        MalformedError: it is something else, more than one block, or a key of another family.
    """
    if len(pem) > MAX_PEM_CHARS or _PEM_BLOCK.fullmatch(pem) is None:
        raise MalformedError("not one PEM block with a public key")
    return _load_public_pem(pem)


@functools.lru_cache(maxsize=KEY_CACHE_SIZE)
def _load_multikey(text: str) -> PublicKey:
    codec, raw = decode_varint(decode_base58btc(text))
    try:
        if codec == _MULTICODEC_ED25519:
            return parse_ed25519_raw(raw)
        if codec == _MULTICODEC_RSA:
            key = serialization.load_der_public_key(raw)
        else:
            raise MalformedError("a Multikey of another family")
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise MalformedError("a Multikey that holds no key") from error
    parsed = _wrap_public(key)
    if parsed.algorithm is not KeyAlgorithm.RSA or parsed.to_raw() != raw:
        # The DER loader also reads a SubjectPublicKeyInfo, which is not what rsa-pub means.
        raise MalformedError("a Multikey that is not the PKCS#1 DER of an RSA key")
    return parsed


def parse_multikey(text: str) -> PublicKey:
    """Parse `publicKeyMultibase`: base58btc of the multicodec and an Ed25519 or RSA key.

    Raises:
        MalformedError: it is not such a key in its one spelling.
    """
    if len(text) > MAX_BASE58_CHARS:
        raise MalformedError("a Multikey of more than 1,424 characters")
    return _load_multikey(text)


def parse_ed25519_raw(raw: bytes) -> PublicKey:
    """Parse the 32 bytes of an Ed25519 public key, as FASP registration carries them.

    Raises:
        MalformedError: there are not 32 of them.
    """
    if len(raw) != ED25519_KEY_SIZE:
        raise MalformedError("an Ed25519 key has 32 bytes")
    return _wrap_public(ed25519.Ed25519PublicKey.from_public_bytes(raw))


def parse_private_key_pem(pem: bytes) -> PrivateKey:
    """Parse an unencrypted PEM private key of ours.

    Raises:
        MalformedError: it is not an RSA or Ed25519 key, or it is encrypted.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise MalformedError("not a private key that we can read") from error
    if not isinstance(key, rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        raise MalformedError("a private key of another family")
    return _wrap_private(key)


def generate_ed25519() -> PrivateKey:
    """Make a new Ed25519 key, for attestations and peers."""
    return _wrap_private(ed25519.Ed25519PrivateKey.generate())


def generate_rsa() -> PrivateKey:
    """Make a new RSA key, for requests to ActivityPub servers."""
    return _wrap_private(rsa.generate_private_key(RSA_EXPONENT, RSA_BITS))


def ed25519_from_seed(seed: bytes) -> PrivateKey:
    """Make the Ed25519 key of a seed of 32 bytes; whoever has the seed has the key."""
    return _wrap_private(ed25519.Ed25519PrivateKey.from_private_bytes(seed))


def _wrap_private(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> PrivateKey:
    return PrivateKey(public=_wrap_public(key.public_key()), handle=key)


def _wrap_public(key: object) -> PublicKey:
    if isinstance(key, rsa.RSAPublicKey):
        # Rebuilt from its numbers, so that id-RSASSA-PSS and rsaEncryption spell one key the same way.
        key = key.public_numbers().public_key()
        algorithm = KeyAlgorithm.RSA
    elif isinstance(key, ed25519.Ed25519PublicKey):
        algorithm = KeyAlgorithm.ED25519
    else:
        raise MalformedError("a public key of another family")
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(algorithm=algorithm, spki=spki, handle=key)
