"""Take signed objects out of an answer as the very bytes that they stand there as.

An object is verified, kept and passed on as it was received. So it is cut out of the JSON around it, and
never parsed and written anew. Only the envelope is read here; what the objects say is for others to verify.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, TypeVar

from signatures.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_T = TypeVar("_T")

# RFC 8259 section 2. Possessive, so that a body of spaces costs one pass.
_SPACE: Final = re.compile(r"[ \t\n\r]*+")
_DECODER: Final = json.JSONDecoder()


def cut_members(text: str) -> dict[str, str]:
    """Cut a JSON object into its members: each name with the text that its value stands there as.

    Raises:
        MalformedError: It is no JSON object, or has a name twice.
    """
    cutter = _Cutter(text)
    members = dict(cutter.members())
    cutter.end()
    return members


def cut_listing(text: str, name: str) -> tuple[dict[str, str], list[str]]:
    """Cut a JSON object into its members, but for one, which is cut into the elements of its array.

    Raises:
        MalformedError: It is no JSON object, has a name twice, or has no such array.
    """
    return _cut_listing(text, name, _Cutter.take)


def cut_table(text: str, name: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Cut the same where the elements are objects, which are cut into their members.

    Raises:
        MalformedError: As `cut_listing`, or an element is no object with each name once.
    """
    return _cut_listing(text, name, lambda cutter: dict(cutter.members()))


def _cut_listing(text: str, name: str, cut: Callable[[_Cutter], _T]) -> tuple[dict[str, str], list[_T]]:
    # In one pass, since a page has megabytes.
    cutter = _Cutter(text)
    elements: list[_T] | None = None
    members: dict[str, str] = {}
    for member in cutter.names():
        if member == name:
            elements = [cut(cutter) for _ in cutter.each("[", "]")]
        else:
            members[member] = cutter.take()
    cutter.end()
    if elements is None:
        raise MalformedError(f"{name} is missing")
    return members, elements


class _Cutter:
    """Goes through JSON from its beginning; the inside of what it takes is only checked to be JSON."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def each(self, opening: str, closing: str) -> Iterator[None]:
        """Yield before every element of an array or object, for the caller to take it."""
        self._pass(opening)
        if not self._finds(closing):
            yield
            while self._finds(","):
                yield
            self._pass(closing)

    def names(self) -> Iterator[str]:
        """Yield the name of every member of an object, for the caller to take its value."""
        seen: set[str] = set()
        for _ in self.each("{", "}"):
            name = self._take_name()
            if name in seen:
                raise MalformedError("a JSON object names a key twice")
            seen.add(name)
            yield name

    def members(self) -> Iterator[tuple[str, str]]:
        """Take an object, member by member."""
        for name in self.names():
            yield name, self.take()

    def end(self) -> None:
        """Make sure that nothing follows."""
        self._skip()
        if self._at != len(self._text):
            raise MalformedError("something follows the JSON")

    def take(self) -> str:
        """Take one value as it stands there."""
        self._skip()
        begin = self._at
        self._decode()
        return self._text[begin : self._at]

    def _take_name(self) -> str:
        self._skip()
        name = self._decode()
        if not isinstance(name, str):
            raise MalformedError("the name of a member is not a string")
        self._pass(":")
        return name

    def _decode(self) -> object:
        try:
            value, self._at = _DECODER.raw_decode(self._text, self._at)
        except (ValueError, RecursionError) as error:
            raise MalformedError("not JSON") from error
        return value

    def _pass(self, symbol: str) -> None:
        if not self._finds(symbol):
            raise MalformedError(f"no {symbol} where one must be")

    def _finds(self, symbol: str) -> bool:
        self._skip()
        is_there = self._text.startswith(symbol, self._at)
        self._at += is_there
        return is_there

    def _skip(self) -> None:
        match = _SPACE.match(self._text, self._at)
        self._at = self._at if match is None else match.end()
