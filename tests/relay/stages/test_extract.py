from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import MalformedActivityError
from relay.model import Audience, Location
from relay.stages.extract import extract, parse_activity
from tests.relay.stages import samples

L = Location


def found(document: dict) -> list[tuple[str, Location, bool]]:
    return [(r.url, r.location, r.is_declared) for r in extract(document).references]


def urls(document: dict) -> list[str]:
    return [r.url for r in extract(document).references]


def note(**members: object) -> dict:
    return samples.create(dict(members))


# What each server sends.


def test_mastodon_attachments_covers_and_emoji_are_found_in_document_order() -> None:
    assert found(samples.MASTODON) == [
        ("https://files.example/media/113/original/c8d906a2.jpg", L.ATTACHMENT, True),
        ("https://files.example/media/114/original/song", L.ATTACHMENT, True),
        ("https://files.example/media/114/cover", L.THUMBNAIL, True),
        ("https://files.example/emoji/kappa", L.EMOJI, True),
    ]
    assert [r.declared_type for r in extract(samples.MASTODON).references] == [
        "image/jpeg",
        "audio/mpeg",
        None,
        "image/png",
    ]


def test_a_single_attachment_need_not_be_a_list() -> None:
    assert found(samples.TAKAHE) == [
        ("https://takahe.example/media/attachments/2026/11/22/9GIc", L.ATTACHMENT, True),
    ]
    assert extract(samples.TAKAHE).audience is Audience.PUBLIC


def test_addressing_may_be_a_string_and_the_text_may_stand_in_summary() -> None:
    assert extract(samples.GOTOSOCIAL).audience is Audience.PUBLIC
    assert urls(samples.GOTOSOCIAL) == ["https://gts.example/fileserver/01NF/attachment/original/01M8"]


def test_the_same_picture_in_four_places_is_one_reference() -> None:
    assert found(samples.PIEFED) == [(samples.PIEFED_IMAGE, L.CONTENT, True)]


def test_link_posts_are_looked_at_without_being_declared_media() -> None:
    assert found(samples.LEMMY) == [
        ("https://lemmy.example/pictrs/image/eOtY", L.ATTACHMENT, True),
        ("https://news.example/article", L.ATTACHMENT, False),
        ("https://news.example/bare", L.ATTACHMENT, False),
        ("https://lemmy.example/pictrs/image/thumb", L.IMAGE, True),
    ]


def test_thumbnails_storyboards_playlists_and_nested_files_of_a_video_are_found() -> None:
    assert found(samples.PEERTUBE) == [
        ("https://tube.example/thumbnails/904e", L.THUMBNAIL, True),
        ("https://tube.example/previews/ef60", L.THUMBNAIL, True),
        ("https://tube.example/storyboards/b94d", L.PREVIEW, True),
        ("https://tube.example/hls/master", L.VIDEO, True),
        ("https://tube.example/hls/1080-fragmented", L.VIDEO, True),
    ]


def test_mimetype_is_read_as_media_type() -> None:
    references = extract(samples.FUNKWHALE).references
    assert [(r.url, r.declared_type) for r in references] == [
        ("https://sound.example/listen/1", "audio/ogg"),
        ("https://sound.example/covers/1", "image/jpeg"),
    ]


def test_quoted_ids_are_no_media() -> None:
    assert urls(samples.MISSKEY) == ["https://misskey.example/files/1"]


def test_pictures_and_posters_in_article_html_are_found() -> None:
    assert found(samples.ARTICLE) == [
        ("https://blog.example/a", L.CONTENT, True),
        ("https://blog.example/p", L.CONTENT, True),
        ("https://blog.example/v", L.CONTENT, True),
        ("https://blog.example/s1", L.CONTENT, True),
        ("https://blog.example/s2", L.CONTENT, True),
        ("https://blog.example/header", L.IMAGE, True),
    ]


def test_profile_pictures_are_found_and_profile_links_are_not_media() -> None:
    assert found(samples.ACTOR_UPDATE) == [
        ("https://files.example/avatars/1", L.ICON, True),
        ("https://files.example/headers/1", L.IMAGE, True),
    ]
    assert extract(samples.ACTOR_UPDATE).audience is Audience.PUBLIC


@pytest.mark.parametrize("name", ["announce", "like", "delete"])
def test_activities_without_media_have_no_references(name: str) -> None:
    assert urls(samples.ALL[name]) == []


