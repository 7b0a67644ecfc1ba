"""Show how a sweep goes and what came of it: a progress bar, one table, and the file for the admin's eyes.

The table and the JSON hold numbers. The names of files that were found stand only where the admin asked for
them: on the terminal, or in a report that nobody else can read.
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from relay.errors import BreakwaterError
from relay.sweep.counting import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TextIO

    from relay.clock import Clock
    from relay.sweep.counting import Counters, Result
    from relay.sweep.run import Summary
    from relay.sweep.source import Source

MAX_SHOWN: Final = 200
"""More names than this are for a report."""

_MAX_CASES_SHOWN: Final = 50

_SHORTEST_S: Final = 0.001
"""No rate is computed over less; the first result has taken no time at all."""

_REPORTED: Final = frozenset({Kind.MATCH, Kind.UPHELD, Kind.UNSCANNABLE, Kind.ERROR})


class ReportFileError(BreakwaterError):
    """The report cannot be written."""


class SweepView:
    """Watch a sweep for a person."""

    def __init__(self, *, clock: Clock, progress: Progress, report: TextIO | None, keeps_names: bool) -> None:
        self._clock = clock
        self._progress = progress
        self._task: TaskID = progress.add_task("sweeping", total=None, rate="", found=0, files=0)
        self._report = report
        self._keeps_names = keeps_names
        # When, and behind how many files and bytes of earlier runs, the first result of this run came.
        self._first: tuple[float, int, int] | None = None
        self.found: list[Result] = []

    def expect(self, files: int) -> None:
        """Hear about how many files there are."""
        self._progress.update(self._task, total=files)

    def see(self, result: Result, counters: Counters) -> None:
        """Show how far the sweep is, and write down what the admin asked for."""
        if self._first is None:
            self._first = (self._clock.monotonic(), counters.files - 1, counters.size - result.size)
        began, files_before, size_before = self._first
        seconds = max(self._clock.monotonic() - began, _SHORTEST_S)
        files, size = counters.files - files_before, counters.size - size_before
        rate = f"{files / seconds:,.0f} files/s, {decimal(round(size / seconds))}/s"
        self._progress.update(
            self._task, completed=counters.files, files=counters.files, rate=rate, found=counters.found
        )
        if self._keeps_names and result.is_found and len(self.found) < MAX_SHOWN:
            self.found.append(result)
        if self._report is not None and result.kind in _REPORTED:
            json.dump(_line_of(result), self._report, ensure_ascii=False)
            self._report.write("\n")
            self._report.flush()


def build_progress(*, is_quiet: bool) -> Progress:
    """Build the progress bar, on standard error; none where nobody would see it move."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[files]:,} files, {task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("found {task.fields[found]}"),
    )
    return Progress(*columns, console=console, transient=True, disable=is_quiet or not console.is_terminal)


@contextmanager
def open_report(path: Path | None) -> Iterator[TextIO | None]:
    """Open the report for writing at its end; a new one is for its owner alone.

    Raises:
        ReportFileError: It cannot be written, or others could read it.
    """
    if path is None:
        yield None
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ReportFileError(
            f"The report {path} cannot be written ({error.strerror}). Nothing was examined. Choose another "
            "place."
        ) from error
    with os.fdopen(descriptor, "a", encoding="utf-8") as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode) or facts.st_mode & 0o077:
            raise ReportFileError(
                f"Others may read {path}, and the report names files that were found. Nothing was examined. "
                f"Run `chmod 600 {path}`, or choose another place."
            )
        yield file


def _line_of(result: Result) -> dict[str, Any]:
    return {
        "file": result.entry.name,
        "result": result.kind.value,
        "detail": str(result.detail),
        "case": result.case_id,
        "follows": result.deed.value,
    }


def summary_to_json(summary: Summary, source: Source, *, is_dry_run: bool, status: int) -> dict[str, Any]:
    """Return a summary as JSON values, without the name of any file."""
    counters = summary.counters.to_json()
    counters["bytes"] = counters.pop("size")
    return {
        "source": source.name,
        "sweep": summary.sweep_id,
        "dry_run": is_dry_run,
        "finished": summary.is_finished,
        "resumed": summary.is_resumed,
        "scanner_changed": summary.has_state_changed,
        "failure": summary.failure,
        **counters,
        "seconds": round(summary.counters.seconds, 1),
        "cases": list(summary.cases),
        "cases_by_hand": [case for case, by_hand in summary.cases.items() if by_hand],
        "exit_status": status,
    }


