"""What was signed is cut out of an answer as it stands there, to the byte."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.exchange.envelopes import cut_listing, cut_members, cut_table
from signatures.errors import MalformedError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
SPACES = st.text(" \t\r\n", max_size=3)
TEXTS = st.builds(json.dumps, JSON, ensure_ascii=st.booleans(), indent=st.sampled_from([None, 1]))


def cut_elements(array: str) -> list[str]:
    members, elements = cut_listing(f'{{"before":1,"all":{array},"after":2}}', "all")
    assert members == {"before": "1", "after": "2"}
    return elements


@given(st.lists(TEXTS), SPACES)
def test_the_elements_of_an_array_come_out_as_they_went_in(texts: list[str], space: str) -> None:
    array = f"{space}[{space}" + f"{space},{space}".join(texts) + f"{space}]{space}"
    assert cut_elements(array) == texts


@given(st.dictionaries(st.text(), TEXTS), SPACES)
def test_the_members_of_an_object_come_out_as_they_went_in(members: dict[str, str], space: str) -> None:
    pairs = [f"{json.dumps(name)}{space}:{space}{text}" for name, text in members.items()]
    assert cut_members("{" + f"{space},{space}".join(pairs) + f"{space}}}") == members


@given(st.text() | TEXTS)
def test_anything_else_is_malformed_and_nothing_else_happens(text: str) -> None:
    try:
        cut_members(text)
    except MalformedError:
        return
    assert isinstance(json.loads(text), dict)


@given(st.lists(st.dictionaries(st.text(), TEXTS)))
def test_a_table_is_cut_into_rows_and_cells(rows: list[dict[str, str]]) -> None:
    texts = ["{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in row.items()) + "}" for row in rows]
    assert cut_table('{"rows":[' + ",".join(texts) + "]}", "rows") == ({}, rows)


def test_a_table_that_is_not_there_or_has_other_rows_is_refused() -> None:
    for text in ("{}", '{"rows":1}', '{"rows":[1]}', '{"rows":[{}],"rows":[]}', '{"rows":[{"a":1,"a":1}]}'):
        with pytest.raises(MalformedError):
            cut_table(text, "rows")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "[1",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1]x",
        "[1][2]",
        "[01]",
        "[" * 100_000,
        "[" + "9" * 5_000 + "]",
        "{}",
    ],
)
def test_what_is_no_array_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        cut_elements(text)


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"a"}', '{"a":}', '{"a":1,}', "{1:2}", '{"a":1 "b":2}', '{"a":1,"a":1}', '{"a":1}}', "[]"],
)
def test_what_is_no_object_with_each_name_once_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        cut_members(text)
