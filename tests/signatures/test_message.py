from __future__ import annotations

import pytest

from signatures.errors import MalformedError
from signatures.message import (
    find_header,
    header_values,
    normal_authority,
    require_coverable,
    without_headers,
)
from tests.signatures.support import post

_HEADERS = (("Accept", "a"), ("ACCEPT", "\t b "), ("Host", "x"))


def test_values_come_in_order_and_without_outer_blanks() -> None:
    assert header_values(_HEADERS, "accept") == ("a", "b")
    assert header_values(_HEADERS, "date") == ()


def test_one_line_is_found_and_several_are_malformed() -> None:
    assert find_header(_HEADERS, "HOST") == "x"
    assert find_header(_HEADERS, "date") is None
    with pytest.raises(MalformedError):
        find_header(_HEADERS, "accept")


def test_lines_are_left_out_by_name() -> None:
    assert without_headers(_HEADERS, "accept") == (("Host", "x"),)


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\x00", "\x7f", "\u00e9", "\u2028"])
def test_no_line_of_a_signature_base_can_be_forged(value: str) -> None:
    with pytest.raises(MalformedError):
        require_coverable("x", value)


@pytest.mark.parametrize(
    ("scheme", "authority", "expected"),
    [
        ("https", "A.example:443", "a.example"),
        ("http", "a.example:80", "a.example"),
        ("https", "a.example:80", "a.example:80"),
        ("https", "a.example:8443", "a.example:8443"),
        ("https", "[::1]:443", "[::1]"),
    ],
)
def test_the_default_port_and_the_case_of_a_host_have_no_meaning(
    scheme: str, authority: str, expected: str
) -> None:
    assert normal_authority(scheme, authority) == expected


def test_a_target_falls_into_path_and_query() -> None:
    assert (post(target="/a?b?c").path, post(target="/a?b?c").query) == ("/a", "b?c")
    assert (post(target="/a?").path, post(target="/a?").query) == ("/a", "")
    assert post(target="/a").query is None
