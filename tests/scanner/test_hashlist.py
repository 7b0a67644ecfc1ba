"""What a hash list promises: taken whole or refused whole, compact, updated without losing anything."""

import base64
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.degenerate import is_degenerate
from scanner.hashlist import (
    HashEntry,
    HashKind,
    HashList,
    HashListError,
    HashTable,
    ListFormat,
    build_update,
    parse_hash_list,
)
from scanner.labels import Category

SHA256 = bytes(range(32))
SHA1 = bytes(range(100, 120))
MD5 = bytes(range(200, 216))
PDQ = bytes.fromhex("f8f8f0cee0f4a84f06370a22038f63f0b36e2ed596621e1d33e6b39c4e9c9b22")

entries = st.builds(
    lambda kind, data: HashEntry(kind=kind, value=data[: kind.width]),
    st.sampled_from(list(HashKind)),
    st.binary(min_size=32, max_size=32),
)


def table(*values: tuple[HashKind, bytes]) -> HashTable:
    return HashTable.from_entries(HashEntry(kind=kind, value=value) for kind, value in values)


def keys(some: HashTable) -> set[tuple[HashKind, bytes]]:
    return {(entry.kind, entry.value) for entry in some.entries()}


ALL_KINDS = {
    (HashKind.SHA256, SHA256),
    (HashKind.SHA1, SHA1),
    (HashKind.MD5, MD5),
    (HashKind.PDQ, PDQ),
}


@pytest.mark.parametrize(
    ("data", "list_format"),
    [
        (
            f"hash,type\n{SHA256.hex()},sha256\n{SHA1.hex().upper()},SHA1\n{MD5.hex()},HASH_MD5\n{PDQ.hex()},pdq\n",
            "csv",
        ),
        (
            f"# a comment\nname;sha256;sha1;md5;pdq\nx;{SHA256.hex()};{SHA1.hex()};{MD5.hex()};{PDQ.hex()}\n",
            "csv",
        ),
        (
            (
                f"signal_type\tindicator\r\nsha256\t{base64.b64encode(SHA256).decode()}\r\nsha1\t{SHA1.hex()}\r\n"
                f"md5\t{base64.urlsafe_b64encode(MD5).decode().rstrip('=')}\r\npdq\t{PDQ.hex()}\r\n"
            ),
            "csv",
        ),
        (
            json.dumps(
                [
                    f"sha256:{SHA256.hex()}",
                    {"hash": SHA1.hex(), "type": "sha1"},
                    {"md5": MD5.hex(), "pdq": PDQ.hex()},
                ]
            ),
            "json",
        ),
        (
            (
                f"# list\nsha256:{SHA256.hex()}\n\n{SHA1.hex()} # no kind needed\n{MD5.hex()}\n"
                f"pdq:{int.from_bytes(PDQ, 'big'):0256b}\n"
            ),
            "text",
        ),
    ],
)
def test_every_accepted_form_says_the_same(data: str, list_format: str) -> None:
    parsed = parse_hash_list(b"\xef\xbb\xbf" + data.encode(), list_format)
    assert keys(parsed.listed) == ALL_KINDS
    assert len(parsed.withdrawn) == 0


@pytest.mark.parametrize(
    ("data", "list_format"),
    [
        (f"hash,type,id,status\n{PDQ.hex()},pdq,A7,active\n{MD5.hex()},md5,B8,Withdrawn\n", "csv"),
        (f"hash,type,id,withdrawn\n{PDQ.hex()},pdq,A7,no\n{MD5.hex()},md5,B8,true\n", "csv"),
        (json.dumps({"entries": [{"pdq": PDQ.hex(), "id": "A7"}], "withdrawn": [MD5.hex()]}), "json"),
        (json.dumps([{"pdq": PDQ.hex(), "id": "A7"}, {"md5": MD5.hex(), "withdrawn": True}]), "json"),
    ],
)
def test_ids_and_withdrawals_are_kept_apart_from_the_listed(data: str, list_format: str) -> None:
    parsed = parse_hash_list(data.encode(), list_format)
    assert keys(parsed.listed) == {(HashKind.PDQ, PDQ)}
    assert keys(parsed.withdrawn) == {(HashKind.MD5, MD5)}
    assert dict(parsed.ids) == {(HashKind.PDQ, PDQ): "A7"}


def test_text_can_withdraw_and_take_a_default_kind() -> None:
    parsed = parse_hash_list(
        f"{SHA256.hex()}\nwithdrawn {PDQ.hex()}\n".encode(), "text", default_kind=HashKind.PDQ
    )
    assert keys(parsed.listed) == {(HashKind.PDQ, SHA256)}
    assert keys(parsed.withdrawn) == {(HashKind.PDQ, PDQ)}


