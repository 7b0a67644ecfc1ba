"""The signature scheme that most of the fediverse still sends.

Source: draft-cavage-http-signatures-12, cited by section below. What must be covered is not decided here:
see `signatures.http`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from signatures.algorithms import SignatureAlgorithm, sign_bytes, verify_bytes_by_any
from signatures.encoding import decode_base64, encode_base64
from signatures.errors import MalformedError, Reason, VerificationError
from signatures.keys import KeyAlgorithm
from signatures.message import find_header, require_coverable

if TYPE_CHECKING:
    from signatures.keys import PrivateKey, PublicKey
    from signatures.message import RequestMessage

# An RSA-8192 signature takes 1,368 characters; key ids are URLs of at most 2,048.
MAX_HEADER_CHARS: Final = 6_144
# The longest list seen in the wild has nine names.
MAX_COVERED: Final = 32
# Ten digits of seconds last until the year 2286.
MAX_TIME_DIGITS: Final = 12

REQUEST_TARGET: Final = "(request-target)"
CREATED: Final = "(created)"
EXPIRES: Final = "(expires)"

# Section 2.2: one `name="value"`, or `name=123` for the two times, and what separates it from the next.
# A backslash could end the string early for another reader, so no value may hold one.
_PARAMETER: Final = re.compile(
    r'[ \t]*([A-Za-z][A-Za-z0-9_-]*)=(?:"([\x20\x21\x23-\x5b\x5d-\x7e]*)"|(\d{1,12}))[ \t]*(?:,|\Z)', re.ASCII
)
_COVERED_NAME: Final = re.compile(r"\((?:request-target|created|expires)\)|[a-z0-9!#$%&'*+.^_`|~-]+")

# Section 2.1.3 with the older names that servers still send, and what each may mean for a key.
_RSA_BOTH: Final = (SignatureAlgorithm.RSA_V1_5_SHA256, SignatureAlgorithm.RSA_V1_5_SHA512)
_ED25519: Final = (SignatureAlgorithm.ED25519,)
_ALGORITHMS: Final[dict[tuple[str | None, KeyAlgorithm], tuple[SignatureAlgorithm, ...]]] = {
    (None, KeyAlgorithm.RSA): _RSA_BOTH,
    (None, KeyAlgorithm.ED25519): _ED25519,
    ("hs2019", KeyAlgorithm.RSA): _RSA_BOTH,
    ("hs2019", KeyAlgorithm.ED25519): _ED25519,
    ("rsa-sha256", KeyAlgorithm.RSA): (SignatureAlgorithm.RSA_V1_5_SHA256,),
    ("rsa-sha512", KeyAlgorithm.RSA): (SignatureAlgorithm.RSA_V1_5_SHA512,),
    ("ed25519", KeyAlgorithm.ED25519): _ED25519,
}
_KNOWN_ALGORITHMS: Final = frozenset(name for name, _ in _ALGORITHMS)


@dataclass(frozen=True, slots=True, kw_only=True)
class CavageSignature:
    """A Signature header that was parsed, and not yet verified."""

    key_id: str
    algorithm: str | None
    covered: tuple[str, ...]
    signature: bytes
    created: int | None
    expires: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CavageResult:
    """How a signature verified."""

    algorithm: SignatureAlgorithm
    covers_query: bool


def parse_cavage(value: str) -> CavageSignature:
    """Parse the value of a Signature header.

    Raises:
        MalformedError: the grammar is broken, a parameter or covered name stands there twice, or keyId or
            signature is missing.
    """
    parameters = _parse_parameters(value)
    key_id, signature = parameters.get("keyId"), parameters.get("signature")
    if not key_id or not signature:
        raise MalformedError("a Signature header without keyId or signature")
    # Section 2.1.6: without `headers` it is as if "(created)" stood there, and an empty list MUST NOT.
    covered = tuple(parameters.get("headers", CREATED).lower().split(" "))
    if len(covered) > MAX_COVERED or len(set(covered)) != len(covered):
        raise MalformedError("a Signature header that covers too much, or something twice")
    if not all(_COVERED_NAME.fullmatch(name) for name in covered):
        raise MalformedError("a Signature header that covers no header's name")
    algorithm = parameters.get("algorithm")
    # Section 2.3: "If the header field name is `(created)` and the `algorithm` parameter starts with
    # `rsa`, `hmac`, or `ecdsa` an implementation MUST produce an error." The same for `(expires)`.
    if (CREATED in covered or EXPIRES in covered) and (algorithm or "").startswith(("rsa", "hmac", "ecdsa")):
        raise MalformedError("an algorithm of the older drafts with a time of the newer")
    return CavageSignature(
        key_id=key_id,
        algorithm=algorithm,
        covered=covered,
        signature=decode_base64(signature),
        created=_find_time(parameters, "created"),
        expires=_find_time(parameters, "expires"),
    )


def _parse_parameters(value: str) -> dict[str, str]:
    if len(value) > MAX_HEADER_CHARS:
        raise MalformedError("a Signature header of more than 6,144 characters")
    parameters: dict[str, str] = {}
    position = 0
    while position < len(value):
        match = _PARAMETER.match(value, position)
        if match is None:
            raise MalformedError("a Signature header that does not parse")
        name, text, number = match.groups()
        if name in parameters:
            # Section 2.2: with a duplicated parameter "the signature MUST NOT be processed".
            raise MalformedError("a Signature header with a parameter that stands there twice")
        parameters[name] = number if text is None else text
        position = match.end()
    if value.rstrip(" \t").endswith(","):
        raise MalformedError("a Signature header that ends in a comma")
    return parameters


def _find_time(parameters: dict[str, str], name: str) -> int | None:
    text = parameters.get(name)
    if text is None:
        return None
    # Some senders quote the number. `str.isdigit` also takes digits that are not ASCII.
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_TIME_DIGITS):
        raise MalformedError("a time that is not whole seconds")
    return int(text)


def build_signing_string(message: RequestMessage, signature: CavageSignature, *, target: str) -> bytes:
    """Return the bytes that are signed (section 2.3), with `target` as the request target.

    Raises:
        MalformedError: a covered header stands there twice or holds what no signature may cover.
        VerificationError: something covered is not there (missing_component).
    """
    lines = []
    for name in signature.covered:
        if name == REQUEST_TARGET:
            value: str | None = f"{message.method.lower()} {target}"
        elif name == CREATED:
            value = None if signature.created is None else str(signature.created)
        elif name == EXPIRES:
            value = None if signature.expires is None else str(signature.expires)
        else:
            value = find_header(message.headers, name)
        if value is None:
            raise VerificationError(Reason.MISSING_COMPONENT, f"{name} is covered and not there")
        lines.append(f"{name}: {require_coverable(name, value)}")
    return "\n".join(lines).encode("ascii")


def verify_cavage(message: RequestMessage, signature: CavageSignature, *, key: PublicKey) -> CavageResult:
    """Verify the signature over what it covers.

    The caller owes everything else: what is covered, the digest, the times, whose key it is.

    Raises:
        MalformedError: as `build_signing_string`.
        VerificationError: an algorithm we do not verify (unknown_scheme), one that is not this key's
            (wrong_key), something covered is missing (missing_component), or bad_signature.
    """
    if signature.algorithm not in _KNOWN_ALGORITHMS:
        raise VerificationError(Reason.UNKNOWN_SCHEME, "an algorithm that we do not verify")
    algorithms = _ALGORITHMS.get((signature.algorithm, key.algorithm))
    if algorithms is None:
        raise VerificationError(Reason.WRONG_KEY, f"{signature.algorithm} with a {key.algorithm} key")
    base = build_signing_string(message, signature, target=message.target)
    try:
        algorithm = verify_bytes_by_any(key, algorithms, signature.signature, base)
    except VerificationError:
        if REQUEST_TARGET not in signature.covered or message.query is None:
            raise
        # Some senders leave the query out of the target they sign, and the large servers accept that.
        # The path is bound all the same, and the result says that the query is not.
        base = build_signing_string(message, signature, target=message.path)
        algorithm = verify_bytes_by_any(key, algorithms, signature.signature, base)
        return CavageResult(algorithm=algorithm, covers_query=False)
    return CavageResult(algorithm=algorithm, covers_query=True)


def build_cavage_header(
    message: RequestMessage, *, key: PrivateKey, key_id: str, covered: tuple[str, ...]
) -> str:
    """Return the value of a Signature header over what `covered` names.

    RSA keys get `rsa-sha256`, which every server knows; Ed25519 keys get `hs2019`, the only name for them.

    Raises:
        MalformedError: something covered may not be, or the key id does not fit into the header.
        VerificationError: something covered is not there (missing_component).
    """
    algorithm = "rsa-sha256" if key.public.algorithm is KeyAlgorithm.RSA else "hs2019"
    unsigned = CavageSignature(
        key_id=key_id, algorithm=algorithm, covered=covered, signature=b"", created=None, expires=None
    )
    signature = sign_bytes(key, build_signing_string(message, unsigned, target=message.target))
    value = (
        f'keyId="{key_id}",algorithm="{algorithm}",headers="{" ".join(covered)}",'
        f'signature="{encode_base64(signature)}"'
    )
    parse_cavage(value)  # A key id with a quote in it would otherwise write parameters of its own.
    return value
