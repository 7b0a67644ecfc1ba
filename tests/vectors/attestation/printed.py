"""Put examples of the vectors into the FEP, so that what it prints is what is tested.

A comment `<!-- FILE: MEMBER -->` stands before each code block that is written here.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

FEP: Final = Path(__file__).parents[3] / "docs" / "fep-f06a.md"

_PLACE: Final = re.compile(
    r"^<!-- (?P<file>[a-z/-]+\.json): (?P<member>\w+) -->\n(?:\n?```\w*\n.*?\n```\n)?",
    re.MULTILINE | re.DOTALL,
)


def print_examples(text: str, files: Mapping[str, str]) -> str:
    """Return the text with every example as it is in the files."""

    def write(match: re.Match[str]) -> str:
        value = json.loads(files[match["file"]])[match["member"]]
        kind, lines = _show(value)
        place = f"<!-- {match['file']}: {match['member']} -->"
        return f"{place}\n\n```{kind}\n{lines}\n```\n"

    return _PLACE.sub(write, text)


def count_examples(text: str) -> int:
    """Count the places where examples stand."""
    return len(_PLACE.findall(text))


def _show(value: Any) -> tuple[str, str]:
    """Show an object indented, a message as it is on the wire, headers one a line, text as it is."""
    if isinstance(value, str):
        return _show_text(value)
    if "headers" in value and "body" in value:
        return "http", _show_message(value)
    if all(isinstance(one, str) for one in value.values()):
        return "http", "\n".join(f"{name}: {one}" for name, one in value.items())
    return "json", _indent(value)


def _show_text(text: str) -> tuple[str, str]:
    # The objects themselves are easier to read indented; what is hashed has to stand there octet for octet.
    is_object = text.startswith("{") and '"proof":' in text
    return ("json", _indent(json.loads(text))) if is_object else ("text", text)


def _show_message(message: dict[str, Any]) -> str:
    lines = [f"{name}: {value}" for name, value in message["headers"]]
    if "status" in message:
        start = [f"HTTP/1.1 {message['status']}"]
    else:
        url = urlsplit(message["targetUri"])
        target = url.path + (f"?{url.query}" if url.query else "")
        start = [f"{message['method']} {target} HTTP/1.1", f"Host: {url.netloc}"]
    return "\n".join([*start, *lines, "", message["body"]]).rstrip("\n")


def _indent(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
