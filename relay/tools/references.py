"""Walk an ActivityStreams document and collect every reference to media in it.

Two readings of the same document go hand in hand. The typed one knows the places in which servers put media
(attachments, icons, emoji, the many forms of `url`). The schemaless one looks at every other string, so that
what stands in a place that nobody thought of is found all the same. Ids, actors and addressing are no media.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Final

from relay.model import Location, MediaReference
from relay.tools.carried import read_inline
from relay.tools.markup import find_data_type, find_media_links, parse_media_url
from signatures.attestation import ATTESTATION_TYPE
from signatures.digests import parse_digest_multibase
from signatures.errors import SignatureError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from relay.tools.jsonld import Terms
    from signatures.strictjson import JsonValue

MAX_REFERENCES: Final = 1_000
"""References examined per activity. Servers show 4 to 16 attachments; a gallery may show hundreds."""

_MAX_DIGEST: Final = 128
"""Characters of a `digestMultibase`; SHA-256 needs 47. Decoding base58 is quadratic."""

_MEDIA_TYPES: Final = {
    "Image": Location.IMAGE,
    "Document": Location.ATTACHMENT,
    "Video": Location.VIDEO,
    "Audio": Location.VIDEO,
}
_ACTOR_TYPES: Final = frozenset({"Person", "Group", "Service", "Application", "Organization"})
_OTHER_OBJECTS: Final = _ACTOR_TYPES | {
    *("Note", "Page", "Article", "Question", "Event", "Place", "Profile", "Tombstone", "Relationship"),
    *("PropertyValue", "IdentityProof", "Mention", "Hashtag", "Create", "Update", "Announce"),
}
"""What is no media by its type. Some servers download what stands among the attachments whatever its
type says, so these are looked at there as well; they only do not count as declared."""
_COLLECTIONS: Final = frozenset(
    {"Collection", "OrderedCollection", "CollectionPage", "OrderedCollectionPage"}
)

_PLACES: Final = {
    "attachment": Location.ATTACHMENT,
    "icon": Location.ICON,
    "image": Location.IMAGE,
    "preview": Location.PREVIEW,
    "thumbnail": Location.THUMBNAIL,
    "thumbnailUrl": Location.THUMBNAIL,
}
_URLS: Final = frozenset({"url", "href", "contentUrl"})
_ITEMS: Final = frozenset({"items", "orderedItems", "first"})
_TRANSPARENT: Final = frozenset({"@list", "@set", "@graph", "@value"})
_IDS: Final = frozenset(
    {
        *(
            "id",
            "type",
            "actor",
            "attributedTo",
            "object",
            "target",
            "origin",
            "result",
            "instrument",
            "context",
        ),
        *(
            "to",
            "cc",
            "bto",
            "bcc",
            "audience",
            "inReplyTo",
            "conversation",
            "replies",
            "shares",
            "likes",
            "partOf",
        ),
        *(
            "inbox",
            "outbox",
            "followers",
            "following",
            "liked",
            "featured",
            "sharedInbox",
            "endpoints",
            "streams",
        ),
        *(
            "items",
            "orderedItems",
            "first",
            "last",
            "next",
            "prev",
            "current",
            "quoteUrl",
            "quoteUri",
            "quote",
        ),
        *("_misskey_quote", "movedTo", "alsoKnownAs", "generator"),
    },
)
_OPAQUE: Final = frozenset({"@context", "signature", "proof", "publicKey", "assertionMethod", "blurhash"})
_MEDIA_KINDS: Final = ("image/", "video/", "audio/")
_PLAYLISTS: Final = frozenset(
    {"application/x-mpegurl", "application/vnd.apple.mpegurl", "application/dash+xml"}
)
_DOCUMENT_TYPES: Final = frozenset(
    {
        *("text/html", "application/xhtml+xml", "application/json", "application/ld+json"),
        *("application/activity+json", "application/x-bittorrent"),
    },
)
"""What points on rather than being media: pages, data, torrents."""


class _Role(Enum):
    """What the strings below a property mean."""

    TEXT = 1
    IDS = 2
    PLACE = 3
    URL = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """What the document says about the media at some place."""

    location: Location
    media_type: str | None = None
    is_declared: bool = True
    digest: bytes | None = None
    attestation: bytes | None = None
    is_profile: bool = False


_Frame = tuple["JsonValue", _Role, "_Claim | None"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundReferences:
    """Every reference once, in document order; truncated where there were more than were asked for."""

    references: tuple[MediaReference, ...]
    is_truncated: bool


class _Collector:
    """Keeps each address once, at its first place, with the most definite of the claims about it."""

    __slots__ = ("_limit", "_references", "is_truncated")

    def __init__(self, limit: int) -> None:
        self._references: dict[str, MediaReference] = {}
        self._limit = limit
        self.is_truncated = False

    def add(self, url: str, claim: _Claim) -> None:
        known = self._references.get(url)
        if known is None and len(self._references) >= self._limit:
            self.is_truncated = True
            return
        if known is None or (claim.is_declared and not known.is_declared):
            digest = claim.digest or (known.declared_digest if known else None)
            media_type = claim.media_type or (known.declared_type if known else None)
            attestation = claim.attestation or (known.attestation if known else None)
            self._references[url] = MediaReference(
                url=url,
                location=claim.location,
                declared_type=media_type,
                is_declared=claim.is_declared,
                declared_digest=digest,
                attestation=attestation,
            )
        elif (
            (known.declared_type is None and claim.media_type)
            or (known.declared_digest is None and claim.digest)
            or (known.attestation is None and claim.attestation)
        ):
            self._references[url] = replace(
                known,
                declared_type=known.declared_type or claim.media_type,
                declared_digest=known.declared_digest or claim.digest,
                attestation=known.attestation or claim.attestation,
            )

    def found(self) -> FoundReferences:
        return FoundReferences(references=tuple(self._references.values()), is_truncated=self.is_truncated)


def find_references(document: JsonValue, terms: Terms, *, limit: int = MAX_REFERENCES) -> FoundReferences:
    """Find every reference to media in a document, in time linear in its size and at any depth."""
    collector = _Collector(limit)
    pending: list[_Frame] = [(document, _Role.TEXT, None)]
    while pending and not collector.is_truncated:
        value, role, claim = pending.pop()
        if isinstance(value, str):
            if role is not _Role.IDS:
                _take_string(value, claim, collector)
        elif isinstance(value, dict):
            pending.extend(reversed(_open_node(value, role, claim, terms)))
        elif isinstance(value, list):
            pending.extend([(item, role, claim) for item in reversed(value)])
    return collector.found()


_IN_TEXT: Final = {
    True: _Claim(location=Location.CONTENT),
    False: _Claim(location=Location.ELSEWHERE, is_declared=False),
}


def merge_references(references: Iterable[MediaReference]) -> tuple[MediaReference, ...]:
    """Keep each address once, as what some document most definitely says it is."""
    merged: dict[str, MediaReference] = {}
    for reference in references:
        known = merged.setdefault(reference.url, reference)
        if reference.is_declared and not known.is_declared:
            merged[reference.url] = reference
    return tuple(merged.values())


def _take_string(text: str, claim: _Claim | None, collector: _Collector) -> None:
    if claim is not None and (url := parse_media_url(text)) is not None:
        _take_url(url, claim, collector)
        return
    found = find_media_links(text)
    for link in found.links:
        _take_url(link.url, _IN_TEXT[link.is_embedded], collector)
    if not found.is_complete:
        collector.is_truncated = True


def _take_url(url: str, claim: _Claim, collector: _Collector) -> None:
    if url[:5].lower() == "data:":
        claim = _Claim(location=Location.INLINE, media_type=find_data_type(url), digest=claim.digest)
    collector.add(url, claim)


def _open_node(node: dict[str, JsonValue], role: _Role, claim: _Claim | None, terms: Terms) -> list[_Frame]:
    """List the values of a node, each with what it means there."""
    types = terms.types(node)
    is_collection = claim is not None and not _COLLECTIONS.isdisjoint(types)
    media = None if is_collection else _read_claim(node, types, role, claim, terms)
    if media is None and not is_collection:
        role, claim = _Role.TEXT, None
    frames: list[_Frame] = []
    for key, value in node.items():
        if value is None or isinstance(value, (bool, int, float)) or key in _OPAQUE:
            continue
        term = terms.of(key)
        if key in _TRANSPARENT or (claim is not None and term in _ITEMS and not isinstance(value, str)):
            frames.append((value, role, claim))
        elif term in _PLACES:
            frames.append((value, _Role.PLACE, _place(term, types, media)))
        elif media is not None and (term in _URLS or (key == "@id" and len(node) == 1)):
            # In expanded JSON-LD a bare address is written as a node that has nothing but an id.
            frames.append((value, _Role.URL, media))
        else:
            is_id = term in _IDS or (term == "href" and "Mention" in types)
            # An attestation names the policy that it was made under, which is a document and no media.
            is_id = is_id or (term == "profile" and ATTESTATION_TYPE in types)
            frames.append((value, _Role.IDS if is_id else _Role.TEXT, None))
    return frames


def _place(term: str, types: tuple[str, ...], media: _Claim | None) -> _Claim:
    """Say where a place for media is, and whether the place alone says that it holds media."""
    location = _PLACES[term]
    if term == "icon" and "Emoji" in types:
        location = Location.EMOJI
    elif term == "icon" and media is not None:
        location = Location.THUMBNAIL
    is_profile = term == "attachment" and bool(types) and _ACTOR_TYPES.issuperset(types)
    return _Claim(location=location, is_declared=term != "attachment", is_profile=is_profile)


def _read_claim(
    node: Mapping[str, JsonValue],
    types: tuple[str, ...],
    role: _Role,
    claim: _Claim | None,
    terms: Terms,
) -> _Claim | None:
    """Read what a node says about its media; None where the node is no media."""
    if role is _Role.PLACE or role is _Role.URL:
        return _read_placed(node, types, role, claim, terms)
    location = next((_MEDIA_TYPES[name] for name in types if name in _MEDIA_TYPES), None)
    if location is None and "Link" not in types:
        return None
    media_type = _media_type(node, terms)
    if location is None:
        # Mentions, hashtags and quotes are Links too; only a media type makes one a pointer to media.
        if not _is_media(media_type):
            return None
        location = Location.ELSEWHERE if media_type.startswith("image/") else Location.VIDEO
    # A post of type Video or Audio names its page, its streams or both in `url`; the links in it say which.
    is_declared = _is_media(media_type) or (
        location is not Location.VIDEO and media_type not in _DOCUMENT_TYPES
    )
    return _Claim(
        location=location,
        media_type=media_type or None,
        is_declared=is_declared,
        digest=_digest(node, terms),
        attestation=_attestation(node, terms),
    )


def _read_placed(
    node: Mapping[str, JsonValue],
    types: tuple[str, ...],
    role: _Role,
    claim: _Claim | None,
    terms: Terms,
) -> _Claim | None:
    """Read what a node in a place for media, or in the `url` of media, says."""
    if claim is None:
        return None
    media_type = _media_type(node, terms)
    is_media = _is_media(media_type)
    is_typed = any(name in _MEDIA_TYPES for name in types)
    if claim.is_profile and not is_media and not is_typed:
        # Profile fields are written as attachments, too: links to home pages and the like.
        return None
    if media_type in _DOCUMENT_TYPES:
        if role is _Role.URL and claim.location is Location.VIDEO:
            return None
        is_declared = False
    elif not is_typed and not _OTHER_OBJECTS.isdisjoint(types):
        is_declared = is_media
    else:
        is_declared = is_media or is_typed or claim.is_declared
    return _Claim(
        location=claim.location,
        media_type=media_type or claim.media_type,
        is_declared=is_declared,
        digest=_digest(node, terms) or claim.digest,
        attestation=_attestation(node, terms) or claim.attestation,
    )


def _media_type(node: Mapping[str, JsonValue], terms: Terms) -> str:
    """Return the declared media type, lower case and without parameters; empty if none."""
    for name in ("mediaType", "mimeType", "encodingFormat"):
        value = terms.get(node, name)
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, dict):
            value = value.get("@value")
        if isinstance(value, str) and value:
            return value.partition(";")[0].strip().lower()
    return ""


def _is_media(media_type: str) -> bool:
    return media_type.startswith(_MEDIA_KINDS) or media_type in _PLAYLISTS


def _digest(node: Mapping[str, JsonValue], terms: Terms) -> bytes | None:
    """Return the SHA-256 that a node claims for its media; None where it claims none that can be read."""
    value = terms.get(node, "digestMultibase")
    if not isinstance(value, str) or len(value) > _MAX_DIGEST:
        return None
    try:
        return parse_digest_multibase(value)
    except SignatureError:
        return None


def _attestation(node: Mapping[str, JsonValue], terms: Terms) -> bytes | None:
    """Return the attestation that a node brings along for its media; None where it brings none."""
    value = terms.get(node, "scanAttestation")
    return None if value is None else read_inline(value)