def test_a_partly_bad_file_is_refused_whole_and_says_where() -> None:
    lines = [f"md5:{value:032x}" for value in range(100)]
    for bad in (6, 40, 41, 60, 70, 80, 90):
        lines[bad] = "md5:" + "q" * 32
    with pytest.raises(HashListError) as caught:
        parse_hash_list("\n".join(lines).encode(), "text")
    assert caught.value.bad_lines == 7
    assert [fault.line for fault in caught.value.faults] == [7, 41, 42, 61, 71]
    assert "7 lines" in str(caught.value)
    assert "line 7:" in str(caught.value)
    assert "Nothing was imported" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "list_format", "word"),
    [
        (b"", "csv", "empty"),
        (b"", "text", "no hashes"),
        (b"\xff\xfe", "text", "UTF-8"),
        (b"{", "json", "JSON"),
        (b'{"entries": 3}', "json", "array"),
        (b'{"entries": [], "entries": []}', "json", "JSON"),
        (b"[NaN]", "json", "JSON"),
        (b"[" * 100_000, "json", "JSON"),
        (b"[[1]]", "json", "string or an object"),
        (b'[{"hash": ["x"], "type": "md5"}]', "json", "must be a string"),
        (b"deadbeef,1\n", "csv", "name its columns"),
        (b"hash,value\n1,2\n", "csv", "mean the same"),
        (b'hash,type\n"abc\n', "csv", "not CSV"),
        (b"hash,type\nabc\n", "csv", "1 columns"),
        (b"hash,type,status\n" + MD5.hex().encode() + b",md5,maybe\n", "csv", "status"),
        (b"hash,type\n" + MD5.hex().encode() + b",blake3\n", "csv", "type is not known"),
        (b"hash,type\n,md5\n", "csv", "missing"),
        (PDQ.hex().encode(), "text", "SHA-256 or PDQ"),
        (b"md5:" + SHA1.hex().encode(), "text", "no md5"),
        (MD5.hex().encode() + b" picture.jpg", "text", "more than one"),
        (b"x", "xml", "csv, json, text"),
        (
            b"\n".join([b"md5:" + MD5.hex().encode(), b"withdrawn md5:" + MD5.hex().encode()]),
            "text",
            "both listed and withdrawn",
        ),
    ],
)
def test_what_is_wrong_is_said(data: bytes, list_format: str, word: str) -> None:
    with pytest.raises(HashListError, match=r"\w") as caught:
        parse_hash_list(data, list_format)
    assert word in str(caught.value)


def test_an_error_never_repeats_a_value() -> None:
    secret = PDQ.hex()
    for data, list_format in (
        (f"hash,type\n{secret}0,pdq\n{secret},{secret}\n{secret}\n", "csv"),
        (f"{secret} {secret}\nsha1:{secret}\n{secret}:{secret}\n", "text"),
        (json.dumps([{"hash": secret, "type": secret}, {"hash": [secret]}, {secret: 1}]), "json"),
        (json.dumps({secret: 1}) + secret, "json"),
    ):
        with pytest.raises(HashListError) as caught:
            parse_hash_list(data.encode(), list_format)
        assert secret[:12] not in str(caught.value)
        assert secret[:12] not in repr(caught.value.faults)


def test_a_value_in_the_place_of_a_key_is_not_noted_as_a_column() -> None:
    parsed = parse_hash_list(json.dumps([{"md5": MD5.hex(), SHA1.hex(): 1, "tags": "x"}]).encode(), "json")
    assert parsed.ignored_columns == ("tags",)


def test_placeholders_are_left_out_and_counted() -> None:
    data = f"pdq:{'0' * 64}\npdq:{'f' * 64}\npdq:{PDQ.hex()}\npdq:{PDQ.hex()}\n"
    parsed = parse_hash_list(data.encode(), "text")
    assert keys(parsed.listed) == {(HashKind.PDQ, PDQ)}
    assert (parsed.placeholders, parsed.repeated) == (2, 1)


@given(data=st.binary(max_size=400), list_format=st.sampled_from(list(ListFormat)))
def test_parsing_is_total(data: bytes, list_format: ListFormat) -> None:
    try:
        parse_hash_list(data, list_format)
    except HashListError as error:
        assert str(error)  # noqa: PT017 - either outcome is allowed; nothing else may be raised


