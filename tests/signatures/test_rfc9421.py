from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import http_message_signatures as peer
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils
from hypothesis import given
from hypothesis import strategies as st

from signatures.algorithms import SignatureAlgorithm
from signatures.errors import MalformedError, Reason, VerificationError
from signatures.http import Scheme, sign_request
from signatures.keys import parse_ed25519_raw, parse_multikey, parse_public_key_pem
from signatures.message import Headers, RequestMessage, ResponseMessage
from signatures.rfc9421 import (
    Rfc9421Signature,
    build_rfc9421_headers,
    build_signature_base,
    parse_rfc9421,
    verify_rfc9421,
)
from tests.signatures.support import (
    KEY_ID,
    NOW,
    Refusal,
    add_header,
    ed25519_key,
    header,
    message_of,
    post,
    private_key,
    rsa_key,
    with_header,
)
from tests.vectors_dir import own_vectors, published_vectors

_TABLE = own_vectors("rfc9421/examples.json")


def _signature(case: dict[str, Any], table: dict[str, Any]) -> Rfc9421Signature:
    found = parse_rfc9421(message_of(table).headers)
    wanted = case.get("label", found[0].label)
    [signature] = [one for one in found if one.label == wanted]
    return signature


def _verify(case: dict[str, Any], table: dict[str, Any]) -> None:
    """Verify under the key of the case; two of the algorithms are none of ours, so only their bases are."""
    message, signature = message_of(table), _signature(case, table)
    request = message_of(case["request"]) if "request" in case else None
    assert not isinstance(request, ResponseMessage)
    key = _TABLE["keys"][case["key"]]
    if case["algorithm"] == "hmac-sha256":
        base = build_signature_base(message, signature)
        expected = hmac.digest(base64.b64decode(key["secret_base64"]), base, hashlib.sha256)
        assert hmac.compare_digest(signature.signature, expected)
    elif case["algorithm"] == "ecdsa-p256-sha256":
        public = serialization.load_pem_public_key(key["public_pem"].encode())
        assert isinstance(public, ec.EllipticCurvePublicKey)
        r, s = (int.from_bytes(signature.signature[part], "big") for part in (slice(32), slice(32, 64)))
        base = build_signature_base(message, signature, request=request)
        public.verify(utils.encode_dss_signature(r, s), base, ec.ECDSA(hashes.SHA256()))
    else:
        algorithm = verify_rfc9421(message, signature, key=parse_public_key_pem(key["public_pem"]))
        assert algorithm == case["algorithm"]


@pytest.mark.parametrize("case", _TABLE["cases"], ids=lambda case: case["section"])
def test_the_examples_of_rfc_9421_verify(case: dict[str, Any]) -> None:
    message, signature = message_of(case["message"]), _signature(case, case["message"])
    request = message_of(case["request"]) if "request" in case else None
    assert not isinstance(request, ResponseMessage)
    assert build_signature_base(message, signature, request=request).decode() == case["base"]
    _verify(case, case["message"])


def test_messages_changed_on_the_way_verify_or_fail_as_appendix_b_4_says() -> None:
    [case] = [case for case in _TABLE["cases"] if "must_fail" in case]
    for table in case["must_verify"]:
        _verify(case, table)
    for table in case["must_fail"]:
        with Refusal(Reason.BAD_SIGNATURE):
            _verify(case, table)


@pytest.mark.parametrize("section", ["B.2.6", "4.3"])
def test_deterministic_examples_are_signed_the_same(section: str) -> None:
    [case] = [case for case in _TABLE["cases"] if case["section"] == section]
    message, signature = message_of(case["message"]), _signature(case, case["message"])
    parameters: dict[str, str | int] = {"created": signature.created or 0, "keyid": signature.key_id or ""}
    if signature.algorithm is not None:
        parameters["alg"] = signature.algorithm
    if signature.expires is not None:
        parameters["expires"] = signature.expires
    lines = build_rfc9421_headers(
        message,
        key=private_key(_TABLE["keys"][case["key"]]["private_pkcs8_base64"]),
        label=signature.label,
        covered=tuple(component.name for component in signature.covered),
        parameters=parameters,
    )
    for name, value in lines:
        assert value in header(message, name)


