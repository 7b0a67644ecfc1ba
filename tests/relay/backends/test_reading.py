"""Other servers' documents are read whatever their shape; their words are kept only where they are words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.backends.abilities import ObjectKind, Resolved
from relay.backends.api import find_code
from relay.backends.reading import Json, dig, dig_id, dig_name, dig_text, first, is_same, iterate, shares_host
from relay.backends.views import is_admin, read_report_number, read_view

NAMES = st.sampled_from(
    ["post", "comment", "person", "community", "creator", "results", "id", "ap_id", "error"]
)
DOCUMENTS: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("https://far.example/1"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)


@given(DOCUMENTS)
def test_any_document_is_read(document: Json) -> None:
    found = read_view("https://far.example/1", document)
    assert found is None or found.local_id.isdecimal()
    assert isinstance(is_admin(document, "7"), bool)
    assert isinstance(read_report_number(document), str)
    assert isinstance(find_code(document), str)


@given(st.text(), st.text())
def test_any_two_texts_are_compared(one: str, other: str) -> None:
    assert is_same(one, one) is bool(one)
    assert isinstance(shares_host(one, other), bool)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("108", "108"),
        (108, "108"),
        ("01F8MH1H7YV1Z7D2C8K2730QBF", "01F8MH1H7YV1Z7D2C8K2730QBF"),
        (True, ""),
        (1.5, ""),
        (None, ""),
        ("", ""),
        ("../admin", ""),
        ("1/action?x=", ""),
        ("1\n", ""),
        ("٣", ""),
        ("9" * 65, ""),
    ],
)
def test_an_id_is_what_may_stand_in_a_path(value: Json, found: str) -> None:
    assert dig_id({"a": {"id": value}}, "a", "id") == found


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"error": "couldnt_find_post"}, "couldnt_find_post"),
        ({"error": {"code": "NO_SUCH_NOTE", "message": "No such note."}}, "NO_SUCH_NOTE"),
        ({"code": 400, "message": "incorrect_login", "status": "Bad Request"}, "incorrect_login"),
        ({"msg": "Invalid API Key", "code": "invalid-api-token"}, "invalid-api-token"),
        ({"error": "cannot fetch https://far.example/a.png"}, ""),
        ({"error": "x" * 101}, ""),
        ({"error": "a\nb"}, ""),
        ([], ""),
    ],
)
def test_a_servers_own_word_is_kept_where_it_is_one(answer: Json, code: str) -> None:
    assert find_code(answer) == code


def test_what_is_not_there_is_nothing() -> None:
    assert dig({"a": []}, "a", "b") is None
    assert dig_text({"a": 7}, "a") == ""
    assert first({"a": [7, None]}, "a") is None
    assert list(iterate({"a": "word"}, "a")) == []


def test_a_name_is_one_line() -> None:
    assert dig_name({"a": "bot\n\x1b[2J" + "x" * 300}, "a") == ("bot[2J" + "x" * 300)[:200]


@pytest.mark.parametrize(
    ("asked", "given", "same"),
    [
        ("https://far.example/1", ("https://far.example/1",), True),
        ("https://far.example/1/", ("https://far.example/1#main",), True),
        ("https://far.example/1", ("", "https://far.example/1"), True),
        ("https://far.example/1", ("https://far.example/2",), False),
        ("https://far.example/1", ("",), False),
        ("https://far.example/1", (), False),
    ],
)
def test_an_address_is_the_same_as_itself_only(asked: str, given: tuple[str, ...], *, same: bool) -> None:
    assert is_same(asked, *given) is same


def test_a_comment_is_read_before_the_post_that_it_stands_under() -> None:
    view: Json = {
        "comment": {"id": 2, "ap_id": "https://far.example/comment/2"},
        "post": {"id": 1, "ap_id": "https://far.example/post/1"},
        "creator": {"id": 7},
    }
    wanted = Resolved(kind=ObjectKind.COMMENT, local_id="2", account_id="7")
    assert read_view("https://far.example/comment/2", view) == wanted
    assert read_view("https://far.example/comment/2", {"comment": view}) == wanted
    assert read_view("https://far.example/post/1", view) is None
