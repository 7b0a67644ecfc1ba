"""Components of an HTTP message: what RFC 9421 lets a signature cover, and its value.

Source: RFC 9421 section 2, cited below. `;sf` and `;tr` are not taken: the first needs the type of every
header there is, and no server of the fediverse signs a trailer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote_to_bytes

import http_sf

from signatures.encoding import encode_base64
from signatures.errors import MalformedError, Reason, VerificationError
from signatures.message import (
    RequestMessage,
    header_values,
    normal_authority,
    require_coverable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from signatures.message import Headers, ResponseMessage

_FIELD_NAME: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")

_FIELD_PARAMETERS: Final = frozenset({"bs", "key", "req"})
_FLAGS: Final = frozenset({"bs", "req"})

# A query in an inbox path has a handful of parameters; each covered one is a pass over it.
MAX_QUERY_CHARS: Final = 8_192
# The bytes that section 2.2.8 leaves as they are: the URL standard's form-urlencoded set, without "+".
_QUERY_SAFE: Final = "*-._"


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A component identifier (section 2): a name and its parameters, in order."""

    name: str
    parameters: tuple[tuple[str, object], ...]

    def has(self, parameter: str) -> bool:
        """Say whether it carries this parameter."""
        return any(name == parameter for name, _ in self.parameters)

    def find_text(self, parameter: str) -> str | None:
        """Return the value of a parameter that is a string."""
        for name, value in self.parameters:
            if name == parameter and isinstance(value, str):
                return value
        return None


def require_component(component: Component) -> Component:
    """Return an identifier if it is one of section 2's that we take.

    Raises:
        MalformedError: it is not.
    """
    fault = _find_derived_fault(component) if component.name.startswith("@") else _find_field_fault(component)
    if fault is not None:
        raise MalformedError(fault)
    if any(value is not True for name, value in component.parameters if name in _FLAGS):
        raise MalformedError("a flag of a component that has a value")
    return component


def _find_derived_fault(component: Component) -> str | None:
    # Section 2.5: "@signature-params" is appended, and is never listed.
    if component.name not in {*_DERIVATIONS, "@query-param", "@status"}:
        return "a derived component that RFC 9421 does not know"
    allowed = {"req"}
    if component.name == "@query-param":
        if component.find_text("name") is None:
            return "@query-param without a name"
        allowed.add("name")
    if not allowed.issuperset(name for name, _ in component.parameters):
        return "a parameter that this derived component cannot have"
    return None


def _find_field_fault(component: Component) -> str | None:
    names = {name for name, _ in component.parameters}
    if _FIELD_NAME.fullmatch(component.name) is None:
        # Section 2.1: a field's component name is its name in lower case.
        return "a covered name that is no lower-case field name"
    if not names <= _FIELD_PARAMETERS or {"bs", "key"} <= names:
        return "a parameter of a field that is not taken"
    if "key" in names and component.find_text("key") is None:
        return "a key parameter that is not a string"
    return None


def build_component_line(
    component: Component, message: RequestMessage | ResponseMessage, request: RequestMessage | None
) -> str:
    """Return one line of the signature base (section 2.5).

    Raises:
        MalformedError: the component is none of this message's, or holds what no signature may cover.
        VerificationError: it is not there (missing_component).
    """
    source: RequestMessage | ResponseMessage = message
    if component.has("req"):
        # Section 2.4: `;req` is for responses, and means the request they answer.
        if request is None or isinstance(message, RequestMessage):
            raise MalformedError("a component of a request that is not at hand")
        source = request
    value = (
        _derive(component, source)
        if component.name.startswith("@")
        else _combine_field(component, source.headers)
    )
    return f"{serialize_component(component)}: {require_coverable(component.name, value)}"


def serialize_component(component: Component) -> str:
    """Return the identifier as a structured field has it; a name that was required needs no escapes."""
    return f'"{component.name}"{serialize_parameters(dict(component.parameters))}'


def serialize_parameters(parameters: Mapping[str, object]) -> str:
    """Return parameters as structured fields have them: ";name=value" for each.

    Raises:
        ValueError: one of them fits into no structured field.
    """
    if not parameters:
        return ""
    return http_sf.ser(("x", parameters)).removeprefix('"x"')  # type: ignore[arg-type]  # bare items


def _derive(component: Component, message: RequestMessage | ResponseMessage) -> str:
    if not isinstance(message, RequestMessage):
        if component.name != "@status":
            raise MalformedError("a component of requests on a response")
        return str(message.status)
    if component.name == "@query-param":
        return _find_query_parameter(component.find_text("name") or "", message)
    derive = _DERIVATIONS.get(component.name)
    if derive is None:
        raise MalformedError("a component of responses on a request")
    return derive(message)


_DERIVATIONS: Final[dict[str, Callable[[RequestMessage], str]]] = {
    "@method": lambda message: message.method,
    "@target-uri": lambda message: f"{message.scheme}://{message.authority}{message.target}",
    "@authority": lambda message: normal_authority(message.scheme, message.authority),
    "@scheme": lambda message: message.scheme.lower(),
    "@request-target": lambda message: message.target,
    # Section 2.2.6: an empty path is normalized to a single slash.
    "@path": lambda message: message.path or "/",
    # Section 2.2.7: the leading "?" is part of it, and stands alone where there is no query.
    "@query": lambda message: f"?{message.query or ''}",
}


def _find_query_parameter(name: str, message: RequestMessage) -> str:
    query = message.query or ""
    if len(query) > MAX_QUERY_CHARS:
        raise MalformedError("a query of more than 8,192 characters")
    found = []
    for pair in query.split("&"):
        key, _, value = pair.partition("=")
        if _reencode(key) == name:
            found.append(_reencode(value))
    # Section 2.2.8: "If a parameter name occurs multiple times in a request, the named query parameter
    # MUST NOT be included."
    if len(found) > 1:
        raise MalformedError("a covered query parameter that stands there twice")
    if not found:
        raise VerificationError(Reason.MISSING_COMPONENT, "a query parameter is covered and not there")
    return found[0]


def _reencode(text: str) -> str:
    return quote(unquote_to_bytes(text.replace("+", " ")), safe=_QUERY_SAFE)


def _combine_field(component: Component, headers: Headers) -> str:
    values = header_values(headers, component.name)
    if not values:
        raise VerificationError(Reason.MISSING_COMPONENT, f"{component.name} is covered and not there")
    if component.has("bs"):
        # Section 2.1.3: each line on its own, as a byte sequence.
        return ", ".join(f":{encode_base64(_to_octets(value))}:" for value in values)
    # Section 2.1: the lines are joined with a comma and a space.
    combined = ", ".join(values)
    key = component.find_text("key")
    return combined if key is None else _find_member(combined, key)


def _to_octets(value: str) -> bytes:
    return require_coverable("a header", value).encode("ascii")


def _find_member(value: str, key: str) -> str:
    # Section 2.1.2: the member's value, serialized again, without its key.
    try:
        parsed = http_sf.parse(_to_octets(value), tltype="dictionary")
    except http_sf.StructuredFieldError as error:
        raise MalformedError("a covered member of a field that is no dictionary") from error
    if not isinstance(parsed, dict) or key not in parsed:
        raise VerificationError(Reason.MISSING_COMPONENT, "a member of a field is covered and not there")
    member = parsed[key]
    if isinstance(member, tuple) and member[0] is True:
        # A bare key is the boolean true, which serializes to "?1" on its own.
        return f"?1{serialize_parameters(member[1])}"
    return http_sf.ser({"x": member}).removeprefix("x=")
