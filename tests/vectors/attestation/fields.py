"""Values of the header `Media-Scan-Attestation`: what is one byte sequence, and what only looks like one."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import rfc8785

from tests.vectors.attestation.kit import ATTESTATION, Json, sign

if TYPE_CHECKING:
    from collections.abc import Iterator


def make_fields() -> Iterator[Json]:
    raw = rfc8785.dumps(sign(ATTESTATION))
    text = base64.b64encode(raw).decode()
    yield _field("an attestation", f":{text}:", raw)
    yield _field("with blanks around it", f" \t:{text}:  ", raw)
    largest = rfc8785.dumps(sign(ATTESTATION)).ljust(8_192)
    yield _field("of the largest object", f":{base64.b64encode(largest).decode()}:", largest)
    odd = json.dumps({"a": "bc"}).encode()
    url_safe = base64.urlsafe_b64encode(b"\xfb\xff\xbf").decode()
    for name, value, bug in (
        ("nothing", "", "no attestation and a broken one are told apart by nothing"),
        ("without colons", text, "any item is read as bytes"),
        ("without the last colon", f":{text}", "it is cut where the line ends"),
        ("without the first colon", f"{text}:", "any item is read as bytes"),
        ("of no bytes", "::", "an object of nothing"),
        ("a string", f'"{text}"', "any item is read as bytes"),
        ("a list of two", f":{text}:, :{text}:", "one is verified and the other believed"),
        ("with a parameter", f":{text}:;v=1", "parameters are skipped"),
        ("base64url", f":{url_safe}:", "two spellings of the same bytes"),
        ("without padding", f":{base64.b64encode(odd).decode().rstrip('=')}:", "two spellings"),
        ("padded in the middle", ":QQ==QQ==:", "two parts are read as one"),
        ("with loose ends", ":QR==:", "bits that no byte holds"),
        ("with a blank inside", f":{text[:40]} {text[40:]}:", "blanks are skipped"),
        ("with a line end inside", f":{text[:40]}\n{text[40:]}:", "a line that goes on"),
        ("with a line end after it", f":{text}:\n", "an end of text that is one before it"),
        ("longer than any object", f":{base64.b64encode(bytes(8_196)).decode()}:", "any length is decoded"),
    ):
        yield {"name": name, "bug": bug, "expected": "malformed", "value": value}


def _field(name: str, value: str, raw: bytes) -> Json:
    return {"name": name, "expected": "valid", "value": value, "raw": raw.decode()}
