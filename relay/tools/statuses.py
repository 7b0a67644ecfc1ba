"""Read what Mastodon's webhook tells of a post, as far as it says what was uploaded with it.

Source: https://docs.joinmastodon.org/admin/webhooks/ and https://docs.joinmastodon.org/entities/Status/.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from relay.errors import BreakwaterError
from relay.tools.urls import MAX_URL_CHARACTERS
from signatures.errors import SignatureError
from signatures.strictjson import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signatures.strictjson import JsonValue

# Mastodon admits 4 attachments and some forks 16, each with a preview of its own.
MAX_MEDIA: Final = 64
# A status within an event within an account's fields and emoji is 6 deep.
_MAX_DEPTH: Final = 32

# Tuples: what is compared with them may be a value that has no hash.
_EXAMINED: Final = ("status.created", "status.updated")
_PUBLIC: Final = ("public", "unlisted")


class MalformedStatusError(BreakwaterError):
    """What came is no event that can be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A post of the server's own people.

    Attributes:
        id: Its number on the server.
        uri: Its ActivityPub id.
        actor: Its author's ActivityPub id; empty where the server does not say.
        edited_at: When it was last edited; empty if never.
        is_public: Everybody may see it.
        media: Where its media lie: each file and each preview once.
    """

    id: str
    uri: str
    actor: str
    edited_at: str
    is_public: bool
    media: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name that tells it, as it was edited last, from every other post."""
        return f"{self.id} {self.edited_at}".strip()


def parse_event(body: bytes, *, max_bytes: int) -> Status | None:
    """Read an event; None where it tells of nothing that was uploaded.

    Raises:
        MalformedStatusError: It is no JSON that two readers read alike, or not what the documentation says.
    """
    try:
        event = parse_json(
            body, max_bytes=max_bytes, max_depth=_MAX_DEPTH, allow_floats=True, allow_big_ints=True
        )
    except SignatureError as error:
        raise MalformedStatusError(f"The body is not JSON that can be read: {error}.") from error
    if not isinstance(event, dict):
        raise MalformedStatusError("An event is a JSON object.")
    if event.get("event") not in _EXAMINED:
        return None
    status = event.get("object")
    if not isinstance(status, dict):
        raise MalformedStatusError("The event has no object.")
    if isinstance(status.get("reblog"), dict):
        return None  # A boost shows another's post, which came or was told of by itself.
    media = _find_media(status.get("media_attachments"))
    if not media:
        return None
    account = status.get("account")
    return Status(
        id=_text(status, "id"),
        uri=_text(status, "uri"),
        actor=_optional(account if isinstance(account, dict) else {}, "uri"),
        edited_at=_optional(status, "edited_at"),
        is_public=status.get("visibility") in _PUBLIC,
        media=media,
    )


def build_payload(status: Status) -> dict[str, object]:
    """Build what an errand keeps of a post until it is examined."""
    return {
        "id": status.id,
        "uri": status.uri,
        "actor": status.actor,
        "edited_at": status.edited_at,
        "is_public": status.is_public,
        "media": list(status.media),
    }


def read_payload(payload: Mapping[str, Any]) -> Status:
    """Read what `build_payload` built.

    Raises:
        MalformedStatusError: It is something else.
    """
    try:
        return Status(
            id=str(payload["id"]),
            uri=str(payload["uri"]),
            actor=str(payload["actor"]),
            edited_at=str(payload["edited_at"]),
            is_public=payload["is_public"] is True,
            media=tuple(map(str, payload["media"])),
        )
    except (KeyError, TypeError) as error:
        raise MalformedStatusError("The payload is not that of a post.") from error


def _find_media(value: JsonValue) -> tuple[str, ...]:
    """List where the server's own attachments lie; one that has a remote address is a copy of another's."""
    if not isinstance(value, list):
        raise MalformedStatusError("The status has no list of attachments.")
    found: dict[str, None] = {}
    for attachment in value:
        if not isinstance(attachment, dict):
            raise MalformedStatusError("An attachment is a JSON object.")
        if attachment.get("remote_url"):
            continue
        for name in ("url", "preview_url"):
            if (url := _optional(attachment, name)) != "":
                found[url] = None
    if len(found) > MAX_MEDIA:
        raise MalformedStatusError(f"The status has more than {MAX_MEDIA} files.")
    return tuple(found)


def _text(node: dict[str, JsonValue], name: str) -> str:
    if (value := _optional(node, name)) == "":
        raise MalformedStatusError(f"The status has no {name}.")
    return value


def _optional(node: dict[str, JsonValue], name: str) -> str:
    value = node.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > MAX_URL_CHARACTERS:
        raise MalformedStatusError(f"The {name} is no text of a usable length.")
    return value
