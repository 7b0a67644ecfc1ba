from __future__ import annotations

import pytest

from signatures.attestation import parse_attestation
from signatures.attestation_verify import verify_attestation
from signatures.errors import Reason
from signatures.objects import IssuerKey
from tests.signatures.support import NOW, Refusal, rsa_key
from tests.signatures.test_attestation import ISSUER, build


def test_an_rsa_key_attests_nothing() -> None:
    issuer = IssuerKey(actor=ISSUER.actor, key_id=ISSUER.key_id, key=rsa_key().public)
    with Refusal(Reason.WRONG_KEY):
        verify_attestation(
            parse_attestation(build()), issuer_key=issuer, now=NOW, allow_published_test_keys=True
        )


def test_a_naive_time_is_our_own_fault() -> None:
    with pytest.raises(ValueError, match="aware"):
        verify_attestation(parse_attestation(build()), issuer_key=ISSUER, now=NOW.replace(tzinfo=None))
