"""`breakwater scan`: examine files with the scanner, the lists and the classifiers of this installation."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from relay.assembly import build_scanner_settings
from relay.cli.options import (
    EXIT_UNUSABLE,
    config_options,
    explained,
    json_option,
    print_json,
    read_settings,
    with_database,
)
from relay.clock import SystemClock
from relay.tools.list_shelf import open_shelf
from scanner.report import Verdict, report_to_json
from scanner.scan import open_scanner

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from relay.config import Settings
    from scanner.report import Report
    from scanner.scan import Scanner
    from scanner.settings import ScannerSettings

EXIT_MATCH: Final = 1

_COLOURS: Final = {Verdict.MATCH: "red", Verdict.NO_MATCH: "green", Verdict.UNSCANNABLE: "yellow"}

_THREADS: Final = 4
"""Files that are read and scanned side by side; the decoder processes set the pace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """What came of one file: a report, or the reason why it could not be read."""

    path: Path
    report: Report | None = None
    error: str = ""


@click.command("scan")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@config_options
@click.option("--lists/--no-lists", default=True, help="Whether the imported hash lists are used.")
@json_option
def scan_command(*, files: tuple[Path, ...], lists: bool, as_json: bool, **place: Any) -> None:
    """Scan FILES as the relay would scan media.

    Exit status: 0 where no file matched, 1 where one did, 2 where one could not be examined.
    """
    with explained():
        settings = read_settings(**place)
        results = list(_scan_all(settings, files, use_lists=lists))
    if as_json:
        print_json({"files": [_to_json(result) for result in results], "summary": _count(results)})
    else:
        _print(results)
    sys.exit(_exit_status(results))


def _scan_all(settings: Settings, files: Sequence[Path], *, use_lists: bool) -> Iterator[Scanned]:
    scanner_settings = build_scanner_settings(settings)
    has_lists = bool(settings.database.url.get_secret_value()) or _has_database(settings)
    with open_scanner(scanner_settings) as scanner:
        if use_lists and has_lists:
            shelf = open_shelf(settings.server.data_dir, prunes=False)
            load = partial(shelf.load, now=SystemClock().now())
            scanner.replace_lists(asyncio.run(with_database(settings, load)))
        with _progress() as progress, ThreadPoolExecutor(_THREADS) as pool:
            task = progress.add_task("scanning", total=len(files))
            for result in pool.map(lambda path: _scan_file(scanner, scanner_settings, path), files):
                progress.advance(task)
                yield result


def _has_database(settings: Settings) -> bool:
    """Tell whether an embedded database was ever made; scanning a file is no reason to make one."""
    return (settings.server.data_dir / "postgres" / "location").exists()


def _progress() -> Progress:
    """Show progress on standard error, so that standard output holds the result alone."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _scan_file(scanner: Scanner, settings: ScannerSettings, path: Path) -> Scanned:
    try:
        with path.open("rb") as file:
            # One byte more than is admitted tells the scanner that there was too much.
            data = file.read(settings.max_bytes + 1)
    except OSError as error:
        return Scanned(path=path, error=(error.strerror or "it cannot be read").lower())
    return Scanned(path=path, report=scanner.scan(data))


def _exit_status(results: list[Scanned]) -> int:
    verdicts = {None if result.report is None else result.report.verdict for result in results}
    if Verdict.MATCH in verdicts:
        return EXIT_MATCH
    return EXIT_UNUSABLE if verdicts & {None, Verdict.UNSCANNABLE} else 0


def _count(results: list[Scanned]) -> dict[str, int]:
    counts = {verdict.value: 0 for verdict in Verdict} | {"unreadable": 0}
    for result in results:
        counts[result.report.verdict.value if result.report else "unreadable"] += 1
    return counts


def _to_json(result: Scanned) -> dict[str, Any]:
    if result.report is None:
        return {"file": str(result.path), "error": result.error}
    document = report_to_json(result.report)
    tried = [finding for shadow in document["shadow"] for finding in shadow["findings"]]
    for finding in (*document["findings"], *tried):
        # Which entry of a list matched is for the relay's own counting alone.
        del finding["entry"]
    return {"file": str(result.path), **document}


def _print(results: list[Scanned]) -> None:
    table = Table(show_edge=False)
    table.add_column("file", overflow="fold")
    table.add_column("verdict", no_wrap=True)
    table.add_column("what was seen", overflow="fold")
    for result in results:
        if result.report is None:
            table.add_row(Text(str(result.path)), Text("unreadable", "yellow"), Text(result.error))
            continue
        verdict = result.report.verdict
        shown = Text(verdict.value, _COLOURS[verdict])
        table.add_row(Text(str(result.path)), shown, Text("; ".join(_describe(result.report))))
    Console().print(table)


def _describe(report: Report) -> Iterator[str]:
    """Say in words what a report says, the findings first."""
    for finding in report.findings:
        source = finding.list_name or finding.detector
        score = "" if finding.score_permille is None else f", {finding.score_permille / 10:.0f} %"
        note = " (advisory: reported, not decided upon)" if finding.advisory else ""
        label = f" {finding.label}" if finding.label else ""
        yield f"{finding.category.value}{label} by {source}, {finding.basis.value}{score}{note}"
    if report.reason is not None:
        yield f"not wholly examined: {report.reason.value.replace('_', ' ')}"
    facts = report.facts
    kind = facts.media_type.value if facts.media_type else "unknown type"
    size = f", {facts.width} by {facts.height}" if facts.width else ""
    frames = f", {facts.frames} frames" if facts.frames > 1 else ""
    yield f"{kind}{size}{frames}, {facts.size:,} bytes"
