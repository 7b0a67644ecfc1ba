from __future__ import annotations

import contextlib
from ipaddress import ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from relay.tools.urls import (
    MAX_URL_CHARACTERS,
    FetchUrl,
    MalformedUrlError,
    is_same_origin,
    parse_redirect,
    parse_url,
)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("https://example.org", "https://example.org/"),
        ("HTTPS://EXAMPLE.org:443/A?b#c", "https://example.org/A?b"),
        ("http://example.org:8080/", "http://example.org:8080/"),
        ("https://example.org:/x", "https://example.org/x"),
        ("https://example.org?x=/@", "https://example.org/?x=/@"),
        ("https://example.org/a?", "https://example.org/a"),
        ("https://example.org/a b/ü", "https://example.org/a%20b/%C3%BC"),
        ("https://example.org/%2e%2E/%zz//x/../y", "https://example.org/%2e%2E/%zz//x/../y"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
        ("https://93.184.215.14/x", "https://93.184.215.14/x"),
        ("https://[2A00:0:0::1]:8443/x", "https://[2a00::1]:8443/x"),
        ("https://my_host.example.org/", "https://my_host.example.org/"),
        ("https://1.example/", "https://1.example/"),
    ],
)
def test_a_url_is_read_as_one_thing(text: str, read: str) -> None:
    assert str(parse_url(text)) == read


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.org/x",
        "//example.org/x",
        "ftp://example.org/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https:/example.org/",
        "https:example.org/",
        "https:///x",
        "https://:443/",
        "https://user@example.org/",
        "https://user:secret@example.org/",
        "https://example.org@/",
        "https://example.org\\@evil.example/",
        "https://example.org/a\\b",
        "https://exa\tmple.org/",
        "https://example.org/\n",
        "https://example.org/\r\nHost: x",
        "https://example.org/\x00",
        "https://example.org/\x7f",
        "https://example.org/\x85",
        " https://example.org/",
        "https://example .org/",
        "https://example.org:0/",
        "https://example.org:65536/",
        "https://example.org:999999/",
        "https://example.org:-1/",
        "https://example.org:٤٤٣/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.0.0.1/",
        "https://017700000001/",
        "https://127.1/",
        "https://127.0.0.01/",
        "https://127.0.0.1./",
        "https://127.0.0.256/",
        "https://1.2.3.4.5/",
        "https://example.0x10/",
        "https://\uff11\uff12\uff17.0.0.1/",
        "https://127。0。0。1/",
        "https://①②⑦.0.0.1/",
        "https://[::1%25eth0]/",
        "https://[fe80::1%eth0]/",
        "https://[::1/",
        "https://::1/",
        "https://[127.0.0.1]/",
        "https://[]/",
        "https://example.org./",
        "https://a..b/",
        "https://.example.org/",
        "https://-a.example/",
        "https://" + "a" * 64 + ".example/",
        "https://" + "a." * 127 + "example/",
        "https://exam%70le.org/",
        "https://exa_mple.org:443:443/",
        "https://\u202eexample.org/",
        "https://\ud800.example/",
        "https://example.org/\ud800",
        "https://example.org/" + "a" * MAX_URL_CHARACTERS,
    ],
)
def test_what_programs_read_differently_is_refused(text: str) -> None:
    with pytest.raises(MalformedUrlError):
        parse_url(text)


@given(st.text())
@example("https://\u200d.example/")
@example("https://ab--c.example/")
@example("https://[::ffff:1.2.3.4]/")
def test_any_text_is_a_url_or_malformed(text: str) -> None:
    for candidate in (text, "https://" + text, "https://example.org/" + text, "http://[" + text):
        with contextlib.suppress(MalformedUrlError):
            _require_sound(parse_url(candidate))


@given(st.text(alphabet="htps:/?#[]@\\.%127x0eé。 \u06f1-_", max_size=40))
def test_any_text_of_telling_characters_is_a_url_or_malformed(text: str) -> None:
    with contextlib.suppress(MalformedUrlError):
        _require_sound(parse_url("http://" + text))
    with contextlib.suppress(MalformedUrlError):
        _require_sound(parse_redirect(parse_url("https://example.org/a/b?c"), text))


def _require_sound(url: FetchUrl) -> None:
    # What was written is read as the same thing again, by us and by the library that dials it.
    assert parse_url(str(url)) == url
    seen = URL(str(url), encoded=True)
    assert (seen.scheme, seen.raw_host, seen.port) == url.origin
    assert seen.raw_path_qs == url.target
    assert seen.raw_user is None
    assert str(url).isascii()
    assert not any(character.isspace() for character in str(url))


@given(st.ip_addresses())
def test_a_literal_address_is_told_from_a_name(address: object) -> None:
    host = f"[{address}]" if ":" in str(address) else str(address)
    assert parse_url(f"https://{host}/").address == ip_address(str(address))
    assert parse_url("https://4.example/").address is None


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/x", "https://example.org/x"),
        ("x", "https://example.org/a/x"),
        ("?x", "https://example.org/a/b?x"),
        ("//other.example/x", "https://other.example/x"),
        ("http://other.example/x", "http://other.example/x"),
        ("", "https://example.org/a/b"),
    ],
)
def test_a_redirect_is_read_against_the_url_that_was_asked_for(location: str, target: str) -> None:
    assert str(parse_redirect(parse_url("https://example.org/a/b"), location)) == target


def test_origins_are_scheme_host_and_port() -> None:
    assert is_same_origin("https://Example.org/a", "https://example.org:443/b#c")
    assert not is_same_origin("https://example.org/", "http://example.org/")
    assert not is_same_origin("https://example.org/", "https://example.org:8443/")
    assert not is_same_origin("https://example.org/", "https://example.org.evil.example/")
    assert not is_same_origin("not a url", "not a url")
