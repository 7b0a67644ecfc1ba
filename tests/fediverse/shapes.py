"""Activities in the shapes in which the known servers send them.

The builders take an actor for its ids and URLs for the media; everything else is fixed, so that two
calls differ in ids only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.fediverse.actors import Actor

PUBLIC = "https://www.w3.org/ns/activitystreams#Public"
AS = "https://www.w3.org/ns/activitystreams"
PUBLISHED = "2026-11-22T12:00:00Z"
Document = dict[str, object]


def _wrap(actor: Actor, kind: str, inner: object, *, identity: str | None = None) -> Document:
    return {
        "@context": AS,
        "id": identity or actor.new_id("activities"),
        "type": kind,
        "actor": actor.id,
        "published": PUBLISHED,
        "to": [PUBLIC],
        "cc": [f"{actor.id}/followers"],
        "object": inner,
    }


def create(actor: Actor, inner: Document) -> Document:
    return _wrap(actor, "Create", inner, identity=f"{inner['id']}/activity")


def update(actor: Actor, inner: Document) -> Document:
    """Build an Update; of an actor too."""
    return _wrap(actor, "Update", inner)


def delete(actor: Actor, object_id: str, *, tombstone: bool = True) -> Document:
    """Build a Delete, as Mastodon does with a tombstone, as others do with the id."""
    return _wrap(actor, "Delete", {"id": object_id, "type": "Tombstone"} if tombstone else object_id)


def announce(actor: Actor, inner: object) -> Document:
    """Build an Announce of an id, or of a whole activity (FEP-1b12)."""
    return _wrap(actor, "Announce", inner)


def undo(actor: Actor, inner: Document | str) -> Document:
    return _wrap(actor, "Undo", inner)


def like(actor: Actor, object_id: str) -> Document:
    return {
        "@context": AS,
        "id": actor.new_id("likes"),
        "type": "Like",
        "actor": actor.id,
        "object": object_id,
    }


def follow(actor: Actor, object_id: str) -> Document:
    return {
        "@context": AS,
        "id": actor.new_id("follows"),
        "type": "Follow",
        "actor": actor.id,
        "object": object_id,
    }


def mastodon_note(
    actor: Actor,
    media: Sequence[str] = (),
    *,
    media_type: str = "image/png",
    emoji: str | None = None,
    to: Sequence[str] = (PUBLIC,),
    content: str = "<p>hello</p>",
) -> Document:
    """Build a Note with attachments as Documents."""
    tag: list[Document] = []
    if emoji is not None:
        icon = {"type": "Image", "mediaType": "image/png", "url": emoji}
        tag.append({"id": actor.new_id("emoji"), "type": "Emoji", "name": ":kappa:", "icon": icon})
    return {
        "id": actor.new_id(),
        "type": "Note",
        "summary": None,
        "inReplyTo": None,
        "published": PUBLISHED,
        "attributedTo": actor.id,
        "to": list(to),
        "cc": [f"{actor.id}/followers"],
        "sensitive": False,
        "content": content,
        "attachment": [
            {
                "type": "Document",
                "mediaType": media_type,
                "url": url,
                "name": "a drawn marker",
                "blurhash": "USQv:h-W-qI-^,W;RPs=^-R%NZxbo#sDobSc",
                "focalPoint": [0.0, 0.0],
                "width": 64,
                "height": 64,
            }
            for url in media
        ],
        "tag": tag,
        "replies": {
            "id": f"{actor.id}/replies",
            "type": "Collection",
            "first": {"type": "CollectionPage", "items": []},
        },
    }


def mastodon_create(actor: Actor, media: Sequence[str] = ()) -> Document:
    return create(actor, mastodon_note(actor, media))


def lemmy_page(actor: Actor, community: Actor, image: str) -> Document:
    """Build a Page whose picture is a Link, an image and in the Markdown source."""
    return {
        "id": actor.new_id("post"),
        "type": "Page",
        "attributedTo": actor.id,
        "to": [community.id, PUBLIC],
        "audience": community.id,
        "name": "A page",
        "content": f'<p><img src="{image}" alt="marker" /></p>\n',
        "mediaType": "text/html",
        "source": {"content": f"![marker]({image})", "mediaType": "text/markdown"},
        "attachment": [{"type": "Link", "href": image}],
        "image": {"type": "Image", "url": image},
        "sensitive": False,
        "published": PUBLISHED,
    }


def lemmy_announce(community: Actor, actor: Actor, image: str) -> Document:
    """Build what a community sends: an Announce around the member's whole Create."""
    return announce(community, create(actor, lemmy_page(actor, community, image)))


