"""What Mastodon's webhook says is read wholly or refused in words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.tools.statuses import (
    MAX_MEDIA,
    MalformedStatusError,
    Status,
    build_payload,
    parse_event,
    read_payload,
)
from tests.fediverse.webhooks import attachment, event, status

MAX_BYTES = 1_000_000


def read(document: object) -> Status | None:
    return parse_event(json.dumps(document).encode(), max_bytes=MAX_BYTES)


def test_a_post_is_read_with_every_file_and_every_preview_once() -> None:
    found = read(event(status(media=[attachment("a"), attachment("a"), attachment("b", preview=False)])))
    assert found == Status(
        id="103254962155278888",
        uri="https://home.example/users/ada/statuses/103254962155278888",
        actor="https://home.example/users/ada",
        edited_at="",
        is_public=True,
        media=(
            "https://files.home.example/original/a.png",
            "https://files.home.example/small/a.png",
            "https://files.home.example/original/b.png",
        ),
    )


@pytest.mark.parametrize(
    ("visibility", "is_public"),
    [("public", True), ("unlisted", True), ("private", False), ("direct", False), ("new", False)],
)
def test_only_what_everybody_may_see_is_public(visibility: str, *, is_public: bool) -> None:
    found = read(event(status(visibility=visibility)))
    assert found is not None
    assert found.is_public is is_public


@pytest.mark.parametrize(
    "document",
    [
        event(status(), name="account.created"),
        event({"id": "9"}, name="report.created"),
        event(status(media=[])),
        event(status(media=[{**attachment("a"), "remote_url": "https://far.example/a.png"}])),
        event({**status(), "reblog": status()}),
        {"event": "new.event"},
        {},
    ],
    ids=["an account", "a report", "no media", "a copy of another's", "a boost", "unknown", "empty"],
)
def test_what_tells_of_no_upload_is_left_alone(document: object) -> None:
    assert read(document) is None


def test_an_edit_is_another_look() -> None:
    before, after = read(event(status())), read(event(status(edited_at="2026-11-22T08:00:00.000Z")))
    assert before is not None
    assert after is not None
    assert before.name != after.name


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'{"event":"status.created","event":"status.created"}',
        b'{"event":"status.created"}',
        b'{"event":"status.created","object":[]}',
        json.dumps(event({**status(), "media_attachments": {}})).encode(),
        json.dumps(event({**status(), "media_attachments": ["x"]})).encode(),
        json.dumps(event({**status(), "id": 7})).encode(),
        json.dumps(event({**status(), "uri": None})).encode(),
        json.dumps(event(status(media=[{**attachment("a"), "url": "x" * 9_000}]))).encode(),
        json.dumps(event(status(media=[attachment(str(number)) for number in range(MAX_MEDIA)]))).encode(),
        b'{"a":' * 40 + b"1" + b"}" * 40,
    ],
    ids=[
        "nothing",
        "a list",
        "null",
        "a member twice",
        "no object",
        "an object that is none",
        "attachments that are no list",
        "an attachment that is no object",
        "a number for an id",
        "no uri",
        "an endless address",
        "too many files",
        "too deep",
    ],
)
def test_what_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedStatusError):
        parse_event(body, max_bytes=MAX_BYTES)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(
    name=st.sampled_from(["status.created", "x"]),
    key=st.sampled_from(sorted(status())),
    value=json_values,
)
def test_any_value_anywhere_is_read_or_refused(name: str, key: str, value: Any) -> None:
    for document in (event({**status(), key: value}, name=name), event(value), value):
        try:
            found = read(document)
        except MalformedStatusError:
            continue
        assert found is None or read_payload(build_payload(found)) == found


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        parse_event(body, max_bytes=MAX_BYTES)
    except MalformedStatusError:
        return


@pytest.mark.parametrize("payload", [{}, {"id": "1"}, {**dict.fromkeys(("id", "uri", "actor")), "media": 3}])
def test_a_payload_that_is_none_of_ours_is_refused(payload: dict[str, Any]) -> None:
    with pytest.raises(MalformedStatusError):
        read_payload(payload)