def test_an_emoji_in_a_reaction_is_found() -> None:
    reaction = {
        **samples.LIKE,
        "tag": [{"type": "Emoji", "icon": {"type": "Image", "url": "https://e.example/x"}}],
    }
    assert found(reaction) == [("https://e.example/x", L.EMOJI, True)]


# Shapes of an attachment.


@pytest.mark.parametrize(
    "attachment",
    [
        "https://m.example/x",
        ["https://m.example/x"],
        {"type": "Image", "url": "https://m.example/x"},
        {"type": "Image", "url": ["https://m.example/x"]},
        {"type": "Image", "url": {"type": "Link", "href": "https://m.example/x"}},
        {"type": "Image", "url": [{"type": "Link", "href": "https://m.example/x", "mediaType": "image/png"}]},
        {"type": "Image", "href": "https://m.example/x"},
        {"type": "Link", "href": "https://m.example/x"},
        {"type": ["Image", "Note"], "url": "https://m.example/x"},
        {"type": "Note", "url": "https://m.example/x"},
        {"url": "https://m.example/x"},
        {"@type": "as:Image", "as:url": {"@id": "https://m.example/x"}},
        {
            "@type": ["https://www.w3.org/ns/activitystreams#Image"],
            "as:url": [{"@value": "https://m.example/x"}],
        },
        {"@id": "https://m.example/x"},
        {"@list": [{"type": "Document", "url": "https://m.example/x"}]},
        {"type": "Collection", "items": [{"type": "Image", "url": "https://m.example/x"}]},
        {
            "type": "OrderedCollection",
            "first": {"type": "OrderedCollectionPage", "orderedItems": ["https://m.example/x"]},
        },
        {"type": "Document", "url": "  HTTPS://m.example/x#fragment\n"},
        {"type": "Document", "url": "//m.example/x"},
        {"type": "Document", "url": "https:\\\\m.example/x"},
    ],
)
@pytest.mark.parametrize(
    "key", ["attachment", "as:attachment", "https://www.w3.org/ns/activitystreams#attachment"]
)
def test_every_shape_of_an_attachment_is_found(key: str, attachment: object) -> None:
    references = extract(note(**{key: attachment})).references
    assert [(r.url, r.location) for r in references] == [("https://m.example/x", L.ATTACHMENT)]


def test_a_name_given_by_the_document_itself_hides_nothing() -> None:
    document = note(pics=[{"type": "Pic", "where": "https://m.example/x"}])
    document["@context"] = [
        "https://www.w3.org/ns/activitystreams",
        {"a": "https://www.w3.org/ns/activitystreams#", "pics": "a:attachment", "Pic": "a:Image"},
        {"where": {"@id": "a:url", "@type": "@id"}},
    ]
    assert found(document) == [("https://m.example/x", L.ATTACHMENT, True)]


def test_a_document_cannot_rename_away_the_plain_names() -> None:
    document = note(attachment=[{"type": "Image", "url": "https://m.example/x"}])
    document["@context"] = {"attachment": "as:summary", "url": "as:id", "Image": "as:Note"}
    assert found(document) == [("https://m.example/x", L.ATTACHMENT, True)]


def test_an_inline_picture_is_a_reference_of_its_own() -> None:
    reference = extract(note(attachment={"type": "Image", "url": "data:Image/PNG;base64,AAAA"})).references[0]
    assert (reference.url, reference.location, reference.declared_type) == (
        "data:Image/PNG;base64,AAAA",
        L.INLINE,
        "image/png",
    )


def test_a_later_declaration_of_the_same_address_wins() -> None:
    document = note(
        content='<a href="https://m.example/x.png">see</a>',
        attachment={"type": "Document", "mediaType": "image/png", "url": "https://m.example/x.png"},
    )
    assert found(document) == [("https://m.example/x.png", L.ATTACHMENT, True)]
    assert extract(document).references[0].declared_type == "image/png"


def test_a_declared_digest_is_read_and_a_broken_one_is_ignored() -> None:
    digest = "zQmVm2NjMCsrzFWFRbhQJwHNzZH8gesampoGpZcsSii12VL"
    good = note(attachment={"type": "Image", "url": "https://m.example/x", "digestMultibase": digest})
    bad = note(attachment={"type": "Image", "url": "https://m.example/x", "digestMultibase": "z" * 100_000})
    assert extract(good).references[0].declared_digest is not None
    assert extract(bad).references[0].declared_digest is None


