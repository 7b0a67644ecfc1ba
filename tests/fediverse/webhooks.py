"""Mastodon's webhook, as its documentation has it.

Source: https://docs.joinmastodon.org/admin/webhooks/, https://docs.joinmastodon.org/entities/Status/ and
https://docs.joinmastodon.org/entities/MediaAttachment/.
"""

from __future__ import annotations

import hashlib
import hmac
import json

FILES = "https://files.home.example"
ADA = "https://home.example/users/ada"


def attachment(
    name: str, *, preview: bool = True, url: str | None = None, preview_url: str | None = None
) -> dict[str, object]:
    """An attachment that was uploaded here."""
    return {
        "id": "22348641",
        "type": "image",
        "url": url or f"{FILES}/original/{name}.png",
        "preview_url": (preview_url or (None if url else f"{FILES}/small/{name}.png")) if preview else None,
        "remote_url": None,
        "text_url": None,
        "meta": {"original": {"width": 640, "height": 480, "size": "640x480", "aspect": 1.3333333333333333}},
        "description": "a picture",
        "blurhash": "UFBWY:8_0Jxv4mx]t8t64.%M-:IUWGWAt6M}",
    }


def status(
    *,
    number: int = 103254962155278888,
    visibility: str = "public",
    media: list[dict[str, object]] | None = None,
    edited_at: str | None = None,
) -> dict[str, object]:
    """A post of one of the server's own people."""
    return {
        "id": str(number),
        "created_at": "2026-11-22T07:59:00.000Z",
        "in_reply_to_id": None,
        "sensitive": False,
        "spoiler_text": "",
        "visibility": visibility,
        "language": "en",
        "uri": f"{ADA}/statuses/{number}",
        "url": f"https://home.example/@ada/{number}",
        "edited_at": edited_at,
        "content": "<p>hello</p>",
        "reblog": None,
        "account": {
            "id": "1",
            "username": "ada",
            "acct": "ada",
            "url": "https://home.example/@ada",
            "uri": ADA,
        },
        "media_attachments": [attachment("a")] if media is None else media,
        "mentions": [],
        "tags": [],
        "emojis": [],
        "card": None,
        "poll": None,
    }


def event(document: object, *, name: str = "status.created") -> dict[str, object]:
    """An event as it is posted."""
    return {"event": name, "created_at": "2026-11-22T08:00:00.000Z", "object": document}


def sign(body: bytes, secret: str) -> dict[str, str]:
    """The headers that the server sends with a body."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"Content-Type": "application/json", "X-Hub-Signature": f"sha256={digest}"}


def encode(document: object) -> bytes:
    """The body of an event."""
    return json.dumps(document).encode()
