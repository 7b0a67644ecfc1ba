from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signatures.errors import MalformedError
from signatures.origins import parse_origin, without_fragment


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://a.example", "https://a.example"),
        ("https://a.example/x?y#z", "https://a.example"),
        ("https://a.example:8443/", "https://a.example:8443"),
        ("https://[2001:db8::1]/", "https://[2001:db8::1]"),
        ("https://xn--bcher-kva.example/#z6Mk", "https://xn--bcher-kva.example"),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: str) -> None:
    assert parse_origin(url) == origin


def test_http_is_for_the_caller_to_allow() -> None:
    assert parse_origin("http://127.0.0.1:8080/a", allow_http=True) == "http://127.0.0.1:8080"
    with pytest.raises(MalformedError):
        parse_origin("http://127.0.0.1:8080/a")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.example",
        "//a.example/",
        "ftp://a.example/",
        "https:///x",
        "https://",
        "https://A.example/",
        "HTTPS://a.example/",
        "https://a.example:443/",
        "https://a.example:0/",
        "https://a.example:080/",
        "https://a.example:/",
        "https://user@a.example/",
        "https://a.example@b.example/",
        "https://a.example\\@b.example/",
        "https://a.example/ x",
        "https://a.example/x\n",
        "https://a.example/\u00e9",
        "https://b\u00fccher.example/",
        "https://a..example/",
        "https://.example/",
        "https://a.example./",
        "https://a.example?x",
        'https://a.example/"',
        "https://a.example/" + "x" * 2_048,
        None,
        ["https://a.example/"],
    ],
)
def test_what_two_readers_could_read_differently_is_malformed(url: object) -> None:
    with pytest.raises(MalformedError):
        parse_origin(url)


@given(st.text(max_size=40))
def test_parsing_origins_is_total(text: str) -> None:
    for url in (text, f"https://{text}", f"https://a.example{text}"):
        try:
            origin = parse_origin(url)
        except MalformedError:
            continue
        assert url.startswith(origin)


def test_a_key_lies_in_the_document_before_the_fragment() -> None:
    assert without_fragment("https://a.example/actor#main-key") == "https://a.example/actor"
    assert without_fragment("https://a.example/actor/main-key") == "https://a.example/actor/main-key"