def test_all_published_examples_have_the_bases_we_build() -> None:
    table = json.loads(published_vectors("rfc9421/rfc9421_appendix_b.json").read_text())
    ours = {case["base"] for case in _TABLE["cases"]}
    assert {case["signature_base"] for case in table["cases"]} <= ours
    bodies = json.loads(published_vectors("rfc9421/rfc9421_body_examples.json").read_text())
    for example in bodies:
        response_text, request_text = example.get("response"), example.get("request")
        signed = _raw(example.get("message") or response_text or request_text)
        request = _raw(request_text) if response_text else None
        text = example["signature_base"].rpartition('"@signature-params": ')[2]
        headers = (("Signature-Input", f"x={text}"), ("Signature", f"x=:{example['signature_b64']}:"))
        [signature] = parse_rfc9421(headers)
        assert not isinstance(request, ResponseMessage)
        base = build_signature_base(signed, signature, request=request)
        assert base.decode() == example["signature_base"]


def _raw(text: str) -> RequestMessage | ResponseMessage:
    head, _, body = text.partition("\n\n")
    first, *lines = head.split("\n")
    return message_of({"start_line": first, "headers": [line.split(": ", 1) for line in lines], "body": body})


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_published_signatures_of_web_bots_verify(version: str) -> None:
    cases = json.loads(
        published_vectors(f"web-bot-auth/web_bot_auth_architecture_{version}.json").read_text()
    )
    assert cases
    for case in cases:
        url = urlsplit(case["target_url"])
        headers: Headers = (
            ("Signature-Input", case["signature_input"]),
            ("Signature", case["signature"]),
        )
        if "signature_agent" in case:
            headers += (("Signature-Agent", case["signature_agent"]),)
        message = RequestMessage(
            method="GET", scheme=url.scheme, authority=url.netloc, target=url.path, headers=headers, body=b""
        )
        [signature] = parse_rfc9421(headers)
        assert signature.tag == "web-bot-auth"
        assert signature.nonce == case["nonce"]
        assert signature.expires == case["expires_ms"] // 1000
        verify_rfc9421(message, signature, key=_jwk(case["key"]))


