"""Read the project's pages: their links, the commands in them, and the settings that they name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

PAGES: Final = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))

_FENCE: Final = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_CODE: Final = re.compile(r"`([^`\n]+)`")
_LINK: Final = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)
_VARIABLE: Final = re.compile(r"BREAKWATER_[A-Z0-9_]*[A-Z0-9]")

# A command begins a line or follows what runs it; prose and paths have the word in other places.
_COMMAND: Final = re.compile(
    r"(?:^|(?<=[|;&] )|(?<=sudo )|(?<=exec breakwater )|(?<=exec -T breakwater )|(?<=rm breakwater )"
    r"|(?<=bin/))breakwater((?: +[^|;&\n#]+)?)",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block of code."""

    language: str
    text: str


def read(page: Path) -> str:
    """Read a page."""
    return page.read_text(encoding="utf-8")


def find_blocks(text: str) -> list[Block]:
    """Find the fenced blocks of a page, their indentation removed."""
    return [
        Block(
            language=found.group(2),
            text="".join(
                line.removeprefix(found.group(1)) for line in found.group(3).splitlines(keepends=True)
            ),
        )
        for found in _FENCE.finditer(text)
    ]


def find_inline_code(text: str) -> list[str]:
    """Find what stands between single backticks, outside of blocks."""
    return [found.replace("\\|", "|") for found in _CODE.findall(_FENCE.sub("", text))]


def find_commands(text: str) -> list[list[str]]:
    """Find every `breakwater …` of a page, as the words after the program's name."""
    pieces = [*find_inline_code(text)]
    # A long command goes on after a backslash.
    pieces += [
        block.text.replace("\\\n", " ") for block in find_blocks(text) if block.language in {"sh", "console"}
    ]
    return [found.split() for piece in pieces for found in _COMMAND.findall(piece)]


def find_links(text: str) -> list[str]:
    """Find where the links of a page lead."""
    return _LINK.findall(_FENCE.sub("", text))


def find_anchors(text: str) -> set[str]:
    """Name the headings of a page as links do."""
    plain = _FENCE.sub("", text)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in _HEADING.findall(plain)
    }


def find_variables(text: str) -> set[str]:
    """Find the environment variables of the relay that a text names."""
    return set(_VARIABLE.findall(text))
