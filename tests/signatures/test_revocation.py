from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signatures.attestation import parse_attestation
from signatures.digests import digest_multibase
from signatures.errors import MalformedError, SignatureError
from signatures.revocation import (
    NO_REVOCATIONS,
    RevocationBody,
    Scope,
    build_revocation,
    build_revocation_index,
    parse_revocation,
    verify_revocation,
)
from tests.signatures.support import NOW
from tests.signatures.test_attestation import ACTOR, BODY, ISSUER, KEY, KEY_ID, build

_BODY = RevocationBody(
    id="https://relay.a.example/revocations/1",
    issuer=ACTOR,
    audience=f"{ACTOR}/peers",
    published=NOW,
    scope=Scope.STATE,
    object=digest_multibase(BODY.state_sha256),
)
_OBJECTS = {
    Scope.ATTESTATION: BODY.id,
    Scope.STATE: digest_multibase(BODY.state_sha256),
    Scope.PROFILE: BODY.profile,
    Scope.KEY: KEY_ID,
}


def _body(scope: Scope) -> RevocationBody:
    return replace(_BODY, scope=scope, object=_OBJECTS[scope])


@pytest.mark.parametrize("scope", list(Scope))
def test_what_is_built_parses_to_the_same_and_verifies(scope: Scope) -> None:
    data = build_revocation(_body(scope), key=KEY, verification_method=KEY_ID)
    revocation = parse_revocation(data)
    assert revocation.body == _body(scope)
    assert revocation.raw == data
    assert revocation.verification_method == KEY_ID
    verify_revocation(revocation, issuer_key=ISSUER, now=NOW)


def test_no_flipped_bit_verifies() -> None:
    data = build_revocation(_BODY, key=KEY, verification_method=KEY_ID)
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SignatureError):
            verify_revocation(parse_revocation(bytes(changed)), issuer_key=ISSUER, now=NOW)


@given(st.binary(max_size=60))
def test_parsing_is_total(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_revocation(data)


@pytest.mark.parametrize("scope", list(Scope))
def test_every_scope_takes_back_and_none_does_so_for_others(scope: Scope) -> None:
    attestation = parse_attestation(build())
    assert not NO_REVOCATIONS.revokes(attestation)
    assert build_revocation_index([_body(scope)]).revokes(attestation)
    for other in (
        replace(_body(scope), issuer="https://relay.b.example/actor"),
        replace(_body(scope), object=_OBJECTS[scope][:-1] + "X")
        if scope is not Scope.STATE
        else _OTHER_STATE,
    ):
        assert not build_revocation_index([other]).revokes(attestation)


_OTHER_STATE = replace(_BODY, object=digest_multibase(bytes(32)))


def test_a_profile_goes_on_after_it_was_taken_back() -> None:
    before, after = NOW - timedelta(seconds=1), NOW + timedelta(seconds=1)
    attestation = parse_attestation(build())
    profile = _body(Scope.PROFILE)
    assert not build_revocation_index([replace(profile, published=before)]).revokes(attestation)
    # In any order the latest counts.
    both = [replace(profile, published=after), replace(profile, published=before)]
    assert build_revocation_index(both).revokes(attestation)
    assert build_revocation_index(reversed(both)).revokes(attestation)


def test_a_key_that_was_taken_back_leaves_what_was_seen_before() -> None:
    attestation = parse_attestation(build())
    later = replace(_body(Scope.KEY), published=NOW + timedelta(hours=1))
    # In any order the earliest counts.
    for entries in ([_body(Scope.KEY), later], [later, _body(Scope.KEY)]):
        index = build_revocation_index(entries)
        assert index.revokes(attestation)
        assert index.revokes(attestation, trusted_time=NOW)
        assert not index.revokes(attestation, trusted_time=NOW - timedelta(seconds=1))


@given(st.lists(st.sampled_from([_body(scope) for scope in Scope]), max_size=6), st.sampled_from(list(Scope)))
def test_more_revocations_never_take_back_less(bodies: list[RevocationBody], scope: Scope) -> None:
    attestation = parse_attestation(build())
    before = build_revocation_index(bodies).revokes(attestation)
    assert build_revocation_index([*bodies, _body(scope)]).revokes(attestation) >= before


@pytest.mark.parametrize(
    ("scope", "target"),
    [
        (Scope.STATE, "x"),
        (Scope.PROFILE, "x"),
        (Scope.ATTESTATION, "https://relay.b.example/attestations/1"),
        (Scope.KEY, "https://relay.b.example/actor#k"),
    ],
)
def test_what_receivers_refuse_is_never_built(scope: Scope, target: str) -> None:
    with pytest.raises(SignatureError):
        build_revocation(replace(_BODY, scope=scope, object=target), key=KEY, verification_method=KEY_ID)
