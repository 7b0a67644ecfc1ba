"""Read ActivityStreams documents in any of the shapes in which servers write them.

A property is the same property whether it is written `attachment`, `as:attachment`, as a full IRI, or under
a name that the document's own `@context` gives it. This is no JSON-LD processor: contexts are never fetched
and nothing here may serve to verify a signature. It only makes sure that a second spelling hides nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signatures.strictjson import JsonValue

PUBLIC: Final = frozenset({"https://www.w3.org/ns/activitystreams#Public", "as:Public", "Public"})
"""The public collection and the two compacted forms that ActivityPub 5.6 asks implementations to accept."""

KNOWN_TERMS: Final = frozenset(
    {
        *(
            "id",
            "type",
            "object",
            "actor",
            "to",
            "cc",
            "bto",
            "bcc",
            "audience",
            "items",
            "orderedItems",
            "first",
        ),
        *("attachment", "url", "href", "icon", "image", "preview", "thumbnail", "thumbnailUrl", "contentUrl"),
        *(
            "mediaType",
            "mimeType",
            "encodingFormat",
            "digestMultibase",
            "tag",
            "content",
            "source",
            "attributedTo",
        ),
        *(
            "Image",
            "Video",
            "Audio",
            "Document",
            "Link",
            "Emoji",
            "Announce",
            "Create",
            "Update",
            "Delete",
            "Undo",
        ),
        *(
            "Collection",
            "CollectionPage",
            "OrderedCollection",
            "OrderedCollectionPage",
            "Note",
            "Page",
            "Article",
        ),
    },
)
"""What a document's own context may rename. The plain names always keep their meaning as well, because most
servers read plain JSON."""

_MAX_ALIASES: Final = 1_000
"""More renamed terms than any vocabulary in use has; a context beyond it is read without them."""

_MAX_WRAPPING: Final = 4
"""How many activities may wrap each other (an Announce of an Update is 2)."""


class _Names(dict[str, str]):
    """What each key of one document stands for; found out once, for every key is asked for many times."""

    def __missing__(self, key: str) -> str:
        name = key[1:] if key.startswith("@") else local_name(key) if ":" in key else key
        self[key] = name
        return name


class Terms:
    """The names that one document uses."""

    __slots__ = ("_names",)

    def __init__(self, aliases: Mapping[str, str]) -> None:
        self._names = _Names(aliases)

    def of(self, key: str) -> str:
        """Name the term that a key or a type stands for, without its prefix or namespace."""
        return self._names[key]

    def get(self, node: Mapping[str, JsonValue], name: str) -> JsonValue:
        """Return the value of a property under whatever name it stands; None where it is absent."""
        if name in node:
            return node[name]
        names = self._names
        for key, value in node.items():
            if names[key] == name:
                return value
        return None

    def all(self, node: Mapping[str, JsonValue], name: str) -> list[JsonValue]:
        """List the values of a property under all its names, the plain one first.

        A JSON-LD processor takes them for one list, other servers read one of them; none may hide another.
        """
        names = self._names
        values = [node[name]] if name in node else []
        values += [value for key, value in node.items() if names[key] == name and key != name]
        return [item for value in values for item in (value if isinstance(value, list) else [value])]

    def types(self, node: Mapping[str, JsonValue]) -> tuple[str, ...]:
        """List the types of a node, first named first."""
        return tuple(self.of(item) for item in self.all(node, "type") if isinstance(item, str))

    def id(self, value: JsonValue) -> str:
        """Return the id of what a property points to, be it a string, an object or a list; empty if none."""
        for _ in range(_MAX_WRAPPING):
            if isinstance(value, str):
                return value
            if isinstance(value, list):
                value = value[0] if value else None
            elif isinstance(value, dict):
                value = self.get(value, "id")
            else:
                break
        return ""


def local_name(name: str) -> str:
    """Cut the prefix or the namespace off a compact or a full IRI."""
    return name[max(name.rfind("#"), name.rfind("/"), name.rfind(":")) + 1 :] or name


def read_terms(document: Mapping[str, JsonValue]) -> Terms:
    """Find the names that a document's own `@context` gives to the terms that matter here."""
    context = document.get("@context")
    aliases: dict[str, str] = {}
    for part in context if isinstance(context, list) else [context]:
        if not isinstance(part, dict) or len(part) > _MAX_ALIASES:
            continue
        for key, definition in part.items():
            target = definition.get("@id") if isinstance(definition, dict) else definition
            if not isinstance(target, str) or key in KNOWN_TERMS or key.startswith("@"):
                continue
            name = target[1:] if target.startswith("@") else local_name(target)
            if name in KNOWN_TERMS and len(aliases) < _MAX_ALIASES:
                aliases[key] = name
    return Terms(aliases)
