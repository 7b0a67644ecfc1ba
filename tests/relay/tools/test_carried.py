"""Attestations beside the bytes of media and within activities: what is handed on, and what is not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.model import Media
from relay.tools.carried import NOTHING, Carried, find_carried, read_inline
from relay.tools.fetching import GuardedClient, open_guarded_client
from signatures.attestation import parse_attestation, verify_attestation
from signatures.fields import ATTESTATION_HEADER, MAX_FIELD_CHARS, build_attestation_field
from signatures.jcs import canonicalize
from signatures.objects import MAX_OBJECT_BYTES
from signatures.strictjson import parse_json
from tests.fediverse import FrozenClock, Origin
from tests.fediverse import behaviours as do
from tests.signatures.support import NOW
from tests.signatures.test_attestation import ISSUER, build

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.tools.policy import FetchPolicy

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@pytest.fixture
async def client(policy: FetchPolicy, clock: FrozenClock) -> AsyncIterator[GuardedClient]:
    async with open_guarded_client(policy, clock) as opened:
        yield opened


@given(st.binary(min_size=1, max_size=MAX_OBJECT_BYTES))
def test_whatever_bytes_the_header_holds_are_handed_on_as_they_are(data: bytes) -> None:
    headers = (("Content-Type", "image/png"), (ATTESTATION_HEADER.lower(), build_attestation_field(data)))
    assert find_carried(headers) == Carried(attestation=data)


@pytest.mark.parametrize(
    "values",
    [("",), ("AAAA",), (":AAA:",), ("::",), (":" + "A" * MAX_FIELD_CHARS + ":",), (":AAAA:", ":AAAA:")],
)
def test_a_header_that_cannot_be_read_counts_as_none_and_is_noticed(values: tuple[str, ...]) -> None:
    found = find_carried(tuple((ATTESTATION_HEADER, value) for value in values))
    assert found == Carried(is_malformed=True)


def test_most_responses_carry_nothing() -> None:
    assert find_carried((("Content-Type", "image/png"),)) is NOTHING


@given(st.lists(st.text()))
def test_reading_headers_is_total(values: list[str]) -> None:
    found = find_carried(tuple((ATTESTATION_HEADER, value) for value in values))
    assert found.attestation is None or not found.is_malformed


async def test_fetched_media_come_with_the_attestation_beside_them(
    client: GuardedClient, origin: Origin
) -> None:
    # As long as one may be: no line of a head is refused for it.
    longest = b"x" * MAX_OBJECT_BYTES
    field = build_attestation_field(longest)
    url = origin.on("/a.png", do.serve(b"bytes", headers={ATTESTATION_HEADER: field}))
    media = await client.fetch_media(url)
    assert isinstance(media, Media)
    assert (media.data, media.attestation, media.is_attestation_malformed) == (b"bytes", longest, False)


async def test_an_attestation_that_cannot_be_read_costs_nobody_the_media(
    client: GuardedClient, origin: Origin
) -> None:
    url = origin.on("/a.png", do.serve(b"bytes", headers={ATTESTATION_HEADER: "nonsense"}))
    media = await client.fetch_media(url)
    assert isinstance(media, Media)
    assert (media.data, media.attestation, media.is_attestation_malformed) == (b"bytes", None, True)


def test_an_inline_attestation_verifies_however_the_activity_was_spelt() -> None:
    attestation = build()
    # Another order of the members, spaces, and escapes for what needs none.
    spelt = json.dumps(dict(reversed(json.loads(attestation).items())), indent=3).replace("a", "\\u0061")
    found = read_inline(parse_json(spelt.encode(), max_bytes=100_000, max_depth=32))
    assert found == attestation
    verify_attestation(parse_attestation(found), issuer_key=ISSUER, now=NOW)


def test_an_inline_attestation_may_be_the_only_one_of_a_list() -> None:
    value = json.loads(build())
    assert read_inline([value]) == build()
    assert read_inline([value, value]) is None


@pytest.mark.parametrize(
    "change",
    [
        {"type": "Note"},
        {"type": ["MediaScanAttestation"]},
        {"big": 2**53},
        {"padding": "x" * MAX_OBJECT_BYTES},
    ],
)
def test_what_could_be_no_attestation_is_not_handed_on(change: dict[str, object]) -> None:
    assert read_inline({**json.loads(build()), **change}) is None


@given(json_values)
def test_reading_an_inline_value_is_total_and_bounded(value: object) -> None:
    given = {"type": "MediaScanAttestation", "more": value}
    found = read_inline(given)
    assert found is None or (len(found) <= MAX_OBJECT_BYTES and found == canonicalize(given))
