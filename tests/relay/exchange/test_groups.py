"""Subdomains are no further voices."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.exchange.groups import guess_trust_group

LABELS = st.lists(st.sampled_from(["a", "b", "c1", "relay", "www"]), max_size=4)


@pytest.mark.parametrize(
    ("host", "group"),
    [
        ("relay.example", "relay.example"),
        ("a.b.relay.example", "relay.example"),
        ("relay.example.co.uk", "example.co.uk"),
        ("example.co.uk", "example.co.uk"),
        ("a.com.au", "a.com.au"),
        ("co.uk", "co.uk"),
        ("social.mastodon.de", "mastodon.de"),
        ("localhost", "localhost"),
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("[2001:db8::1]", "[2001:db8::1]"),
    ],
)
def test_a_group_is_the_registrable_domain(host: str, group: str) -> None:
    assert guess_trust_group(f"https://{host}/actor") == group


@given(labels=LABELS, domain=st.sampled_from(["one.example", "two.co.uk", "three.org"]))
def test_no_subdomain_makes_another_group(labels: list[str], domain: str) -> None:
    assert guess_trust_group(f"https://{'.'.join([*labels, domain])}/actor") == domain
