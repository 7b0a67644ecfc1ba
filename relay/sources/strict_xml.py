"""Read an XML document that came from outside: no declarations, no entities, bounded in every direction.

The standard library's expat is given handlers that refuse whatever XML's known attacks are made of: a
document type is where entities, their expansion and references to files and hosts come from, and without one
there is nothing to expand. That is what `defusedxml` does with its strictest settings; the bounds on depth,
elements and text are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from xml.parsers import expat

from relay.sources.model import UnreadableAnswerError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_XML_BYTES: Final = 32 * 1024 * 1024
"""A page of a thousand entries with every kind of hash takes about 4 MB."""
_MAX_DEPTH: Final = 16
_MAX_ELEMENTS: Final = 200_000
_MAX_TEXT_CHARS: Final = 64 * 1024


@dataclass(slots=True, kw_only=True)
class Element:
    """One element.

    Attributes:
        name: Its local name; namespaces are not looked at.
        attributes: By name.
        text: What stands directly in it.
        children: In their order.
    """

    name: str
    attributes: dict[str, str] = field(repr=False)
    text: str = field(default="", repr=False)
    children: list[Element] = field(default_factory=list, repr=False)

    def find(self, *path: str) -> Element | None:
        """Find the first element along a path; None where the way ends."""
        here: Element | None = self
        for name in path:
            here = None if here is None else next((one for one in here.children if one.name == name), None)
        return here

    def find_text(self, *path: str) -> str:
        """Find the text along a path; empty where there is none."""
        found = self.find(*path)
        return "" if found is None else found.text.strip()

    def __iter__(self) -> Iterator[Element]:
        return iter(self.children)


def parse_xml(data: bytes) -> Element:
    """Parse a document.

    Raises:
        UnreadableAnswerError: It is too large, too deep, no XML, or has a document type.
    """
    if len(data) > MAX_XML_BYTES:
        raise UnreadableAnswerError("the document is too large")
    builder = _Builder()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.add_text
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.UnparsedEntityDeclHandler = _refuse
    parser.ExternalEntityRefHandler = _refuse
    try:
        parser.Parse(data, True)  # noqa: FBT003 (expat takes no keywords)
    except expat.ExpatError as error:
        raise UnreadableAnswerError(f"line {error.lineno} is no XML") from error
    except UnicodeError as error:
        raise UnreadableAnswerError("its text cannot be decoded") from error
    if builder.root is None:
        raise UnreadableAnswerError("there is no element")
    return builder.root


def _refuse(*_arguments: object) -> int:
    raise UnreadableAnswerError("a document type or an entity has no place here")


class _Builder:
    """Puts the tree together while expat reads."""

    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._elements = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > _MAX_ELEMENTS or len(self._open) >= _MAX_DEPTH:
            raise UnreadableAnswerError("there are too many elements, or they lie too deep")
        plain = {_local(key): value for key, value in attributes.items()}
        element = Element(name=_local(name), attributes=plain)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def end(self, _name: str) -> None:
        self._open.pop()

    def add_text(self, text: str) -> None:
        here = self._open[-1]
        here.text += text
        if len(here.text) > _MAX_TEXT_CHARS:
            raise UnreadableAnswerError("a text is too long")


def _local(name: str) -> str:
    return name.rpartition(" ")[2]
