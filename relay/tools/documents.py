"""Read ActivityPub documents that were fetched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.model import FetchFailure
from relay.tools.media_types import ACTIVITY_JSON, ACTIVITYSTREAMS_PROFILE, LD_JSON
from signatures.errors import MalformedError
from signatures.strictjson import parse_json

if TYPE_CHECKING:
    from signatures.strictjson import JsonValue

# Mastodon reads no larger documents either, so that none that federates is larger.
MAX_DOCUMENT_BYTES: Final = 1024 * 1024
# The depth that the edge admits in activities; a fetched object is an activity's part.
MAX_DOCUMENT_DEPTH: Final = 32
# ActivityPub section 3.2: "The client MUST specify an Accept header with the application/ld+json;
# profile="https://www.w3.org/ns/activitystreams" media type".
ACCEPT_DOCUMENT: Final = f'{ACTIVITY_JSON}, {LD_JSON}; profile="{ACTIVITYSTREAMS_PROFILE}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """An ActivityPub document and where it really came from.

    Attributes:
        url: The URL that answered, after redirects; the document speaks for this origin only.
        value: The document; always an object.
    """

    url: str
    value: dict[str, JsonValue]


def read_document(url: str, data: bytes) -> Document | FetchFailure:
    """Read a body; MALFORMED unless it is one strict JSON object."""
    try:
        value = parse_json(
            data,
            max_bytes=MAX_DOCUMENT_BYTES,
            max_depth=MAX_DOCUMENT_DEPTH,
            allow_floats=True,
            allow_big_ints=True,
        )
    except MalformedError:
        return FetchFailure.MALFORMED
    return Document(url=url, value=value) if isinstance(value, dict) else FetchFailure.MALFORMED
