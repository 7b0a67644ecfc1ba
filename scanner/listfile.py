"""Read hash lists from CSV, JSON and plain text.

A file is taken whole or refused whole: a list that was read in part would look complete and leave gaps. The
error names the first bad lines and counts all of them, and never repeats a value: lists are confidential.
"""

from __future__ import annotations

import csv
import json
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from scanner.hashtable import HashKind
from scanner.listentries import ADVICE, Collector, HashListError, ParsedList

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MAX_LIST_BYTES: Final = 1 << 30
"""Ten million PDQ hashes in hexadecimal with an id each are about 0.9 GB."""
MAX_CELL_CHARS: Final = 4096
"""No hash, id or status is longer; other columns of public lists (tags, notes) are short as well. A video
may be longer: in CSV up to the 131,072 characters of Python's reader, 1,500 frames; in JSON at any length."""
_HEADERS: Final[dict[str, str]] = {
    **dict.fromkeys(("hash", "value", "digest", "signal", "signal_str", "indicator"), "value"),
    **dict.fromkeys(("type", "kind", "algorithm", "hash_type", "signal_type", "indicator_type"), "kind"),
    **dict.fromkeys(("id", "entry_id", "indicator_id", "signal_id"), "id"),
    **dict.fromkeys(("status", "state"), "status"),
    **dict.fromkeys(("withdrawn", "removed", "deleted", "revoked"), "withdrawn"),
    **{str(kind): str(kind) for kind in HashKind},
}
_VALUES: Final = frozenset({"value", *HashKind})
_STATUS: Final[dict[str, bool]] = {
    **dict.fromkeys(("", "active", "listed", "added", "live", "valid"), False),
    **dict.fromkeys(("withdrawn", "removed", "deleted", "revoked", "inactive", "retired"), True),
}
_TRUTH: Final[dict[str, bool]] = {
    **dict.fromkeys(("", "0", "false", "no", "n"), False),
    **dict.fromkeys(("1", "true", "yes", "y"), True),
}


class ListFormat(StrEnum):
    """The forms in which a list may come."""

    CSV = "csv"
    JSON = "json"
    TEXT = "text"


