"""HTTP Message Signatures: the fields, the signature base, verifying and signing over it.

Source: RFC 9421, cited by section below. What must be covered is not decided here: see `signatures.http`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

import http_sf

from signatures.algorithms import SignatureAlgorithm, sign_bytes, verify_bytes_by_any
from signatures.components import (
    Component,
    build_component_line,
    require_component,
    serialize_component,
    serialize_parameters,
)
from signatures.encoding import decode_base64, encode_base64
from signatures.errors import MalformedError, Reason, VerificationError
from signatures.keys import KeyAlgorithm
from signatures.message import find_header, require_coverable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signatures.keys import PrivateKey, PublicKey
    from signatures.message import Headers, RequestMessage, ResponseMessage

# As in cavage; several signatures may stand in one field.
MAX_FIELD_CHARS: Final = 8_192
# A sender, a proxy and a bot directory make three.
MAX_LABELS: Final = 8
MAX_COVERED: Final = 32

# One `label=:base64:` of a Signature field (section 4.2).
_SIGNATURE_MEMBER: Final = re.compile(r"([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/=]+):")
_COMMA: Final = re.compile(r"[ \t]*,[ \t]*")

_BY_FAMILY: Final = {
    # Section 3.3 leaves the choice to the key's owner where `alg` is missing; PKCS#1 v1.5 is what the
    # fediverse sends, and no signature is valid under both.
    KeyAlgorithm.RSA: (SignatureAlgorithm.RSA_V1_5_SHA256, SignatureAlgorithm.RSA_PSS_SHA512),
    KeyAlgorithm.ED25519: (SignatureAlgorithm.ED25519,),
}
_BY_NAME: Final = {
    "rsa-v1_5-sha256": SignatureAlgorithm.RSA_V1_5_SHA256,
    "rsa-pss-sha512": SignatureAlgorithm.RSA_PSS_SHA512,
    "ed25519": SignatureAlgorithm.ED25519,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rfc9421Signature:
    """One labelled signature that was parsed, and not yet verified."""

    label: str
    covered: tuple[Component, ...]
    parameters_text: str
    """The value of `@signature-params`, as section 2.3 serializes it."""
    signature: bytes
    key_id: str | None
    algorithm: str | None
    created: int | None
    expires: int | None
    nonce: str | None
    tag: str | None

    def covers(self, *names: str) -> bool:
        """Say whether every one of these is covered, whole and without parameters."""
        plain = {component.name for component in self.covered if not component.parameters}
        return plain.issuperset(names)


def parse_rfc9421(headers: Headers) -> tuple[Rfc9421Signature, ...]:
    """Parse Signature-Input and Signature into the signatures they hold, in order.

    Raises:
        MalformedError: a field is missing, stands there twice or does not parse; the labels of the two
            differ; anything is named twice; a component or parameter is none of RFC 9421's.
    """
    signature_input = find_header(headers, "signature-input")
    signature = find_header(headers, "signature")
    if signature_input is None or signature is None:
        raise MalformedError("one of Signature-Input and Signature is missing")
    if max(len(signature_input), len(signature)) > MAX_FIELD_CHARS:
        raise MalformedError("a signature field of more than 8,192 characters")
    values = _parse_signature_field(signature)
    inputs = _parse_signature_input(signature_input)
    # Section 3.2, step 1.2: labels must be in both; one without the other cannot be verified.
    if inputs.keys() != values.keys():
        raise MalformedError("Signature-Input and Signature do not have the same labels")
    return tuple(
        _build_signature(label, member, values[label], signature_input) for label, member in inputs.items()
    )


def _parse_signature_field(value: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for member in _COMMA.split(value):
        match = _SIGNATURE_MEMBER.fullmatch(member)
        if match is None or match[1] in found:
            raise MalformedError("a Signature field that does not parse, or with a label twice")
        found[match[1]] = decode_base64(match[2])
    if len(found) > MAX_LABELS:
        raise MalformedError("more than 8 signatures")
    return found


def _refuse_duplicate(key: str, where: str) -> NoReturn:
    # RFC 9651 lets the last one win; the base would then differ from what other readers see.
    raise MalformedError(f"{key} stands twice in a {where}")


def _parse_signature_input(value: str) -> dict[str, object]:
    try:
        parsed = http_sf.parse(
            require_coverable("signature-input", value).encode("ascii"),
            tltype="dictionary",
            on_duplicate_key=_refuse_duplicate,
        )
    except http_sf.StructuredFieldError as error:
        raise MalformedError("a Signature-Input that does not parse") from error
    if not isinstance(parsed, dict):
        raise MalformedError("a Signature-Input that is not a dictionary")
    return dict(parsed)


def _build_signature(label: str, member: object, signature: bytes, raw: str) -> Rfc9421Signature:
    if not (isinstance(member, tuple) and isinstance(member[0], list)):
        raise MalformedError("a Signature-Input member that is not an inner list")
    items, parameters = member
    covered = tuple(_build_component(item) for item in items)
    if len(covered) > MAX_COVERED or len(set(covered)) != len(covered):
        raise MalformedError("a signature that covers too much, or something twice")
    text = _serialize(covered, parameters)
    if text.replace(" ", "") not in raw.replace(" ", ""):
        # Numbers with leading zeros and the like: other readers would build another base.
        raise MalformedError("a Signature-Input that is not in its canonical form")
    return Rfc9421Signature(
        label=label,
        covered=covered,
        parameters_text=text,
        signature=signature,
        key_id=_find_text(parameters, "keyid"),
        algorithm=_find_text(parameters, "alg"),
        created=_find_time(parameters, "created"),
        expires=_find_time(parameters, "expires"),
        nonce=_find_text(parameters, "nonce"),
        tag=_find_text(parameters, "tag"),
    )


def _serialize(covered: tuple[Component, ...], parameters: Mapping[str, object]) -> str:
    return f"({' '.join(map(serialize_component, covered))}){serialize_parameters(parameters)}"


def _build_component(item: object) -> Component:
    if not (isinstance(item, tuple) and isinstance(item[0], str) and isinstance(item[1], dict)):
        raise MalformedError("a covered component that is not a string")
    name, parameters = item
    return require_component(Component(name=name, parameters=tuple(parameters.items())))


def _find_text(parameters: dict[str, object], name: str) -> str | None:
    value = parameters.get(name)
    if value is not None and not isinstance(value, str):
        raise MalformedError(f"a signature parameter {name} that is not a string")
    return value


def _find_time(parameters: dict[str, object], name: str) -> int | None:
    value = parameters.get(name)
    if value is None:
        return None
    # A boolean is an int to Python and `?1` is not a time; section 2.3 wants whole seconds.
    if type(value) is not int or value < 0:
        raise MalformedError(f"a signature parameter {name} that is not whole seconds")
    return value


def build_signature_base(
    message: RequestMessage | ResponseMessage,
    signature: Rfc9421Signature,
    *,
    request: RequestMessage | None = None,
) -> bytes:
    """Return the signature base (section 2.5); `request` is what a response answers, for `;req`.

    Raises:
        MalformedError: a component may not be covered, or is not one of this kind of message.
        VerificationError: a covered component is not there (missing_component).
    """
    lines = [build_component_line(component, message, request) for component in signature.covered]
    lines.append(f'"@signature-params": {signature.parameters_text}')
    return "\n".join(lines).encode("ascii")


def verify_rfc9421(
    message: RequestMessage | ResponseMessage,
    signature: Rfc9421Signature,
    *,
    key: PublicKey,
    request: RequestMessage | None = None,
) -> SignatureAlgorithm:
    """Verify one signature over what it covers and return its algorithm.

    The caller owes everything else: what is covered, the digest, the times, whose key it is.

    Raises:
        MalformedError: as `build_signature_base`.
        VerificationError: an algorithm we do not verify (unknown_scheme), one that is not this key's
            (wrong_key), something covered is missing (missing_component), or bad_signature.
    """
    algorithms = _BY_FAMILY[key.algorithm]
    if signature.algorithm is not None:
        named = _BY_NAME.get(signature.algorithm)
        if named is None:
            raise VerificationError(Reason.UNKNOWN_SCHEME, "an algorithm that we do not verify")
        # Section 3.2, step 6: where `alg` and the key disagree about the algorithm, verification fails,
        # which is what `verify_bytes` does with a key of another family.
        algorithms = (named,)
    base = build_signature_base(message, signature, request=request)
    return verify_bytes_by_any(key, algorithms, signature.signature, base)


def build_rfc9421_headers(
    message: RequestMessage | ResponseMessage,
    *,
    key: PrivateKey,
    label: str,
    covered: tuple[str, ...],
    parameters: Mapping[str, str | int],
) -> Headers:
    """Return the Signature-Input and Signature lines over what `covered` names, without parameters.

    Raises:
        MalformedError: a component may not be covered, or a parameter does not fit into the field.
        VerificationError: something covered is not there (missing_component).
    """
    components = tuple(require_component(Component(name=name, parameters=())) for name in covered)
    try:
        text = _serialize(components, parameters)
    except ValueError as error:
        raise MalformedError("a signature parameter that no field can hold") from error
    unsigned = Rfc9421Signature(
        label=label,
        covered=components,
        parameters_text=text,
        signature=b"",
        key_id=None,
        algorithm=None,
        created=None,
        expires=None,
        nonce=None,
        tag=None,
    )
    signature = sign_bytes(key, build_signature_base(message, unsigned))
    return (
        ("Signature-Input", f"{label}={text}"),
        ("Signature", f"{label}=:{encode_base64(signature)}:"),
    )