def print_summary(summary: Summary, source: Source, *, is_dry_run: bool, found: list[Result]) -> None:
    """Print the table, and below it what it means and what to do."""
    console = Console()
    table = Table(show_edge=False, show_header=False)
    table.add_column("what", no_wrap=True)
    table.add_column("how many", justify="right", no_wrap=True)
    for what, how_many in _rows(summary.counters):
        table.add_row(what, how_many)
    console.print(Text(source.name), soft_wrap=True)
    console.print(table)
    for result in found:
        case = "" if result.case_id is None else f"case {result.case_id}: "
        console.print(Text(f"{case}{result.entry.name}", "red"), soft_wrap=True)
    for sentence in _sentences(summary, source, is_dry_run=is_dry_run):
        console.print(Text(sentence), soft_wrap=True)


def _rows(counters: Counters) -> Iterator[tuple[Text, str]]:
    kinds = counters.kinds

    def row(what: str, count: int, style: str = "") -> tuple[Text, str]:
        return Text(what, style if count else ""), f"{count:,}"

    yield row("files", counters.files)
    yield row("  media", counters.media)
    yield row("  not media", kinds[Kind.NOT_MEDIA])
    yield row("  left out (hidden, empty, temporary, links)", kinds[Kind.LEFT_OUT])
    yield row("  vanished meanwhile", kinds[Kind.VANISHED])
    for reason, count in sorted(counters.errors.items()):
        yield row(f"  not read: {_words(reason)}", count, "yellow")
    yield row("of the media", counters.media)
    yield row("  known already", counters.known)
    yield row("  scanned now", counters.scanned)
    yield row("  no match", kinds[Kind.NO_MATCH])
    for category, count in sorted(counters.matched.items()):
        yield row(f"  match: {category or 'category unknown'}", count, "red")
    if kinds[Kind.UPHELD]:
        yield row("  upheld by a person before", kinds[Kind.UPHELD], "red")
    if kinds[Kind.RELEASED]:
        yield row("  released by a person before", kinds[Kind.RELEASED])
    for reason, count in sorted(counters.unscannable.items()):
        yield row(f"  unscannable: {_words(reason)}", count, "yellow")
    yield Text("read"), decimal(counters.size)
    yield Text("time"), _duration(counters.seconds)


def _sentences(summary: Summary, source: Source, *, is_dry_run: bool) -> Iterator[str]:
    counters = summary.counters
    if summary.has_state_changed:
        yield (
            "The scanner has changed since this sweep began (lists, models or settings). What came before "
            "was examined as it was then; --restart begins anew, and what is known already takes little time."
        )
    if counters.kinds[Kind.UNSCANNABLE] or counters.kinds[Kind.ERROR]:
        yield (
            "Not everything could be examined. What is unscannable or was not read may be anything; a report "
            "(--report FILE) names these files."
        )
    if summary.cases:
        yield f"Cases: {_name_cases(list(summary.cases))}. `breakwater cases list` shows what is open."
    if counters.errands:
        yield (
            f"Files handed to the relay to be removed, as your policy says: {counters.errands:,}. It does so "
            "through your server while it runs."
        )
    by_hand = [case for case, is_by_hand in summary.cases.items() if is_by_hand]
    if by_hand:
        yield f"Your policy wants files of these cases removed: {_name_cases(by_hand)}. {source.by_hand}"
    if is_dry_run and counters.found:
        yield (
            "This was a dry run: no case was opened and nothing was removed. Without --dry-run the cases are "
            "opened; what is known already is not scanned again."
        )
    if counters.found:
        yield "--show-paths names the files here, --report FILE in a file that only you can read."
    if not summary.is_finished and not summary.failure:
        yield "Stopped. What was examined is kept; run the same command again to go on from there."


def _name_cases(cases: list[int]) -> str:
    more = len(cases) - _MAX_CASES_SHOWN
    shown = ", ".join(str(case) for case in cases[:_MAX_CASES_SHOWN])
    return f"{shown} and {more:,} more" if more > 0 else shown


def _words(reason: str) -> str:
    return reason.replace("_", " ")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