def piefed_announce(community: Actor, actor: Actor, image: str) -> Document:
    """Build PieFed's Announce: one picture in four places, the attachment an Image."""
    page = lemmy_page(actor, community, image)
    page["attachment"] = [{"type": "Image", "url": image, "name": "A page"}]
    page["tag"] = []
    return announce(community, create(actor, page))


def takahe_create(actor: Actor, image: str) -> Document:
    """Build Takahe's Create: compacted, a lone attachment as a bare object."""
    identity = actor.new_id("posts") + "/"
    return {
        "@context": [AS, {"blurhash": "toot:blurhash", "toot": "http://joinmastodon.org/ns#"}],
        "id": f"{identity}#create",
        "type": "Create",
        "actor": actor.id,
        "cc": [],
        "to": "as:Public",
        "object": {
            "id": identity,
            "type": "Note",
            "attachment": {
                "type": "Document",
                "blurhash": "U$HLYY2Y$5Sfhpa|fQfQgJfQfQfQi~a|fQfQ",
                "height": 64,
                "mediaType": "image/png",
                "name": "marker",
                "url": image,
                "width": 64,
            },
            "attributedTo": actor.id,
            "content": "<p>hello</p>",
            "published": PUBLISHED,
            "sensitive": False,
            "to": "as:Public",
            "url": identity,
        },
    }


def gotosocial_create(actor: Actor, image: str) -> Document:
    """Build GoToSocial's Create: alternative text in `summary`, addressees a lone string."""
    note = mastodon_note(actor)
    note["to"] = PUBLIC
    note["attachment"] = [{"type": "Image", "mediaType": "image/png", "summary": "marker", "url": image}]
    return create(actor, note)


def misskey_create(actor: Actor, image: str) -> Document:
    """Build Misskey's Create: each file says itself whether it is sensitive."""
    note = mastodon_note(actor)
    note["attachment"] = [{"type": "Document", "mediaType": "image/png", "url": image, "sensitive": True}]
    return create(actor, note)


def peertube_create(actor: Actor, *, thumbnail: str, storyboard: str, video: str, playlist: str) -> Document:
    """Build PeerTube's Create: a Video with thumbnails, a storyboard and nested links to files."""
    identity = actor.new_id("videos")
    file = {"type": "Link", "mediaType": "video/mp4", "href": video, "height": 64, "size": 1000, "fps": 25}
    sheet = {"mediaType": "image/jpeg", "href": storyboard, "width": 192, "height": 108}
    return create(
        actor,
        {
            "id": identity,
            "type": "Video",
            "name": "A video",
            "duration": "PT10S",
            "attributedTo": [{"type": "Person", "id": actor.id}],
            "to": [PUBLIC],
            "icon": [{"type": "Image", "url": thumbnail, "mediaType": "image/jpeg", "width": 280}],
            "preview": [{"type": "Image", "rel": ["storyboard"], "url": [sheet]}],
            "url": [
                {"type": "Link", "mediaType": "text/html", "href": identity},
                {
                    "type": "Link",
                    "mediaType": "application/x-mpegURL",
                    "href": playlist,
                    "tag": [file],
                },
            ],
            "published": PUBLISHED,
        },
    )


def actor_update(actor: Actor, *, icon: str, image: str | None = None) -> Document:
    """Build the Update by which an actor changes its avatar and header."""
    document = actor.build_document()
    document["icon"] = {"type": "Image", "mediaType": "image/png", "url": icon}
    if image is not None:
        document["image"] = {"type": "Image", "mediaType": "image/png", "url": image}
    return update(actor, document)
