"""Digests of bodies and of media: RFC 9530 fields, the older Digest header, and multihashes.

Source: RFC 9530 sections 2, 3 and 5; RFC 3230 and RFC 5843 for the older header; multihash and multibase.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from signatures.encoding import decode_base58btc, decode_base64, encode_base58btc, encode_base64
from signatures.errors import MalformedError, Reason, VerificationError
from signatures.message import Headers, find_header

# A field with both of our algorithms takes 170 characters; RFC 9530's registry has nine algorithms.
MAX_FIELD_CHARS: Final = 2_048

SHA256_SIZE: Final = 32

# multicodec sha2-256, then the length of the digest. Source: multiformats/multicodec table.csv.
_MULTIHASH_SHA256: Final = b"\x12\x20"
# "z" and the 46 base58 digits that 0x12 0x20 and 32 bytes always take.
MULTIHASH_CHARS: Final = 47

# One dictionary member that is a byte sequence: RFC 9651 sections 3.2 and 3.3.5. Parameters have no
# meaning in RFC 9530, so a member that has some is refused by not matching.
_MEMBER: Final = re.compile(r"([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/=]*):")
_LEGACY_MEMBER: Final = re.compile(r"([A-Za-z0-9-]+)=([A-Za-z0-9+/=]+)")
_COMMA: Final = re.compile(r"[ \t]*,[ \t]*")


class DigestAlgorithm(StrEnum):
    """The algorithms of RFC 9530 section 5 that are fit for an adversary."""

    SHA_256 = "sha-256"
    SHA_512 = "sha-512"


_SIZES: Final = {DigestAlgorithm.SHA_256: 32, DigestAlgorithm.SHA_512: 64}
_FUNCTIONS: Final = {DigestAlgorithm.SHA_256: hashlib.sha256, DigestAlgorithm.SHA_512: hashlib.sha512}


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """An algorithm and what it gave."""

    algorithm: DigestAlgorithm
    value: bytes


def content_digest(body: bytes) -> str:
    """Return the Content-Digest value for exactly these octets."""
    return repr_digest_of(hashlib.sha256(body).digest())


def legacy_digest(body: bytes) -> str:
    """Return the value of the older Digest header for exactly these octets."""
    return "SHA-256=" + encode_base64(hashlib.sha256(body).digest())


def repr_digest_of(sha256: bytes) -> str:
    """Return the Repr-Digest value for a SHA-256 that is already known."""
    return f"sha-256=:{encode_base64(sha256)}:"


def parse_digest_field(value: str) -> tuple[Digest, ...]:
    """Parse a Content-Digest or Repr-Digest value, leaving out the algorithms we do not know.

    Raises:
        MalformedError: it is not a dictionary of byte sequences, names an algorithm twice, or gives a
            known algorithm a digest of the wrong size.
    """
    return _parse_members(value, _MEMBER)


def parse_legacy_digest(value: str) -> tuple[Digest, ...]:
    """Parse a value of the older Digest header, leaving out the algorithms we do not know.

    Raises:
        MalformedError: as `parse_digest_field`.
    """
    return _parse_members(value, _LEGACY_MEMBER)


def _parse_members(value: str, pattern: re.Pattern[str]) -> tuple[Digest, ...]:
    if len(value) > MAX_FIELD_CHARS:
        raise MalformedError("a digest field of more than 2,048 characters")
    seen: set[str] = set()
    found = []
    for member in _COMMA.split(value):
        match = pattern.fullmatch(member)
        if match is None:
            raise MalformedError("a digest field that does not parse")
        name, text = match[1].lower(), match[2]
        if name in seen:
            # RFC 9651 would let the last one win, which gives an attacker a choice.
            raise MalformedError("a digest field that names an algorithm twice")
        seen.add(name)
        if name in _SIZES:
            algorithm = DigestAlgorithm(name)
            digest = decode_base64(text)
            if len(digest) != _SIZES[algorithm]:
                raise MalformedError("a digest of the wrong size")
            found.append(Digest(algorithm=algorithm, value=digest))
    return tuple(found)


def verify_digests(digests: tuple[Digest, ...], data: bytes) -> None:
    """Verify that every one of the digests is that of `data`.

    Raises:
        VerificationError: there is none (missing_digest), or one differs (digest_mismatch).
    """
    if not digests:
        raise VerificationError(Reason.MISSING_DIGEST, "no digest by an algorithm that we accept")
    for digest in digests:
        if not hmac.compare_digest(_FUNCTIONS[digest.algorithm](data).digest(), digest.value):
            raise VerificationError(Reason.DIGEST_MISMATCH, "the body is not the one that was digested")


def verify_body_digest(headers: Headers, body: bytes) -> tuple[str, ...]:
    """Verify every digest header there is against the body and return their names in lower case.

    Whether one of them is *signed* is for the caller to check against the names returned.

    Raises:
        MalformedError: a digest header stands there twice or does not parse.
        VerificationError: there is none (missing_digest), or one differs (digest_mismatch).
    """
    names = []
    for name, parse in (("content-digest", parse_digest_field), ("digest", parse_legacy_digest)):
        value = find_header(headers, name)
        if value is not None:
            verify_digests(parse(value), body)
            names.append(name)
    if not names:
        raise VerificationError(Reason.MISSING_DIGEST, "neither Content-Digest nor Digest")
    return tuple(names)


def digest_multibase(sha256: bytes) -> str:
    """Return the multibase (base58btc) of the sha2-256 multihash of a known digest of 32 bytes."""
    if len(sha256) != SHA256_SIZE:
        raise ValueError("a SHA-256 has 32 bytes")
    return encode_base58btc(_MULTIHASH_SHA256 + sha256)


def parse_digest_multibase(text: str) -> bytes:
    """Parse a multibase (base58btc) sha2-256 multihash into the 32 bytes of the digest.

    Raises:
        MalformedError: it is any other multibase or multihash.
    """
    if len(text) != MULTIHASH_CHARS:
        raise MalformedError("not a sha2-256 multihash in base58btc")
    data = decode_base58btc(text, max_chars=MULTIHASH_CHARS)
    if len(data) != len(_MULTIHASH_SHA256) + SHA256_SIZE or not data.startswith(_MULTIHASH_SHA256):
        raise MalformedError("not a sha2-256 multihash")
    return data[len(_MULTIHASH_SHA256) :]