def parse_hash_list(
    data: bytes, list_format: ListFormat | str, *, default_kind: HashKind | None = None
) -> ParsedList:
    """Parse a list file.

    Values are hexadecimal, base64 (plain or URL-safe, padded or not) or, for PDQ, 256 binary digits.

    A video is the JSON that vPDQ writes (`scanner.listvideos`), as a string or, in a JSON list, as it is.

    * **csv**: the first line names the columns; comma, semicolon or tab. Either a column `hash` (or value,
      digest, signal, indicator) with a column `type` (or kind, algorithm, hash_type, signal_type), or a
      column per kind named `sha256`, `sha1`, `md5`, `pdq`, `vpdq`. Optional `id`; optional `status` (active,
      withdrawn, …) or `withdrawn` (true, false). Others are ignored. Lines that begin with `#` are comments.
    * **json**: an array of entries, or an object with `entries` and optionally `withdrawn`, both arrays. An
      entry is a string `[kind:]value`, or an object with the keys of the CSV columns.
    * **text**: one hash a line, `#` starts a comment. A line is `[withdrawn] [kind:]value`.

    Where no kind is given, `default_kind` holds, else the length decides between MD5 and SHA-1; 32 bytes may
    be SHA-256 or PDQ, so there the kind must be said.

    Raises:
        HashListError: the file is refused, with what is wrong and what to do; values are never repeated.
    """
    try:
        chosen = ListFormat(list_format)
    except ValueError as error:
        known = ", ".join(ListFormat)
        raise HashListError(f"The format of a hash list must be one of {known}.") from error
    if len(data) > MAX_LIST_BYTES:
        raise HashListError(
            f"The hash list is larger than {MAX_LIST_BYTES:,} bytes. Split it into several lists."
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise HashListError(
            f"Line {line:,} of the hash list is not UTF-8. Save the file as UTF-8."
        ) from error
    collector = Collector(default_kind=default_kind, unit="entry" if chosen is ListFormat.JSON else "line")
    readers: dict[ListFormat, Callable[[str, Collector], None]] = {
        ListFormat.CSV: _read_csv,
        ListFormat.JSON: _read_json,
        ListFormat.TEXT: _read_text,
    }
    readers[chosen](text, collector)
    return collector.finish()


def _lines(text: str) -> Iterator[str]:
    """Go through the lines with their ends; a list of them, or a StringIO, takes several times the memory."""
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end


def _read_text(text: str, collector: Collector) -> None:
    for number, line in enumerate(_lines(text), start=1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        words = content.split()
        is_withdrawn = words[0].lower() == "withdrawn" and len(words) > 1
        if len(words) != 1 + is_withdrawn:
            collector.fault(number, "more than one value on the line (write one hash a line)")
            continue
        kind, colon, value = words[-1].rpartition(":")
        collector.add(
            number, value=value, kind=kind if colon else None, entry_id="", is_withdrawn=is_withdrawn
        )


def _read_csv(text: str, collector: Collector) -> None:
    rows = _csv_rows(text)
    header = next(rows, None)
    if header is None:
        raise HashListError("The CSV file is empty. Check that the whole file was fetched.")
    columns = [name.strip().lower() for name in header[1]]
    fields = [_HEADERS.get(name) for name in columns]
    known = [name for name in fields if name is not None]
    if "value" not in known and not any(str(kind) in known for kind in HashKind):
        raise HashListError(
            "The first line of a CSV list must name its columns: `hash` and `type`, or `sha256`, `sha1`, "
            "`md5`, `pdq`, `vpdq`. Add that line, or import the file as text if it is one hash a line."
        )
    if len(known) != len(set(known)):
        raise HashListError("Two columns of the CSV list mean the same. Rename or remove one of them.")
    for name, meaning in zip(columns, fields, strict=True):
        if meaning is None:
            collector.ignore(name)
    for number, row in rows:
        if len(row) != len(columns):
            collector.fault(number, f"{len(row)} columns where the first line names {len(columns)}")
            continue
        named = [(meaning, cell.strip()) for meaning, cell in zip(fields, row, strict=True) if meaning]
        cells = {meaning: cell for meaning, cell in named if meaning not in _VALUES}
        _add_fields(
            number, cells, {meaning: cell for meaning, cell in named if meaning in _VALUES}, collector
        )


def _csv_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Go through the rows that are neither empty nor comments, with their line numbers.

    Raises:
        HashListError: the file is not CSV.
    """
    first = next((line for line in _lines(text) if line.strip() and not line.startswith("#")), "")
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(_lines(text), delimiter=delimiter, strict=True)
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise HashListError(
                f"Line {reader.line_num:,} of the hash list is not CSV (often an unclosed quotation mark). "
                f"{ADVICE}"
            ) from error
        if row is None:
            return
        if not any(cell.strip() for cell in row) or row[0].startswith("#"):
            continue
        yield reader.line_num, row


def _add_fields(
    number: int, cells: Mapping[str, str], written: Mapping[str, object], collector: Collector
) -> None:
    """Take the entry or entries that one CSV row or JSON object stands for.

    Args:
        number: Where it stands.
        cells: What is said of them: id, kind, status.
        written: The hashes, as strings; videos may be what JSON made of them.
        collector: Takes them.
    """
    texts = [one for one in (*cells.values(), *written.values()) if isinstance(one, str)]
    if any(len(one) > MAX_CELL_CHARS and not one.startswith(("[", "{")) for one in texts):
        collector.fault(number, f"a value is longer than {MAX_CELL_CHARS:,} characters")
        return
    status = _STATUS.get(cells.get("status", "").lower())
    flag = _TRUTH.get(cells.get("withdrawn", "").lower())
    if status is None or flag is None:
        collector.fault(number, "the status is not known (use active or withdrawn; for a flag true or false)")
        return
    values = [(str(kind), written[kind]) for kind in HashKind if written.get(kind)]
    if written.get("value") or not values:
        values.append((cells.get("kind", ""), written.get("value", "")))
    for kind, value in values:
        collector.add(
            number, value=value, kind=kind or None, entry_id=cells.get("id", ""), is_withdrawn=status or flag
        )


def _read_json(text: str, collector: Collector) -> None:
    try:
        document = json.loads(text, object_pairs_hook=_no_twins, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        place = f" at line {error.lineno:,}" if isinstance(error, json.JSONDecodeError) else ""
        raise HashListError(f"The hash list is not valid JSON{place}. {ADVICE}") from error
    withdrawn: object = []
    if isinstance(document, dict):
        withdrawn = document.get("withdrawn", [])
        document = document.get("entries", [] if "withdrawn" in document else None)
    if not isinstance(document, list) or not isinstance(withdrawn, list):
        raise HashListError(
            "A JSON list must be an array of entries, or an object with the arrays `entries` and `withdrawn`."
        )
    for number, entry in enumerate(document, start=1):
        _add_json_entry(number, entry, collector, is_withdrawn=False)
    for number, entry in enumerate(withdrawn, start=len(document) + 1):
        _add_json_entry(number, entry, collector, is_withdrawn=True)


def _add_json_entry(number: int, entry: object, collector: Collector, *, is_withdrawn: bool) -> None:
    if isinstance(entry, str):
        kind, colon, value = entry.rpartition(":")
        collector.add(
            number, value=value, kind=kind if colon else None, entry_id="", is_withdrawn=is_withdrawn
        )
        return
    if not isinstance(entry, dict):
        collector.fault(number, "an entry must be a string or an object")
        return
    cells: dict[str, str] = {}
    written: dict[str, object] = {}
    for key, value in entry.items():
        meaning = _HEADERS.get(key.lower())
        if meaning is None:
            collector.ignore(key)
        elif meaning in cells or meaning in written:
            collector.fault(number, "two keys of the entry mean the same")
            return
        elif meaning in _VALUES and isinstance(value, list | dict):
            written[meaning] = value
        elif value is None or isinstance(value, bool | int | str):
            (written if meaning in _VALUES else cells)[meaning] = "" if value is None else str(value).strip()
        else:
            collector.fault(number, f"the {meaning} must be a string")
            return
    if is_withdrawn:
        cells["withdrawn"] = "true"
    _add_fields(number, cells, written, collector)


def _no_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object names a key twice")
    return found


def _no_constant(_name: str) -> object:
    raise ValueError("NaN and Infinity are not JSON")