@given(
    rows=st.lists(
        st.lists(
            st.sampled_from([MD5.hex(), "md5", "hash", "type", "id", "status", "", "#", '"', "withdrawn"])
        ),
        max_size=6,
    ),
    list_format=st.sampled_from([ListFormat.CSV, ListFormat.TEXT]),
)
def test_parsing_is_total_on_near_lists(rows: list[list[str]], list_format: ListFormat) -> None:
    try:
        parse_hash_list("\n".join(",".join(row) for row in rows).encode(), list_format)
    except HashListError as error:
        assert str(error)  # noqa: PT017 - either outcome is allowed; nothing else may be raised


@given(st.lists(entries, min_size=1, max_size=40))
def test_what_is_written_is_read_again(listed: list[HashEntry]) -> None:
    # A video is written as its frames, which `test_listvideos` reads.
    hashes = [entry for entry in listed if entry.kind is not HashKind.VPDQ]
    data = json.dumps([{"type": entry.kind, "hash": entry.value.hex()} for entry in hashes]).encode()
    usable = {
        (entry.kind, entry.value)
        for entry in hashes
        if entry.kind is not HashKind.PDQ or not is_degenerate(entry.value)
    }
    if usable:
        assert keys(parse_hash_list(data, "json").listed) == usable


@given(st.lists(entries, max_size=40), st.lists(entries, max_size=40))
def test_tables_behave_as_sets(left: list[HashEntry], right: list[HashEntry]) -> None:
    one, other = HashTable.from_entries(left), HashTable.from_entries(right + left[:5])
    assert keys(one.union(other)) == keys(one) | keys(other)
    assert keys(one.minus(other)) == keys(one) - keys(other)
    assert len(one) == len(keys(one))
    for kind, rows in one.rows.items():
        listed = [row.tobytes() for row in rows]
        assert listed == sorted(set(listed))
        assert rows.shape[1] == kind.width
        assert not rows.flags.writeable


@given(st.lists(entries, min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_the_digest_depends_on_the_contents_alone(listed: list[HashEntry], chance: object) -> None:
    digest = HashTable.from_entries(listed).digest()
    assert HashTable.from_entries([*reversed(listed), listed[0]]).digest() == digest
    assert HashTable.from_entries(listed).minus(HashTable.from_entries(listed[:1])).digest() != digest


def test_kinds_of_the_same_width_are_not_confused() -> None:
    assert table((HashKind.SHA256, PDQ)).digest() != table((HashKind.PDQ, PDQ)).digest()
    assert len(table((HashKind.SHA256, PDQ)).minus(table((HashKind.PDQ, PDQ)))) == 1


def test_an_update_counts_what_it_adds_keeps_and_withdraws() -> None:
    current = table((HashKind.MD5, MD5), (HashKind.SHA1, SHA1))
    listed = table((HashKind.PDQ, PDQ), (HashKind.MD5, MD5))
    partial = build_update(current, listed=listed, withdrawn=table((HashKind.SHA1, SHA1)), is_complete=False)
    assert (partial.added, partial.kept, partial.withdrawn) == (1, 1, 1)
    assert keys(partial.table) == keys(listed)
    additive = build_update(current, listed=listed, withdrawn=table(), is_complete=False)
    assert (additive.added, additive.kept, additive.withdrawn) == (1, 2, 0)
    snapshot = build_update(current, listed=listed, withdrawn=table(), is_complete=True)
    assert (snapshot.added, snapshot.kept, snapshot.withdrawn) == (1, 1, 1)
    assert snapshot.table.digest() == partial.table.digest()


def test_the_state_names_all_that_decides_and_no_hash() -> None:
    some = HashList.of(
        name="block",
        version="7",
        category=Category.SPAM,
        entries=[HashEntry(kind=HashKind.PDQ, value=PDQ)],
        distance=20,
    )
    assert json.loads(json.dumps(some.state)) == some.state
    assert some.state["digest"] == some.table.digest().hex()
    assert some.state["distance"] == 20
    assert PDQ.hex() not in json.dumps(some.state)


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"version": ""}, {"distance": 256}, {"distance": -1}, {"min_quality": 101}]
)
def test_a_list_with_wrong_parameters_is_not_built(wrong: dict[str, object]) -> None:
    right: dict[str, object] = {"name": "x", "version": "1", "category": Category.SPAM, "entries": []}
    with pytest.raises(ValueError, match="list"):
        HashList.of(**(right | wrong))  # type: ignore[arg-type]  # the wrong types are the point


def test_a_value_of_the_wrong_length_is_not_taken() -> None:
    with pytest.raises(ValueError, match="20 bytes"):
        table((HashKind.SHA1, MD5))
    with pytest.raises(ValueError, match=r"uint8 \[N, 16\]"):
        HashTable.from_rows({HashKind.MD5: np.zeros((3, 20), dtype=np.uint8)})