def _jwk(jwk: dict[str, str]) -> Any:
    def decode(name: str) -> bytes:
        return base64.urlsafe_b64decode(jwk[name] + "==")

    if jwk["kty"] == "OKP":
        return parse_ed25519_raw(decode("x"))
    n, e = (int.from_bytes(decode(name), "big") for name in ("n", "e"))
    pem = (
        rsa.RSAPublicNumbers(e, n)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return parse_public_key_pem(pem.decode())


_INPUT = 'sig1=("@method");created=1;keyid="k"'
_SIGNATURE = "sig1=:AAAA:"


@pytest.mark.parametrize(
    ("signature_input", "signature", "bug"),
    [
        ("", _SIGNATURE, "an empty field"),
        (_INPUT, "", "an empty signature"),
        (_INPUT, "sig2=:AAAA:", "labels that differ"),
        (f"{_INPUT}, sig2=()", _SIGNATURE, "an input without a signature is passed over"),
        (_INPUT, f"{_SIGNATURE}, sig2=:AAAA:", "a signature without an input is passed over"),
        (f"{_INPUT}, {_INPUT}", _SIGNATURE, "the last of two labels wins"),
        (_INPUT, f"{_SIGNATURE}, {_SIGNATURE}", "the last of two signatures wins"),
        ('sig1=("@method" "@method")', _SIGNATURE, "one component covered twice"),
        ('sig1=("@method");created=1;created=2', _SIGNATURE, "the last of two times wins"),
        ('sig1=("@method");created="1"', _SIGNATURE, "a time that is a string"),
        ('sig1=("@method");created', _SIGNATURE, "a time that is a boolean"),
        ('sig1=("@method");created=-1', _SIGNATURE, "a negative time"),
        ('sig1=("@method");created=1.5', _SIGNATURE, "a time with a fraction"),
        ('sig1=("@method");created=01', _SIGNATURE, "a number in another spelling"),
        ('sig1=("@method");keyid=k', _SIGNATURE, "a key id that is a token"),
        ('sig1=("@method");alg=ed25519', _SIGNATURE, "an algorithm that is a token"),
        ('sig1=("@signature-params")', _SIGNATURE, "the parameters covered by name"),
        ('sig1=("@magic")', _SIGNATURE, "a derived component that nobody knows"),
        ('sig1=("Date")', _SIGNATURE, "a name in capitals"),
        ('sig1=("")', _SIGNATURE, "an empty name"),
        ("sig1=(date)", _SIGNATURE, "a component that is a token"),
        ('sig1=("date";sf)', _SIGNATURE, "a parameter that is not taken"),
        ('sig1=("date";tr)', _SIGNATURE, "a trailer"),
        ('sig1=("date";bs;key="a")', _SIGNATURE, "two parameters that exclude each other"),
        ('sig1=("date";bs=1)', _SIGNATURE, "a flag with a value"),
        ('sig1=("date";key)', _SIGNATURE, "a key without a name"),
        ('sig1=("@query-param")', _SIGNATURE, "a query parameter without a name"),
        ('sig1=("@method";name="a")', _SIGNATURE, "a parameter of another component"),
        ('sig1="@method"', _SIGNATURE, "an item where a list stands"),
        ('sig1=("@method"', _SIGNATURE, "a list that does not end"),
        (f"{_INPUT},", _SIGNATURE, "a comma at the end"),
        (_INPUT, "sig1=AAAA", "a token where bytes stand"),
        (_INPUT, "sig1=:AA=A:", "loose base64"),
        (_INPUT, "sig1=:AAAA:;x", "parameters of a signature"),
        ("sig1=(" + " ".join(f'"x{n}"' for n in range(33)) + ")", _SIGNATURE, "too many components"),
        ('sig1=("@method");keyid="' + "k" * 9_000 + '"', _SIGNATURE, "a field of any length"),
    ],
)
def test_fields_that_do_not_parse_are_malformed(signature_input: str, signature: str, bug: str) -> None:
    with pytest.raises(MalformedError):
        parse_rfc9421((("Signature-Input", signature_input), ("Signature", signature)))


def test_more_than_eight_signatures_are_malformed() -> None:
    inputs = ", ".join(f"s{n}=()" for n in range(9))
    values = ", ".join(f"s{n}=:AAAA:" for n in range(9))
    with pytest.raises(MalformedError):
        parse_rfc9421((("Signature-Input", inputs), ("Signature", values)))


@given(st.text(max_size=60) | st.text(alphabet='sig1=("@method");created,:? \\b', max_size=60))
def test_parsing_is_total(text: str) -> None:
    for lines in (
        (("Signature-Input", text), ("Signature", _SIGNATURE)),
        (("Signature-Input", f"sig1={text}"), ("Signature", _SIGNATURE)),
        (("Signature-Input", f"{_INPUT};{text}"), ("Signature", _SIGNATURE)),
        (("Signature-Input", _INPUT), ("Signature", text)),
    ):
        try:
            for signature in parse_rfc9421(lines):
                build_signature_base(post(), signature)
        except (MalformedError, VerificationError):
            continue


def _base(message: RequestMessage, covered: str) -> str:
    lines = (("Signature-Input", f"x=({covered})"), ("Signature", "x=:AAAA:"))
    [signature] = parse_rfc9421(lines)
    return build_signature_base(message, signature).decode().rpartition("\n")[0]


@pytest.mark.parametrize(
    ("covered", "line"),
    [
        ('"@method"', '"@method": POST'),
        ('"@target-uri"', '"@target-uri": https://Www.Example.com/path?a=1&b=%20x'),
        ('"@authority"', '"@authority": www.example.com'),
        ('"@scheme"', '"@scheme": https'),
        ('"@request-target"', '"@request-target": /path?a=1&b=%20x'),
        ('"@path"', '"@path": /path'),
        ('"@query"', '"@query": ?a=1&b=%20x'),
        ('"@query-param";name="b"', '"@query-param";name="b": %20x'),
        ('"x-list"', '"x-list": a, b'),
        ('"x-list";bs', '"x-list";bs: :YQ==:, :Yg==:'),
        ('"x-dict";key="b"', '"x-dict";key="b": 2'),
        ('"x-dict";key="c"', '"x-dict";key="c": ?1;d'),
        ('"x-empty"', '"x-empty": '),
    ],
)
def test_components_have_the_values_of_section_2(covered: str, line: str) -> None:
    message = post(
        authority="Www.Example.com",
        target="/path?a=1&b=%20x",
        headers=(("X-List", "a"), ("x-list", " b "), ("X-Dict", "a=1, b=2, c;d"), ("X-Empty", "")),
    )
    assert _base(message, covered) == line


def test_a_target_without_a_query_has_an_empty_one() -> None:
    assert _base(post(target="/"), '"@query"') == '"@query": ?'


@pytest.mark.parametrize("covered", ['"x"', '"x";bs', '"@query-param";name="c"', '"x-dict";key="z"'])
def test_what_is_covered_and_not_there_is_refused(covered: str) -> None:
    with Refusal(Reason.MISSING_COMPONENT):
        _base(post(target="/?a=1", headers=(("X-Dict", "a"),)), covered)


@pytest.mark.parametrize("covered", ['"@status"', '"@method";req', '"@query-param";name="a"', '"x";key="a"'])
def test_what_cannot_be_covered_on_this_message_is_malformed(covered: str) -> None:
    with pytest.raises(MalformedError):
        _base(post(target="/?a=1&a=2", headers=(("X", "=="),)), covered)


def test_the_algorithm_parameter_cannot_confuse_a_key() -> None:
    signed = sign_request(post(), key=rsa_key(), key_id=KEY_ID, scheme=Scheme.RFC9421, now=NOW)
    [signature] = parse_rfc9421(signed.headers)
    assert verify_rfc9421(signed, signature, key=rsa_key().public) is SignatureAlgorithm.RSA_V1_5_SHA256
    with Refusal(Reason.WRONG_KEY):
        verify_rfc9421(signed, signature, key=ed25519_key().public)
    for name, reason in (
        ("rsa-pss-sha512", Reason.BAD_SIGNATURE),
        ("ed25519", Reason.WRONG_KEY),
        ("hmac-sha256", Reason.UNKNOWN_SCHEME),
        ("none", Reason.UNKNOWN_SCHEME),
    ):
        value = header(signed, "signature-input").replace("rsa-v1_5-sha256", name)
        changed = with_header(signed, "Signature-Input", value)
        [signature] = parse_rfc9421(changed.headers)
        with Refusal(reason):
            verify_rfc9421(changed, signature, key=rsa_key().public)


def test_another_implementation_verifies_what_we_sign() -> None:
    class Keys(peer.HTTPSignatureKeyResolver):
        def resolve_public_key(self, key_id: str) -> Any:
            assert key_id == KEY_ID
            return key.public.handle

    class Request:
        method = "POST"
        url = "https://relay.example/inbox?x=1"
        headers: dict[str, str]

    now = datetime.now(UTC)  # noqa: TID251 (the other implementation reads the clock itself)
    for key, algorithm in (
        (rsa_key(), peer.algorithms.RSA_V1_5_SHA256),
        (ed25519_key(), peer.algorithms.ED25519),
    ):
        signed = sign_request(
            post(target="/inbox?x=1"), key=key, key_id=KEY_ID, scheme=Scheme.RFC9421, now=now
        )
        request = Request()
        request.headers = dict(signed.headers)
        verifier = peer.HTTPMessageVerifier(signature_algorithm=algorithm, key_resolver=Keys())
        [result] = verifier.verify(request)
        assert '"content-digest"' in result.covered_components


def test_several_labels_are_kept_apart() -> None:
    first = sign_request(post(), key=rsa_key(), key_id=KEY_ID, scheme=Scheme.RFC9421, now=NOW)
    lines = build_rfc9421_headers(
        first,
        key=ed25519_key(),
        label="proxy",
        covered=("@method", "content-digest"),
        parameters={"tag": "t"},
    )
    merged = first
    for name, value in lines:
        merged = with_header(merged, name, f"{header(merged, name)}, {value}")
    ours, proxy = parse_rfc9421(merged.headers)
    verify_rfc9421(merged, ours, key=rsa_key().public)
    verify_rfc9421(merged, proxy, key=ed25519_key().public)
    with Refusal(Reason.BAD_SIGNATURE):
        verify_rfc9421(merged, proxy, key=parse_multikey(ed25519_key("bob").public.to_multikey()))


def test_a_second_line_of_a_signature_field_is_malformed() -> None:
    signed = sign_request(post(), key=ed25519_key(), key_id=KEY_ID, scheme=Scheme.RFC9421, now=NOW)
    for name in ("Signature", "Signature-Input"):
        with pytest.raises(MalformedError):
            parse_rfc9421(add_header(signed, name, header(signed, name)).headers)


def test_a_key_id_that_no_field_can_hold_is_malformed() -> None:
    with pytest.raises(MalformedError):
        sign_request(post(), key=ed25519_key(), key_id="\u00e9", scheme=Scheme.RFC9421, now=NOW)
