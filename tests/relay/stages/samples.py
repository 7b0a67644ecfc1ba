"""Activities in the shapes that servers were seen to send, with invented names and addresses."""

from __future__ import annotations

PUBLIC = "https://www.w3.org/ns/activitystreams#Public"


def create(note: dict, **members: object) -> dict:
    """Wrap an object into the Create that delivers it."""
    return {
        "@context": "https://www.w3.org/ns/activitystreams",
        "id": "https://social.example/users/ada/statuses/1/activity",
        "type": "Create",
        "actor": "https://social.example/users/ada",
        "to": [PUBLIC],
        "cc": ["https://social.example/users/ada/followers"],
        "object": {
            "id": "https://social.example/users/ada/statuses/1",
            "type": "Note",
            "attributedTo": "https://social.example/users/ada",
            "to": [PUBLIC],
            "content": "<p>hello</p>",
            **note,
        },
        **members,
    }


MASTODON = create(
    {
        "url": "https://social.example/@ada/1",
        "attachment": [
            {
                "type": "Document",
                "mediaType": "image/jpeg",
                "url": "https://files.example/media/113/original/c8d906a2.jpg",
                "name": "Two dragons at a pot of gold",
                "blurhash": "USQv:h-W-qI-^,W;RPs=^-R%NZxbo#sDobSc",
                "focalPoint": [0.0, 0.0],
                "width": 1500,
                "height": 1095,
            },
            {
                "type": "Document",
                "mediaType": "audio/mpeg",
                "url": "https://files.example/media/114/original/song",
                "icon": {"type": "Image", "url": "https://files.example/media/114/cover"},
            },
        ],
        "tag": [
            {"type": "Mention", "href": "https://other.example/users/bob.png", "name": "@bob"},
            {"type": "Hashtag", "href": "https://social.example/tags/dragons", "name": "#dragons"},
            {
                "id": "https://social.example/emojis/123",
                "type": "Emoji",
                "name": ":kappa:",
                "icon": {
                    "type": "Image",
                    "mediaType": "image/png",
                    "url": "https://files.example/emoji/kappa",
                },
            },
        ],
    },
)

TAKAHE = {
    "id": "https://takahe.example/@tako/posts/647/#create",
    "type": "Create",
    "actor": "https://takahe.example/@tako@takahe.example/",
    "cc": [],
    "to": "as:Public",
    "object": {
        "id": "https://takahe.example/@tako/posts/647/",
        "type": "Note",
        "to": "as:Public",
        "attachment": {
            "type": "Document",
            "mediaType": "image/webp",
            "url": "https://takahe.example/media/attachments/2026/11/22/9GIc",
        },
        "content": "<p>one attachment is a bare object</p>",
    },
}

GOTOSOCIAL = create(
    {
        "to": PUBLIC,
        "attachment": [
            {
                "mediaType": "image/png",
                "summary": "the alternative text",
                "type": "Image",
                "url": "https://gts.example/fileserver/01NF/attachment/original/01M8",
            },
        ],
    },
)

PIEFED_IMAGE = "https://pie.example/static/media/posts/dP/Eh/dPEh43"
PIEFED = {
    "id": "https://pie.example/activities/announce/Nht7",
    "type": "Announce",
    "actor": "https://pie.example/c/pictures",
    "to": [PUBLIC],
    "object": {
        "id": "https://pie.example/activities/create/mbmq",
        "type": "Create",
        "actor": "https://pie.example/u/pia",
        "object": {
            "id": "https://pie.example/c/pictures/p/2/gradient",
            "type": "Page",
            "attributedTo": "https://pie.example/u/pia",
            "to": ["https://pie.example/c/pictures", PUBLIC],
            "cc": [],
            "tag": [],
            "audience": "https://pie.example/c/pictures",
            "content": f'<p>picture <img alt="alt" loading="lazy" src="{PIEFED_IMAGE}"/></p>\n',
            "mediaType": "text/html",
            "source": {"content": f"picture ![alt]({PIEFED_IMAGE})", "mediaType": "text/markdown"},
            "attachment": [{"type": "Image", "url": PIEFED_IMAGE, "name": "gradient"}],
            "image": {"type": "Image", "url": PIEFED_IMAGE},
        },
    },
}

LEMMY = create(
    {
        "type": "Page",
        "attachment": [
            {"type": "Image", "url": "https://lemmy.example/pictrs/image/eOtY", "mediaType": "image/png"},
            {"type": "Link", "href": "https://news.example/article", "mediaType": "text/html"},
            {"type": "Link", "href": "https://news.example/bare"},
        ],
        "image": {"type": "Image", "url": "https://lemmy.example/pictrs/image/thumb"},
    },
)