# Strings.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see https://m.example/a.png.", ["https://m.example/a.png"]),
        ("(https://m.example/a_(1).JPG)", ["https://m.example/a_(1).JPG"]),
        (
            "https://m.example/a.png,https://m.example/b.png",
            ["https://m.example/a.png", "https://m.example/b.png"],
        ),
        ("https://m.example/media?format=jpg&name=large", ["https://m.example/media?format=jpg&name=large"]),
        ("https://m.example/page.html https://png.example/ 12:30", []),
        ("![one](https://m.example/a)", ["https://m.example/a"]),
        ("![o [n](x) e](<https://m.example/a> 'title')", ["https://m.example/a"]),
        ("![one][ref]\n\n[ref]: https://m.example/a", ["https://m.example/a"]),
        ("[a link](https://m.example/a)", []),
        ("![](data:image/png;base64,AA==)", ["data:image/png;base64,AA=="]),
        ('<IMG\nSRC = "https://m.example/a">', ["https://m.example/a"]),
        ("<img src='https://m.example/a'/>", ["https://m.example/a"]),
        ("<img/src=https://m.example/a>", ["https://m.example/a"]),
        ("<img =x src=https://m.example/a>", ["https://m.example/a"]),
        ('<img alt=\u00a0"x src=https://m.example/a>', ["https://m.example/a"]),
        ('<!-- <img x="--><img src="https://m.example/a">', ["https://m.example/a"]),
        ('<img src="https&#58;&#x2f;&sol;m.example/a?b&amp;c">', ["https://m.example/a?b&c"]),
        ('<img src="https://m.example/&#99999999999999999999;x">', ["https://m.example/\ufffdx"]),
        ('<img src="/relative.png"><img src="x.png">', []),
        ('<audio src="https://m.example/a"></audio>', ["https://m.example/a"]),
        ('<object data="https://m.example/a"></object>', ["https://m.example/a"]),
        ('<svg><image href="https://m.example/a"/></svg>', ["https://m.example/a"]),
        ('<p style="background:url(https://m.example/a)">', ["https://m.example/a"]),
        (
            '<img srcset="data:audio/mp3;base64,//uQ 1x,https://m.example/a 2x">',
            ["data:audio/mp3;base64,//uQ", "https://m.example/a"],
        ),
        ('<a href="https://m.example/page">', []),
        ("data: the new gold, they say", []),
    ],
)
def test_media_in_text_is_found(text: str, expected: list[str]) -> None:
    assert urls(note(somewhere={"deep": [text]})) == expected


def test_the_names_of_actors_and_objects_are_no_media() -> None:
    picture = "https://m.example/a.png"
    document = note(attributedTo=picture, inReplyTo=picture, to=[samples.PUBLIC, picture], replies=picture)
    assert urls({**document, "actor": picture, "cc": picture, "signature": {"creator": picture}}) == []


def test_embedded_replies_are_examined() -> None:
    replies = {
        "type": "Collection",
        "first": {"items": [{"type": "Note", "attachment": {"url": "https://m.example/x"}}]},
    }
    assert urls(note(replies=replies)) == ["https://m.example/x"]


# Identity, order and addressing.


@pytest.mark.parametrize(
    ("document", "key"),
    [
        (samples.MASTODON, "https://social.example/users/ada/statuses/1"),
        (samples.DELETE, "https://social.example/users/ada/statuses/1"),
        ({**samples.DELETE, "object": "https://social.example/users/ada/statuses/1"},
         "https://social.example/users/ada/statuses/1"),
        (samples.LIKE, samples.LIKE["id"]),
        (samples.ANNOUNCE, samples.ANNOUNCE["id"]),
        ({**samples.LIKE, "type": "Undo", "object": samples.ANNOUNCE}, samples.ANNOUNCE["id"]),
        (samples.PIEFED, "https://pie.example/c/pictures/p/2/gradient"),
        ({"type": "Create", "id": "https://x.example/1", "object": {}}, "https://x.example/1"),
        ({"type": "View"}, ""),
    ],
)  # fmt: skip
def test_deliveries_about_one_object_share_a_chain(document: dict, key: str) -> None:
    assert extract(document).chain_key == key


