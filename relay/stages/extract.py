"""Extract from an activity what the line needs to know of it, above all every reference to media.

Pure: nothing is fetched, so what an activity only names is listed in `dereference` for others to fetch.
Nothing here is believed either: ids, types and addressing are the sender's words, and whoever acts on them
must have bound them to the sender first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relay.errors import MalformedActivityError
from relay.model import Activity, Audience
from relay.tools.jsonld import PUBLIC, read_terms
from relay.tools.references import find_references
from signatures.errors import SignatureError
from signatures.strictjson import parse_json

if TYPE_CHECKING:
    from relay.tools.jsonld import Terms
    from signatures.strictjson import JsonValue

MAX_BODY_BYTES: Final = 1_048_576
"""What Mastodon reads of an activity that it fetches; few of its relatives accept more at their inbox."""

MAX_DEPTH: Final = 32
"""The deepest activity seen in use (an announced video with nested playlists) is 11 deep."""

MAX_DEREFERENCES: Final = 20
"""Objects that one activity may make the relay fetch. Servers announce one at a time."""

_MAX_WRAPPING: Final = 4
"""How many activities may wrap each other. A community announces an Update or an Undo of a Like: 2 or 3."""

_ACTIVITIES: Final = frozenset(
    {
        *(
            "Accept",
            "Add",
            "Announce",
            "Arrive",
            "Block",
            "Create",
            "Delete",
            "Dislike",
            "EmojiReact",
            "Flag",
        ),
        *(
            "Follow",
            "Ignore",
            "Invite",
            "Join",
            "Leave",
            "Like",
            "Listen",
            "Lock",
            "Move",
            "Offer",
            "Question",
        ),
        *(
            "Read",
            "Reject",
            "Remove",
            "TentativeAccept",
            "TentativeReject",
            "Travel",
            "Undo",
            "Update",
            "View",
        ),
    },
)
_BY_OBJECT: Final = frozenset({"Create", "Update", "Delete", "Undo"})
_FETCHED_BY_ID: Final = frozenset({"Announce", "Create", "Update"})
_ACTORS: Final = frozenset({"Person", "Group", "Service", "Application", "Organization"})
# What is for the receiving server's own people although it is addressed to nobody.
_CONFIDENTIAL: Final = frozenset({"Flag"})
_ADDRESSING: Final = ("to", "cc", "bto", "bcc", "audience")

_Node = dict[str, "JsonValue"]


def parse_activity(body: bytes) -> JsonValue:
    """Parse the body of a delivery or of a fetched object.

    Raises:
        MalformedActivityError: it is no JSON, is longer than 1 MiB, deeper than 32, or names a member twice.
    """
    try:
        return parse_json(
            body,
            max_bytes=MAX_BODY_BYTES,
            max_depth=MAX_DEPTH,
            allow_floats=True,
            allow_big_ints=True,
        )
    except SignatureError as error:
        raise MalformedActivityError(f"the body is not JSON that can be examined: {error}") from error


def extract(document: JsonValue) -> Activity:
    """Extract what the line needs to know of an activity, or of an object that was fetched for one.

    Raises:
        MalformedActivityError: the document is no JSON object, or nothing in it has a type.
    """
    if not isinstance(document, dict):
        raise MalformedActivityError("an activity is a JSON object; this document is not one")
    terms = read_terms(document)
    root = _find_root(document, terms)
    types = terms.types(root)
    if not types:
        raise MalformedActivityError("the document has no type, so it cannot be told what it asks for")
    found = find_references(document, terms)
    return Activity(
        id=terms.id(root),
        type=types[0],
        actor=terms.id(terms.get(root, "actor")),
        object_id=terms.id(terms.get(root, "object")),
        chain_key=_chain_key(root, terms),
        audience=_audience(root, terms),
        references=found.references,
        dereference=(dereference := _find_dereferences(root, terms))[:MAX_DEREFERENCES],
        is_truncated=found.is_truncated or len(dereference) > MAX_DEREFERENCES,
    )


def _find_root(document: _Node, terms: Terms) -> _Node:
    """Find the activity: the document itself, or in a document that is a graph the node that has an actor."""
    if terms.types(document):
        return document
    graph = document.get("@graph")
    nodes = graph if isinstance(graph, list) else [graph]
    typed = [node for node in nodes if isinstance(node, dict) and terms.types(node)]
    acting = [node for node in typed if terms.get(node, "actor") is not None]
    return next(iter(acting or typed), document)


def _objects(node: _Node, terms: Terms) -> list[JsonValue]:
    return terms.all(node, "object")


def _is_activity(node: _Node, terms: Terms) -> bool:
    return not _ACTIVITIES.isdisjoint(terms.types(node)) and terms.get(node, "actor") is not None


def _inner(node: _Node, terms: Terms) -> _Node | None:
    """Return the one object that an activity embeds; None where it embeds none or names several."""
    objects = _objects(node, terms)
    value = objects[0] if len(objects) == 1 else None
    return value if isinstance(value, dict) else None


def _chain_key(node: _Node, terms: Terms) -> str:
    """Name the object whose deliveries must stay in order.

    A wrapped activity belongs to the chain of what it wraps, so that an announced Update queues behind the
    announced Create. An activity without any id has an empty key, and no chain.
    """
    own_id = terms.id(node)
    for _ in range(_MAX_WRAPPING):
        types = terms.types(node)
        if not _BY_OBJECT.isdisjoint(types):
            return terms.id(terms.get(node, "object")) or own_id
        inner = _inner(node, terms) if "Announce" in types else None
        if inner is None or not _is_activity(inner, terms):
            break
        node = inner
    return terms.id(node) or own_id


def _audience(node: _Node, terms: Terms) -> Audience:
    """Read whom an activity addresses, as the most public of the servers behind us would read it.

    Some show an object by its own addressing and some by its envelope's, so that public in one of them is
    public. What addresses nobody at all (a reaction with an emoji, for instance) is no private message
    either; to keep something private, one has to say for whom it is.
    """
    addressed: list[str] = []
    pending = [node]
    for _ in range(_MAX_WRAPPING):
        for one in pending:
            if not _ACTORS.isdisjoint(terms.types(one)):
                return Audience.PUBLIC  # An actor's own document is public by nature, whatever it addresses.
            addressed += [name for field in _ADDRESSING for name in _names(terms.all(one, field), terms)]
        pending = [item for one in pending for item in _objects(one, terms) if isinstance(item, dict)]
    if any(_is_public(name) for name in addressed):
        return Audience.PUBLIC
    is_private = bool(addressed) or not _CONFIDENTIAL.isdisjoint(terms.types(node))
    return Audience.RESTRICTED if is_private else Audience.PUBLIC


def _is_public(name: str) -> bool:
    # A document's own context may give the vocabulary any prefix; the local name stays.
    return name in PUBLIC or (name.endswith(":Public") and "/" not in name)


def _names(values: list[JsonValue], terms: Terms) -> list[str]:
    return [name for value in values if (name := terms.id(value))]


def _find_dereferences(node: _Node, terms: Terms) -> tuple[str, ...]:
    """List the objects that the backend would fetch because the activity names them without embedding them.

    An announced object whose embedded copy is of somebody else's post is fetched by careful servers, too.
    """
    ids: dict[str, None] = {}
    current: _Node | None = node
    for _ in range(_MAX_WRAPPING):
        if current is None:
            break
        types = terms.types(current)
        for item in _objects(current, terms) if not _FETCHED_BY_ID.isdisjoint(types) else []:
            identifier = terms.id(item)
            if isinstance(item, str) or _is_reference(item) or _is_anothers_copy(item, current, types, terms):
                ids[identifier] = None
        inner = _inner(current, terms)
        current = inner if inner is not None and _is_activity(inner, terms) else None
    ids.pop("", None)
    return tuple(ids)


def _is_reference(item: JsonValue) -> bool:
    """Tell whether a node is nothing but an id, perhaps with a type."""
    return isinstance(item, dict) and item.keys() <= {"id", "type", "@id", "@type"}


def _is_anothers_copy(item: JsonValue, node: _Node, types: tuple[str, ...], terms: Terms) -> bool:
    """Tell whether an announced copy is not the announcer's own post.

    Even on one origin the copy is the announcer's word about another's post, and servers fetch the post.
    """
    if "Announce" not in types or not isinstance(item, dict) or _is_activity(item, terms):
        return False
    announcer = terms.id(terms.get(node, "actor"))
    author = terms.id(terms.get(item, "attributedTo"))
    return not author or author != announcer or _origin(terms.id(item)) != _origin(announcer)


def _origin(url: str) -> str:
    """Return scheme and authority of an id, good enough to compare ids of one document."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}".lower()
