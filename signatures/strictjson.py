"""JSON that every reader reads the same way.

Two parsers that disagree about one document (duplicate keys, big numbers, lone surrogates, NaN) let an
attacker show one thing to the verifier and another to the consumer. Source: RFC 7493 (I-JSON).
"""

from __future__ import annotations

import json
import math
import re
from typing import Final, NoReturn, TypeAlias

from signatures.errors import MalformedError

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
JsonObject: TypeAlias = dict[str, JsonValue]

# RFC 7493 section 2.2: beyond this, an IEEE 754 double no longer tells neighbouring integers apart.
MAX_SAFE_INTEGER: Final = 2**53 - 1

# Digits of the longest number we read at all: 2**53 has 16, identifiers in the wild stay under 64 bits.
MAX_NUMBER_CHARS: Final = 64

# `\ud…` in any case: the only way for a lone surrogate into a document that is UTF-8.
_SURROGATE_ESCAPE: Final = re.compile(rb"\\u[dD]")
# Strings are skipped whole; the closing quote is optional and the quantifiers are possessive, so that a
# string that never ends costs one pass and not one for every quote in it.
_STRING_OR_BRACKET: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|([\[\]{}])', re.DOTALL)
_STEPS: Final = {b"[": 1, b"{": 1, b"]": -1, b"}": -1, b"": 0}


def parse_json(
    data: bytes,
    *,
    max_bytes: int,
    max_depth: int,
    allow_floats: bool = False,
    allow_big_ints: bool = False,
) -> JsonValue:
    """Parse UTF-8 JSON, refusing whatever two readers could read differently.

    Activities need `allow_floats` (focal points) and `allow_big_ints` (identifiers); what is signed
    needs neither. A document of depth 1 is an object or array without another inside.

    Raises:
        MalformedError: too long, too deep, not UTF-8, not JSON, a duplicate key, a lone surrogate, NaN,
            an infinity, or a number that the options do not allow.
    """
    if len(data) > max_bytes:
        raise MalformedError(f"more than {max_bytes} bytes of JSON")
    _require_depth(data, max_depth)
    try:
        value: JsonValue = _DECODERS[allow_floats, allow_big_ints].decode(data.decode("utf-8"))
        if _SURROGATE_ESCAPE.search(data) is not None:
            # A pair is fine and a lone half is not; only encoding tells, and it costs a second pass.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except MalformedError:
        raise
    except (ValueError, RecursionError) as error:  # JSONDecodeError and the Unicode errors are ValueErrors
        raise MalformedError("not JSON in UTF-8") from error
    return value


def parse_json_object(data: bytes, *, max_bytes: int, max_depth: int) -> JsonObject:
    """Parse a JSON object that holds integers only.

    Raises:
        MalformedError: as `parse_json`, or it is not an object.
    """
    value = parse_json(data, max_bytes=max_bytes, max_depth=max_depth)
    if not isinstance(value, dict):
        raise MalformedError("not a JSON object")
    return value


def _require_depth(data: bytes, max_depth: int) -> None:
    # Without more than max_depth brackets there is no such depth; most documents end here.
    if data.count(b"{") + data.count(b"[") <= max_depth:
        return
    depth = 0
    for token in _STRING_OR_BRACKET.findall(data):
        depth += _STEPS[token]
        if depth > max_depth:
            raise MalformedError(f"JSON nested deeper than {max_depth}")


def _build_object(pairs: list[tuple[str, JsonValue]]) -> JsonObject:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise MalformedError("a JSON object names a key twice")
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedError(f"{name} is not JSON")


def _refuse_float(_text: str) -> NoReturn:
    raise MalformedError("a number with a fraction or an exponent where only integers may stand")


def _parse_float(text: str) -> float:
    value = float(text) if len(text) <= MAX_NUMBER_CHARS else math.inf
    if math.isinf(value):
        raise MalformedError("a number too large or too long for a double")
    return value


def _parse_big_int(text: str) -> int:
    if len(text) > MAX_NUMBER_CHARS:
        raise MalformedError("an integer of more than 64 digits")
    return int(text)


def _parse_int(text: str) -> int:
    value = _parse_big_int(text)
    if not -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
        raise MalformedError("an integer beyond 2**53 - 1")
    return value


_DECODERS: Final = {
    (floats, big_ints): json.JSONDecoder(
        object_pairs_hook=_build_object,
        parse_constant=_refuse_constant,
        parse_float=_parse_float if floats else _refuse_float,
        parse_int=_parse_big_int if big_ints else _parse_int,
    )
    for floats in (False, True)
    for big_ints in (False, True)
}
