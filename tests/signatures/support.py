"""Keys, times and messages that several tests of this package need."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
from cryptography.hazmat.primitives import serialization

from signatures.errors import Reason, VerificationError
from signatures.keys import PrivateKey, ed25519_from_seed, parse_private_key_pem
from signatures.message import RequestMessage, ResponseMessage
from tests.vectors_dir import own_vectors

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
KEY_ID = "https://sender.example/users/alice#main-key"
BODY = b'{"type":"Create","object":{"type":"Note"}}'

Message = TypeVar("Message", RequestMessage, ResponseMessage)


@functools.cache
def rsa_key() -> PrivateKey:
    """The RSA key that RFC 9421 prints: generating one takes most of a second."""
    return private_key(own_vectors("rfc9421/examples.json")["keys"]["test-key-rsa"]["private_pkcs8_base64"])


@functools.cache
def ed25519_key(name: str = "alice") -> PrivateKey:
    return ed25519_from_seed(hashlib.sha256(f"a key of these tests: {name}".encode()).digest())


def private_key(pkcs8_base64: str) -> PrivateKey:
    key = serialization.load_der_private_key(base64.b64decode(pkcs8_base64), None)
    return parse_private_key_pem(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def post(**changes: Any) -> RequestMessage:
    message = RequestMessage(
        method="POST",
        scheme="https",
        authority="relay.example",
        target="/inbox",
        headers=(("Content-Type", "application/activity+json"),),
        body=BODY,
    )
    return replace(message, **changes)


def get(**changes: Any) -> RequestMessage:
    return post(
        method="GET",
        target="/users/bob",
        headers=(("Accept", "application/activity+json"),),
        body=b"",
        **changes,
    )


def with_header(message: Message, name: str, value: str) -> Message:
    """Replace the only line with this name."""
    assert sum(key.lower() == name.lower() for key, _ in message.headers) == 1
    headers = tuple((key, value if key.lower() == name.lower() else old) for key, old in message.headers)
    return replace(message, headers=headers)


def without_header(message: Message, name: str) -> Message:
    return replace(
        message, headers=tuple(line for line in message.headers if line[0].lower() != name.lower())
    )


def add_header(message: Message, name: str, value: str) -> Message:
    return replace(message, headers=(*message.headers, (name, value)))


def header(message: RequestMessage | ResponseMessage, name: str) -> str:
    [value] = [value for key, value in message.headers if key.lower() == name.lower()]
    return value


def message_of(table: dict[str, Any], *, scheme: str = "https") -> RequestMessage | ResponseMessage:
    """Build a message from a start line, header lines and a body."""
    first, second, _ = table["start_line"].split(" ", 2)
    headers = tuple((name, value) for name, value in table["headers"])
    body = table["body"].encode()
    if first.startswith("HTTP/"):
        return ResponseMessage(status=int(second), headers=headers, body=body)
    authority = dict(headers)["Host"]
    return RequestMessage(
        method=first, scheme=scheme, authority=authority, target=second, headers=headers, body=body
    )


class Refusal:
    """Expect a VerificationError with exactly this reason."""

    def __init__(self, reason: Reason) -> None:
        self._reason = reason
        self._raises = pytest.raises(VerificationError)

    def __enter__(self) -> None:
        self._info = self._raises.__enter__()

    def __exit__(self, *args: object) -> bool | None:
        done = self._raises.__exit__(*args)  # type: ignore[arg-type]  # as the interpreter gives them
        assert self._info.value.reason is self._reason
        return done


def request_of_bytes(data: bytes) -> RequestMessage:
    """Read a request as it was captured from a socket."""
    # The capture wrote the lines down one by one, so their ends are not those of the wire; the body's are.
    head, body = re.split(rb"(?:\r?\n){2,}", data, maxsplit=1)
    first, *lines = head.decode("ascii").splitlines()
    method, target, _ = first.split(" ")
    headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
    authority = next(value for name, value in headers if name.lower() == "host")
    return RequestMessage(
        method=method, scheme="http", authority=authority, target=target, headers=headers, body=body
    )
