"""Read a hash list of the Internet Watch Foundation, a CSV file with a column for each kind of hash.

Members get MD5, SHA-1 and PhotoDNA, some SHA-256 and PDQ, with the category (A, B or C) of the picture and
its number. The spelling of the columns is not settled, so they are read without case, blanks and punctuation.
PhotoDNA is of no use here; how much of it there is, is counted and said.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from scanner.hashtable import HashKind
from scanner.listentries import Collector, HashListError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scanner.listentries import ParsedList

_NOISE: Final = re.compile(r"[^a-z0-9]")
_MAX_CELL_CHARS: Final = 64 * 1024  # A PhotoDNA hash takes up to 600 characters.
_HASHES: Final[Mapping[str, HashKind]] = {
    "md5": HashKind.MD5,
    "md5hash": HashKind.MD5,
    "hashmd5": HashKind.MD5,
    "sha1": HashKind.SHA1,
    "sha1hash": HashKind.SHA1,
    "hashsha1": HashKind.SHA1,
    "sha256": HashKind.SHA256,
    "sha256hash": HashKind.SHA256,
    "hashsha256": HashKind.SHA256,
    "pdq": HashKind.PDQ,
    "pdqhash": HashKind.PDQ,
    "hashpdq": HashKind.PDQ,
}
_UNUSABLE: Final = frozenset({"photodna", "pdna", "photodnahash", "pdnahash", "hashphotodna"})
_CATEGORIES: Final = frozenset({"category", "severity", "grade"})
_IDS: Final = frozenset({"id", "imageid", "iwfid", "hashid", "reference"})


def parse_iwf(data: bytes) -> tuple[ParsedList, dict[str, int]]:
    """Parse a delivery; also return how many hashes it has of kinds that we have no use for.

    Raises:
        HashListError: It is refused whole, with what is wrong and what to do; values are never repeated.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise HashListError("The IWF's list is not UTF-8. Ask for it as UTF-8.") from error
    first, _, _ = text.partition("\n")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
    collector = Collector(default_kind=None, unit="line")
    unusable: Counter[str] = Counter()
    columns: list[str] | None = None
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if columns is None:
                columns = _read_header(row)
            elif len(row) != len(columns):
                collector.fault(
                    reader.line_num, f"{len(row)} columns where the first line has {len(columns)}"
                )
            else:
                _add(collector, unusable, reader.line_num, columns, row)
    except csv.Error as error:
        raise HashListError(
            f"Line {reader.line_num:,} of the IWF's list is not CSV (often an unclosed quotation mark)."
        ) from error
    return collector.finish(), dict(unusable)


def _read_header(row: Sequence[str]) -> list[str]:
    columns = [_NOISE.sub("", cell.lower()) for cell in row]
    if not any(column in _HASHES for column in columns):
        raise HashListError(
            "The first line of the IWF's list names no column that we have a use for: MD5, SHA-1, SHA-256 or "
            "PDQ. Lists of web addresses and keywords are not for this; ask the IWF for the Hash List as CSV."
        )
    return columns


def _add(
    collector: Collector, unusable: Counter[str], line: int, columns: Sequence[str], row: Sequence[str]
) -> None:
    if any(len(cell) > _MAX_CELL_CHARS for cell in row):
        collector.fault(line, f"a value is longer than {_MAX_CELL_CHARS:,} characters")
        return
    cells = [(column, cell.strip()) for column, cell in zip(columns, row, strict=True) if cell.strip()]
    category = next((cell for column, cell in cells if column in _CATEGORIES), "")
    number = next((cell for column, cell in cells if column in _IDS), "")
    label = " ".join(part for part in (category, number) if part)
    for column, cell in cells:
        if column in _UNUSABLE:
            unusable["photodna"] += 1
        elif column in _HASHES:
            kind = _HASHES[column].value
            collector.add(line, value=cell, kind=kind, entry_id=label, is_withdrawn=False)
