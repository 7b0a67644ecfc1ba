"""The signature algorithms, over bytes. Which bytes is for the schemes to say."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from signatures.errors import Reason, VerificationError
from signatures.keys import KeyAlgorithm, PrivateKey, PublicKey


class SignatureAlgorithm(StrEnum):
    """Algorithms by their names in the RFC 9421 registry (section 6.2.2), and one that only cavage has."""

    RSA_V1_5_SHA256 = "rsa-v1_5-sha256"
    RSA_PSS_SHA512 = "rsa-pss-sha512"
    ED25519 = "ed25519"
    RSA_V1_5_SHA512 = "rsa-v1_5-sha512"


_PKCS1: Final = padding.PKCS1v15()
_SHA256: Final = hashes.SHA256()
_SHA512: Final = hashes.SHA512()
# RFC 9421 section 3.3.1: "salt length (sLen) of 64 bytes", MGF1 with SHA-512.
_PSS: Final = padding.PSS(mgf=padding.MGF1(_SHA512), salt_length=64)

_FAMILIES: Final = {
    SignatureAlgorithm.RSA_V1_5_SHA256: KeyAlgorithm.RSA,
    SignatureAlgorithm.RSA_V1_5_SHA512: KeyAlgorithm.RSA,
    SignatureAlgorithm.RSA_PSS_SHA512: KeyAlgorithm.RSA,
    SignatureAlgorithm.ED25519: KeyAlgorithm.ED25519,
}


def verify_bytes(key: PublicKey, algorithm: SignatureAlgorithm, signature: bytes, data: bytes) -> None:
    """Verify a signature over exactly these bytes.

    Raises:
        VerificationError: the key is of another family (wrong_key) or the signature is not its own
            (bad_signature).
    """
    if key.algorithm is not _FAMILIES[algorithm]:
        raise VerificationError(Reason.WRONG_KEY, f"{algorithm} with a key of the {key.algorithm} family")
    handle = key.handle
    try:
        if isinstance(handle, ed25519.Ed25519PublicKey):
            handle.verify(signature, data)
        elif algorithm is SignatureAlgorithm.RSA_V1_5_SHA256:
            handle.verify(signature, data, _PKCS1, _SHA256)
        elif algorithm is SignatureAlgorithm.RSA_V1_5_SHA512:
            handle.verify(signature, data, _PKCS1, _SHA512)
        else:
            handle.verify(signature, data, _PSS, _SHA512)
    except InvalidSignature as error:
        raise VerificationError(Reason.BAD_SIGNATURE, "the signature is not over these bytes") from error


def verify_bytes_by_any(
    key: PublicKey, algorithms: tuple[SignatureAlgorithm, ...], signature: bytes, data: bytes
) -> SignatureAlgorithm:
    """Verify by the first algorithm that fits and return it.

    Raises:
        VerificationError: as `verify_bytes`, if none of them fits.
    """
    error: VerificationError | None = None
    for algorithm in algorithms:
        try:
            verify_bytes(key, algorithm, signature, data)
        except VerificationError as caught:
            error = caught
        else:
            return algorithm
    raise error or VerificationError(Reason.UNKNOWN_SCHEME, "no algorithm fits this key")


def sign_bytes(key: PrivateKey, data: bytes) -> bytes:
    """Sign bytes: Ed25519, or RSASSA-PKCS1-v1_5 with SHA-256, as the key has it."""
    if isinstance(key.handle, rsa.RSAPrivateKey):
        return key.handle.sign(data, _PKCS1, _SHA256)
    return key.handle.sign(data)