def test_a_wrapped_update_queues_behind_the_wrapped_create() -> None:
    update = {**samples.PIEFED, "id": "https://pie.example/activities/announce/2"}
    update["object"] = {**samples.PIEFED["object"], "type": "Update"}
    assert extract(update).chain_key == extract(samples.PIEFED).chain_key


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (samples.ANNOUNCE, (samples.ANNOUNCE["object"],)),
        ({**samples.ANNOUNCE, "object": ["https://a.example/1", {"id": "https://a.example/2"}]},
         ("https://a.example/1", "https://a.example/2")),
        ({**samples.LIKE, "type": "Create"}, (samples.LIKE["object"],)),
        ({**samples.ANNOUNCE, "object": {"type": "Note", "id": "https://other.example/1", "content": "x"}},
         ("https://other.example/1",)),
        ({**samples.ANNOUNCE, "object": {"type": "Note", "id": "https://social.example/1", "name": "x"}},
         ("https://social.example/1",)),
        ({**samples.ANNOUNCE, "object": {"type": "Note", "id": "https://social.example/1", "name": "x",
                                         "attributedTo": samples.ANNOUNCE["actor"]}}, ()),
        ({**samples.ANNOUNCE, "object": {"type": "Note", "id": "https://social.example/1", "name": "x",
                                         "attributedTo": "https://social.example/users/other"}},
         ("https://social.example/1",)),
        ({**samples.LIKE, "@type": "Announce"}, (samples.LIKE["object"],)),
        ({**samples.ANNOUNCE, "as:object": "https://a.example/2"},
         (samples.ANNOUNCE["object"], "https://a.example/2")),
        ({**samples.PIEFED, "object": samples.ANNOUNCE}, (samples.ANNOUNCE["object"],)),
        (samples.PIEFED, ()),
        (samples.MASTODON, ()),
        (samples.LIKE, ()),
    ],
)  # fmt: skip
def test_objects_that_the_backend_would_fetch_are_listed(document: dict, expected: tuple[str, ...]) -> None:
    assert extract(document).dereference == expected


BOB = "https://social.example/users/bob"


@pytest.mark.parametrize(
    "document",
    [
        samples.create({"to": [BOB]}),
        samples.create({}, to=[BOB]),
        samples.create({"to": [BOB]}, **{"to": BOB, "cc": BOB, "as:cc": "as:Public"}),
        samples.create({"to": [BOB]}, to={"id": "as:Public"}, cc=[]),
        samples.create(
            {"to": [BOB], "https://www.w3.org/ns/activitystreams#cc": samples.PUBLIC}, to=BOB, cc=[]
        ),
        samples.create({"to": [BOB]}, to=["pub:Public"], cc=[]),
        {**samples.LIKE, "to": samples.PUBLIC},
        samples.LIKE,
        {**samples.ACTOR_UPDATE, "to": BOB, "object": {**samples.ACTOR_UPDATE["object"], "to": BOB}},
        {
            **samples.ANNOUNCE,
            "to": BOB,
            "object": [{"type": "Note", "to": BOB}, {"type": "Note", "cc": "Public"}],
        },
    ],
)
def test_what_any_server_would_show_to_everybody_is_public(document: dict) -> None:
    assert extract(document).audience is Audience.PUBLIC


@pytest.mark.parametrize(
    "document",
    [
        samples.create({"to": [BOB]}, to=[BOB], cc=[]),
        samples.create({"to": []}, to=[BOB], cc=[]),
        samples.create({"to": ["https://social.example/users/ada/followers"]}, to=[], cc=[]),
        samples.create({"to": ["https://social.example/:Public"]}, to=[], cc=[]),
        {**samples.LIKE, "type": "Flag"},
    ],
)
def test_what_says_for_whom_it_is_is_private(document: dict) -> None:
    assert extract(document).audience is Audience.RESTRICTED


def test_an_activity_in_a_graph_is_found() -> None:
    graph = {"@graph": [{"type": "Note", "id": "https://x.example/n"}, samples.MASTODON]}
    activity = extract(graph)
    assert activity.type == "Create"
    assert len(activity.references) == 4


# Hostile documents.


