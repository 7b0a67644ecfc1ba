"""Read the attestations that come by themselves: beside the bytes in a response, or within an activity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from signatures.attestation import ATTESTATION_TYPE
from signatures.errors import MalformedError
from signatures.fields import ATTESTATION_HEADER, parse_attestation_field
from signatures.jcs import canonicalize
from signatures.message import header_values
from signatures.objects import MAX_OBJECT_BYTES

if TYPE_CHECKING:
    from signatures.message import Headers
    from signatures.strictjson import JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What a response carried.

    Attributes:
        attestation: The bytes, of which nothing was verified; None where there are none to be had.
        is_malformed: There was something that cannot be read, and that counts as nothing.
    """

    attestation: bytes | None = None
    is_malformed: bool = False


NOTHING: Final = Carried()
"""Most responses."""


def find_carried(headers: Headers) -> Carried:
    """Find the attestation in the headers of a response, of at most the length that an object may have.

    The caller owes everything about it: that its issuer is a peer, that the signature is right, and that the
    digest it names is that of the bytes which came with it.
    """
    values = header_values(headers, ATTESTATION_HEADER)
    if not values:
        return NOTHING
    if len(values) > 1:
        # RFC 9651 section 4.2 would join them with a comma, which is no byte sequence.
        return Carried(is_malformed=True)
    try:
        return Carried(attestation=parse_attestation_field(values[0]))
    except MalformedError:
        return Carried(is_malformed=True)


def read_inline(value: JsonValue) -> bytes | None:
    """Return the attestation that a property of an activity holds; None where it holds none that is bounded.

    What is signed is the canonical form of the object (RFC 8785) and not its spelling, which the activity's
    writer was free to choose. That form is what comes back here, so that an object has the same bytes
    wherever it was found; that the writer changed none of its members, the proof will tell.
    """
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict) or value.get("type") != ATTESTATION_TYPE:
        return None
    try:
        data = canonicalize(value)
    except MalformedError:
        return None
    return data if len(data) <= MAX_OBJECT_BYTES else None
