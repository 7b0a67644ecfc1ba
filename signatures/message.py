"""HTTP messages as the signature schemes see them: names, values and bytes, nothing decoded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from signatures.errors import MalformedError

Headers: TypeAlias = tuple[tuple[str, str], ...]
"""Field lines as received, in order, one tuple a line."""

# RFC 9110 section 5.5 allows obs-text, but no header that a signature covers has a use for it, and a
# signature base is ASCII (RFC 9421 section 2.5). A line break here would forge a line of the base.
_COVERABLE = re.compile(r"[\t\x20-\x7e]*")

_DEFAULT_PORTS = {"https": ":443", "http": ":80"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestMessage:
    """A request, before anything was believed about it.

    `target` is the raw origin-form request target ("/inbox?x=1"), byte for byte as it was received.
    `authority` is the host (and port) that the request reached us under. Whoever builds the message owes
    the check that `authority` is one of its own names; this package only binds the signature to it.
    """

    method: str
    scheme: str
    authority: str
    target: str
    headers: Headers
    body: bytes

    @property
    def path(self) -> str:
        """The target up to the first question mark."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str | None:
        """The target after the first question mark, None where there is none."""
        _, mark, query = self.target.partition("?")
        return query if mark else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseMessage:
    """A response, before anything was believed about it."""

    status: int
    headers: Headers
    body: bytes


def header_values(headers: Headers, name: str) -> tuple[str, ...]:
    """Return the values of every line with this name, in order, outer whitespace removed."""
    wanted = name.lower()
    size = len(wanted)  # Most names differ in length already, and every request is searched several times.
    return tuple([value.strip(" \t") for key, value in headers if len(key) == size and key.lower() == wanted])


def find_header(headers: Headers, name: str) -> str | None:
    """Return the value of the only line with this name, None where there is none.

    Raises:
        MalformedError: there are several lines; which of them a signature covered is anyone's guess.
    """
    values = header_values(headers, name)
    if not values:
        return None
    if len(values) > 1:
        raise MalformedError(f"the {name.lower()} header stands there {len(values)} times")
    return values[0]


def without_headers(headers: Headers, *names: str) -> Headers:
    """Return the lines whose names are not among `names` (lower case)."""
    return tuple((key, value) for key, value in headers if key.lower() not in names)


def require_coverable(name: str, value: str) -> str:
    """Return `value` if a signature may cover it.

    Raises:
        MalformedError: it holds a control character or leaves ASCII.
    """
    if _COVERABLE.fullmatch(value) is None:
        raise MalformedError(f"the value of {name} may not be covered by a signature")
    return value


def normal_authority(scheme: str, authority: str) -> str:
    """Return the authority in lower case and without the default port of `scheme`.

    Source: RFC 9421 section 2.2.3, RFC 9110 section 4.2.3.
    """
    return authority.lower().removesuffix(_DEFAULT_PORTS.get(scheme.lower(), ":"))