def test_a_body_that_is_no_object_is_refused() -> None:
    for document in (None, [], "x", 3, {}, {"type": 3}, {"@graph": [[]]}):
        with pytest.raises(MalformedActivityError):
            extract(document)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"type":"Like","type":"Create"}',
        b"[" * 5_000 + b"]" * 5_000,
        b'{"a":"' + b"x" * 1_048_576 + b'"}',
    ],
)
def test_a_body_that_cannot_be_examined_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedActivityError):
        parse_activity(body)


def test_numbers_of_any_kind_are_no_reason_to_refuse_an_activity() -> None:
    assert parse_activity(b'{"focalPoint":[0.5,-1e3],"n":123456789012345678901234}') is not None


def test_a_thousand_references_are_admitted_and_more_are_reported() -> None:
    thousand = note(attachment=[{"type": "Image", "url": f"https://m.example/{n}"} for n in range(1_000)])
    assert len(extract(thousand).references) == 1_000
    assert not extract(thousand).is_truncated
    thousand["object"]["attachment"].append({"type": "Image", "url": "https://m.example/one-more"})
    assert len(extract(thousand).references) == 1_000
    assert extract(thousand).is_truncated


def test_repetitions_do_not_count_against_the_limit() -> None:
    repeated = note(attachment=[{"type": "Image", "url": "https://m.example/1"}] * 5_000)
    assert not extract(repeated).is_truncated


def test_too_many_announced_objects_are_reported() -> None:
    activity = extract({**samples.ANNOUNCE, "object": [f"https://a.example/{n}" for n in range(100)]})
    assert activity.is_truncated
    assert len(activity.dereference) == 20


def test_a_document_nested_five_thousand_deep_is_read_to_the_bottom() -> None:
    document: dict = {"type": "Image", "url": "https://m.example/bottom"}
    for _ in range(2_500):
        document = {"type": "Announce", "object": [document], "actor": "https://a.example/"}
    assert urls(document) == ["https://m.example/bottom"]


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "piece",
    [
        "<",
        "<img ",
        "<img src=",
        "<img a='",
        "<img a=\"<img b='",
        "![",
        "![](",
        "](",
        "[a]:",
        "https://x/",
        ")",
        "&#9",
        "data:image/png,",
        ",//",
        "https://x/" + ")" * 8_000 + " ",
        "<img srcset='",
        "url(",
        "\n\n",
        "[",
        "<img" + " " * 99,
    ],
)
def test_a_megabyte_of_anything_is_read_in_bounded_time(piece: str) -> None:
    # The tests' own limit of 20 s is far above the half second that any of these takes and far below what a
    # quadratic reading would need.
    extract(
        note(content="https://x/ data:, " + piece * (1_000_000 // len(piece)) + " ](https://x/ url( ![ &")
    )


def test_markup_that_cannot_be_read_to_the_end_is_reported() -> None:
    assert extract(note(content="https://x/" + "<img src=" * 50_000)).is_truncated


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(
        ["https://m.example/a.png", "<img src=//m.example/x>", "data:image/png,x", "as:Public", "Image"]
    ),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "@context",
                    "@graph",
                    "@id",
                    "@type",
                    "@value",
                    "type",
                    "id",
                    "object",
                    "attachment",
                    "url",
                    "href",
                    "tag",
                    "icon",
                    "items",
                    "first",
                    "to",
                    "actor",
                    "mediaType",
                    "content",
                    "as:image",
                    "digestMultibase",
                ],
            )
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@given(JSON)
def test_any_document_is_extracted_or_refused(document: object) -> None:
    try:
        activity = extract(document)
    except MalformedActivityError:
        return
    assert len({r.url for r in activity.references}) == len(activity.references)
    assert all(r.url.lower().startswith(("http://", "https://", "data:")) for r in activity.references)


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_parsed_or_refused(body: bytes) -> None:
    try:
        parse_activity(body)
    except MalformedActivityError:
        return


@given(st.sampled_from(sorted(samples.ALL)), st.text(max_size=40))
def test_an_added_picture_is_always_found(name: str, key: str) -> None:
    document = json.loads(json.dumps(samples.ALL[name]))
    holder = document["object"] if isinstance(document["object"], dict) else document
    holder.setdefault("x" + key, []).append({"type": "Image", "url": "https://m.example/added"})
    assert "https://m.example/added" in urls(document)
