"""Read the JSON that a source answers with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relay.sources.model import UnreadableAnswerError
from signatures.errors import MalformedError
from signatures.strictjson import parse_json

if TYPE_CHECKING:
    from relay.backends.reading import Json

MAX_JSON_BYTES: Final = 16 * 1024 * 1024
"""A page of a thousand records with everything that can be said of each takes about 2 MB."""
_MAX_DEPTH: Final = 16


def read_json(data: bytes) -> dict[str, Json]:
    """Read one object, strictly.

    Raises:
        UnreadableAnswerError: It is none.
    """
    try:
        value = parse_json(
            data, max_bytes=MAX_JSON_BYTES, max_depth=_MAX_DEPTH, allow_floats=True, allow_big_ints=True
        )
    except MalformedError as error:
        raise UnreadableAnswerError("it is no JSON") from error
    if not isinstance(value, dict):
        raise UnreadableAnswerError("it is no JSON object")
    return value
