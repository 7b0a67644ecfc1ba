"""Take signed objects out of an answer as the very bytes that they stand there as.

An object is verified, kept and passed on as it was received. So it is cut out of the JSON around it, and
never parsed and written anew. Only the envelope is read here; what the objects say is for others to verify.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from signatures.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Iterable

# RFC 8259 section 2. Possessive, so that a body of spaces costs one pass.
_SPACE: Final = re.compile(r"[ \t\n\r]*+")
_DECODER: Final = json.JSONDecoder()


def cut_members(text: str) -> dict[str, str]:
    """Cut a JSON object into its members: each name with the text that its value stands there as.

    Raises:
        MalformedError: It is no JSON object, or has a name twice.
    """
    cutter = _Cutter(text)
    members: dict[str, str] = {}
    for _ in cutter.each("{", "}"):
        name = cutter.take_name()
        if name in members:
            raise MalformedError("a JSON object names a key twice")
        members[name] = cutter.take()
    return members


def cut_elements(text: str) -> list[str]:
    """Cut a JSON array into the texts that its elements stand there as.

    Raises:
        MalformedError: It is no JSON array.
    """
    cutter = _Cutter(text)
    return [cutter.take() for _ in cutter.each("[", "]")]


class _Cutter:
    """Goes through one object or array; what is inside of its values is only checked to be JSON."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def each(self, opening: str, closing: str) -> Iterable[None]:
        """Yield before every member until the end, which must be that of the text."""
        self._pass(opening)
        if not self._finds(closing):
            yield
            while self._finds(","):
                yield
            self._pass(closing)
        self._skip()
        if self._at != len(self._text):
            raise MalformedError("something follows the JSON")

    def take(self) -> str:
        """Take one value as it stands there."""
        self._skip()
        begin = self._at
        self._decode()
        return self._text[begin : self._at]

    def take_name(self) -> str:
        """Take the name of a member and the colon after it."""
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