PEERTUBE = create(
    {
        "type": "Video",
        "icon": [
            {"type": "Image", "url": "https://tube.example/thumbnails/904e", "mediaType": "image/jpeg"},
            {"type": "Image", "url": "https://tube.example/previews/ef60", "mediaType": "image/jpeg"},
        ],
        "preview": [
            {
                "type": "Image",
                "rel": ["storyboard"],
                "url": [{"mediaType": "image/jpeg", "href": "https://tube.example/storyboards/b94d"}],
            },
        ],
        "url": [
            {"type": "Link", "mediaType": "text/html", "href": "https://tube.example/videos/watch/e794"},
            {
                "type": "Link",
                "mediaType": "application/x-mpegURL",
                "href": "https://tube.example/hls/master",
                "tag": [
                    {
                        "type": "Link",
                        "mediaType": "application/json",
                        "href": "https://tube.example/segments",
                    },
                    {
                        "type": "Link",
                        "mediaType": "video/mp4",
                        "href": "https://tube.example/hls/1080-fragmented",
                    },
                    {
                        "type": "Link",
                        "mediaType": "application/x-bittorrent;x-scheme-handler/magnet",
                        "href": "magnet:?xs=https%3A%2F%2Ftube.example",
                    },
                ],
            },
        ],
    },
)

FUNKWHALE = create(
    {
        "type": "Audio",
        "url": [
            {"type": "Link", "mimeType": "audio/ogg", "href": "https://sound.example/listen/1"},
            {"type": "Link", "mimeType": "text/html", "href": "https://sound.example/library/tracks/1"},
        ],
        "image": {"type": "Image", "mediaType": "image/jpeg", "url": "https://sound.example/covers/1"},
    },
)

MISSKEY = create(
    {
        "_misskey_quote": "https://misskey.example/notes/9.png",
        "attachment": [
            {
                "type": "Document",
                "mediaType": "image/webp",
                "url": "https://misskey.example/files/1",
                "name": "1.webp",
                "sensitive": True,
            },
        ],
    },
)

ARTICLE = create(
    {
        "type": "Article",
        "content": '<figure><img src="https://blog.example/a"><video poster="https://blog.example/p">'
        '<source src="https://blog.example/v"></video><img srcset="https://blog.example/s1 1x,'
        ' https://blog.example/s2 2x"></figure>',
        "image": "https://blog.example/header",
    },
)

ACTOR_UPDATE = {
    "id": "https://social.example/users/ada#updates/1",
    "type": "Update",
    "actor": "https://social.example/users/ada",
    "object": {
        "id": "https://social.example/users/ada",
        "type": "Person",
        "inbox": "https://social.example/users/ada/inbox",
        "icon": {"type": "Image", "mediaType": "image/png", "url": "https://files.example/avatars/1"},
        "image": {"type": "Image", "url": "https://files.example/headers/1"},
        "attachment": [
            {"type": "PropertyValue", "name": "web", "value": '<a href="https://ada.example/">ada</a>'},
            {"type": "Link", "href": "https://ada.example/about", "rel": ["me"]},
        ],
        "tag": [],
    },
}

ANNOUNCE = {
    "id": "https://social.example/users/ada/statuses/2/activity",
    "type": "Announce",
    "actor": "https://social.example/users/ada",
    "to": [PUBLIC],
    "object": "https://other.example/users/bob/statuses/7.jpg",
}

LIKE = {
    "@context": "https://www.w3.org/ns/activitystreams",
    "id": "https://social.example/users/ada#likes/1",
    "type": "Like",
    "actor": "https://social.example/users/ada",
    "object": "https://other.example/users/bob/statuses/7",
}

DELETE = {
    "@context": ["https://www.w3.org/ns/activitystreams", {"ostatus": "http://ostatus.org#"}],
    "id": "https://social.example/users/ada/statuses/1#delete",
    "type": "Delete",
    "actor": "https://social.example/users/ada",
    "to": [PUBLIC],
    "object": {"id": "https://social.example/users/ada/statuses/1", "type": "Tombstone"},
    "signature": {"type": "RsaSignature2017", "creator": "https://social.example/users/ada#main-key"},
}

ALL = {
    "mastodon": MASTODON,
    "takahe": TAKAHE,
    "gotosocial": GOTOSOCIAL,
    "piefed": PIEFED,
    "lemmy": LEMMY,
    "peertube": PEERTUBE,
    "funkwhale": FUNKWHALE,
    "misskey": MISSKEY,
    "article": ARTICLE,
    "actor update": ACTOR_UPDATE,
    "announce": ANNOUNCE,
    "like": LIKE,
    "delete": DELETE,
}
