"""Take values out of other servers' documents, whatever their shape."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)
_MAX_NAME_CHARS: Final = 200


def dig(value: Json, *names: str) -> Json:
    """Follow names into nested objects; None where the way ends."""
    for name in names:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def dig_id(value: Json, *names: str) -> str:
    """Find an id, given as a number or as a word; empty where there is none that may stand in a path."""
    found = dig(value, *names)
    if isinstance(found, bool) or not isinstance(found, int | str):
        return ""
    text = str(found)
    return text if _ID.fullmatch(text) else ""


def dig_text(value: Json, *names: str) -> str:
    """Find a text; empty where there is none."""
    found = dig(value, *names)
    return found if isinstance(found, str) else ""


def dig_name(value: Json, *names: str) -> str:
    """Find a name that is shown to people: one line, not long."""
    return "".join(char for char in dig_text(value, *names) if char.isprintable())[:_MAX_NAME_CHARS]


def first(value: Json, name: str) -> Json:
    """Find the first of a list of objects; None where there is none."""
    return next(iterate(value, name), None)


def iterate(value: Json, name: str) -> Iterator[dict[str, Json]]:
    """Go through the objects of a list."""
    found = dig(value, name)
    for one in found if isinstance(found, list) else ():
        if isinstance(one, dict):
            yield one


def is_same(asked: str, *given: str) -> bool:
    """Tell whether an address that was asked for is among those of what was found.

    What stands at an address may claim to be something else: without this check a stranger's post could be
    made to stand for somebody else's.
    """
    return any(_plain(asked) == _plain(one) for one in given if one)


def shares_host(asked: str, given: str) -> bool:
    """Tell whether two addresses lie on one host."""
    try:
        return bool(given) and urlsplit(asked).netloc.lower() == urlsplit(given).netloc.lower()
    except ValueError:
        return False


def _plain(url: str) -> str:
    return url.partition("#")[0].rstrip("/")
