"""`breakwater sweep`: examine what a server has already stored."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from relay.cli.options import config_options, explained, fail, json_option, print_json, read_settings, run
from relay.cli.sweep_tools import open_source, open_sweep_tools
from relay.cli.sweep_view import SweepView, build_progress, open_report, print_summary, summary_to_json
from relay.clock import SystemClock
from relay.logs import configure_logs
from relay.sweep.begin import Order
from relay.sweep.examine import Manner
from relay.sweep.run import run_sweep

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.config import Settings
    from relay.sweep.run import Summary

EXIT_INCOMPLETE: Final = 1
EXIT_FOUND: Final = 3

_EPILOG: Final = """\b
Exit status:
  0  all media was examined, and nothing was found
  1  not everything was examined: unscannable or unread files, stopped, or broken off
  2  the sweep could not be begun, or the database failed
  3  something was found (whatever else there is to say)
"""


@click.group("sweep", epilog=_EPILOG)
def sweep_group() -> None:
    """Examine what your server has already stored.

    Every file is looked at as media that comes in would be, with the same lists and models, beside a running
    relay or without one. What is known already is not scanned again.

    \b
    1. Run it with --dry-run: it prints what it found and changes nothing.
    2. Run it again without: it opens cases, and where policy.<category>.act is
       `remove` and the match is exact, it has the file removed by the adapter
       of your server. It never deletes a file itself.

    Stop it with Ctrl-C whenever you like; the same command goes on from there.
    """  # noqa: D301 (click reads the backspace as: keep these lines)


def _sweep_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that all sweeps share."""
    options = (
        click.option("--dry-run", is_flag=True, help="Only look: open no case, remove nothing."),
        click.option("--yes", is_flag=True, help="Go without an earlier dry run of the same source."),
        click.option("--restart", is_flag=True, help="Begin anew; otherwise a stopped sweep goes on."),
        click.option(
            "--show-paths", is_flag=True, help="Name the files that were found, on the terminal alone."
        ),
        click.option(
            "--report",
            "report_path",
            type=click.Path(path_type=Path),
            help="Write the names of what was found, unscannable or not read into a file that only you can "
            "read, one JSON object a line.",
        ),
        click.option(
            "--cases-for-unscannable",
            is_flag=True,
            help="Open a case for everything that could not be examined, too; otherwise it is counted.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return json_option(config_options(command))


@sweep_group.command("local", epilog=_EPILOG)
@click.option("--path", type=click.Path(path_type=Path), help="The directory, in place of storage.path.")
@_sweep_options
def sweep_local(*, path: Path | None, **options: Any) -> None:
    """Sweep a directory on this machine.

    Hidden and temporary files are left out, and links are not followed.
    """
    _sweep("local", {"path": path}, **options)


@sweep_group.command("s3", epilog=_EPILOG)
@click.option("--bucket", help="The bucket, in place of storage.s3_bucket.")
@click.option("--prefix", help="How the names begin, in place of storage.s3_prefix.")
@click.option("--endpoint", help="The address of the service, in place of storage.s3_endpoint.")
@_sweep_options
def sweep_s3(*, bucket: str | None, prefix: str | None, endpoint: str | None, **options: Any) -> None:
    """Sweep an S3 bucket.

    The key comes from storage.s3_access_key and storage.s3_secret_key; one that may list and read is enough.
    The variables and files of Amazon's own tools are not read.
    """
    _sweep("s3", {"s3_bucket": bucket, "s3_prefix": prefix, "s3_endpoint": endpoint}, **options)


@sweep_group.command("pict-rs", epilog=_EPILOG)
@_sweep_options
def sweep_pictrs(**options: Any) -> None:
    """Sweep the pict-rs behind a Lemmy, through its own API.

    Set backend.pictrs_url and backend.pictrs_key. Known files are purged by the relay where your policy says
    so and backend.token is set.
    """
    _sweep("pict-rs", {}, **options)


def _sweep(
    kind: str,
    storage: dict[str, object],
    *,
    dry_run: bool,
    yes: bool,
    restart: bool,
    show_paths: bool,
    report_path: Path | None,
    cases_for_unscannable: bool,
    as_json: bool,
    **place: Any,
) -> None:
    if show_paths and (as_json or not sys.stdout.isatty()):
        fail(
            "--show-paths names files that were found, and only a terminal is shown them. Nothing was "
            "examined. Give --report FILE instead."
        )
    with explained():
        settings = _override(read_settings(**place), storage)
    manner = Manner(is_dry_run=dry_run, asks_about_unscannable=cases_for_unscannable)
    sys.exit(
        run(
            _run(
                settings,
                kind,
                manner,
                restarts=restart,
                skips_dry_run=yes,
                shows_paths=show_paths,
                report_path=report_path,
                as_json=as_json,
            )
        )
    )


def _override(settings: Settings, storage: dict[str, object]) -> Settings:
    given = {name: value for name, value in storage.items() if value is not None}
    return settings.model_copy(update={"storage": settings.storage.model_copy(update=given)})


async def _run(
    settings: Settings,
    kind: str,
    manner: Manner,
    *,
    restarts: bool,
    skips_dry_run: bool,
    shows_paths: bool,
    report_path: Path | None,
    as_json: bool,
) -> int:
    # New cases are said at the end; lines in between would tear the progress bar.
    configure_logs(level="error", form=settings.logs.format)
    clock = SystemClock()
    with open_report(report_path) as report, build_progress(is_quiet=as_json) as progress:
        view = SweepView(clock=clock, progress=progress, report=report, keeps_names=shows_paths)
        async with (
            open_source(settings, kind) as opened,
            open_sweep_tools(settings, clock=clock, abilities=opened.abilities) as work,
        ):
            order = Order(
                manner=manner,
                holder=work.holder,
                width=work.width,
                restarts=restarts,
                skips_dry_run=skips_dry_run,
            )
            summary = await run_sweep(
                opened.source, order, tools=work.tools, watcher=view, stop=_stop_at_signals()
            )
    status = _choose_status(summary)
    if as_json:
        print_json(summary_to_json(summary, opened.source, is_dry_run=manner.is_dry_run, status=status))
    else:
        print_summary(summary, opened.source, is_dry_run=manner.is_dry_run, found=view.found)
    if summary.failure:
        click.echo(f"Error: {summary.failure}", err=True)
    return status


def _stop_at_signals() -> asyncio.Event:
    """Return what the first Ctrl-C or SIGTERM sets; a second Ctrl-C breaks off at once."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def end() -> None:
        stop.set()
        click.echo("Stopping after the files that were begun. Ctrl-C again breaks off at once.", err=True)
        loop.remove_signal_handler(signal.SIGINT)

    loop.add_signal_handler(signal.SIGINT, end)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    return stop


def _choose_status(summary: Summary) -> int:
    if summary.counters.found:
        return EXIT_FOUND
    return 0 if summary.is_finished and summary.counters.is_complete else EXIT_INCOMPLETE
