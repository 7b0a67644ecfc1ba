"""Begin a sweep, or go on with one: one at a time for each source, and no acting before a dry run."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from db import sweeps
from db.errors import DatabaseError
from db.sweeps import SweepState
from relay.errors import BreakwaterError
from relay.sweep.counting import counters_from_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from db.sweeps import Sweep
    from relay.sweep.examine import Manner, SweepTools
    from relay.sweep.source import Source

LEASE: Final = timedelta(seconds=60)
"""Longer than a database is away while it restarts; whoever lost its process waits no longer than this."""


class SweepRefusedError(BreakwaterError):
    """The sweep was not begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is asked for.

    Attributes:
        manner: How to go about what is found.
        holder: The name of this process.
        width: Files that are examined side by side.
        restarts: Begin anew, whatever was done before.
        skips_dry_run: Act although no dry run of this source was finished before.
    """

    manner: Manner
    holder: str
    width: int
    restarts: bool = False
    skips_dry_run: bool = False


@asynccontextmanager
async def hold_lease(source: Source, order: Order, tools: SweepTools) -> AsyncIterator[None]:
    """Hold a source, so that nobody else sweeps it meanwhile; whoever works prolongs the lease.

    Raises:
        SweepRefusedError: Somebody else holds it.
    """
    async with tools.database.connection() as conn:
        is_ours = await sweeps.take_lease(
            conn, source.name, holder=order.holder, lease=LEASE, now=tools.clock.now()
        )
        end = None if is_ours else await sweeps.find_lease_end(conn, source.name)
    if not is_ours:
        until = "" if end is None else f" at {end:%H:%M:%S} UTC"
        raise SweepRefusedError(
            "Another sweep of the same source is running, so that this one was not begun. Wait for it, or "
            f"stop it with Ctrl-C. If its process is gone, its hold ends by itself{until}; try again then."
        )
    try:
        yield
    finally:
        with suppress(DatabaseError):
            async with tools.database.connection() as conn:
                await sweeps.release_lease(conn, source.name, holder=order.holder)


async def begin(source: Source, order: Order, tools: SweepTools) -> tuple[Sweep, int]:
    """Find the sweep to go on with or begin one; return it and how many files an earlier one counted.

    Raises:
        SweepRefusedError: It would act, and no dry run was finished before.
    """
    now, is_dry_run = tools.clock.now(), order.manner.is_dry_run
    async with tools.database.transaction() as conn:
        if not is_dry_run and not order.skips_dry_run:
            rehearsal = await sweeps.find_finished(conn, source.name, dry_runs_only=True)
            if rehearsal is None:
                raise SweepRefusedError(
                    "No dry run of this source was finished before, so that nothing was begun: a sweep opens "
                    "cases, and has files removed where your policy says so. Run it with --dry-run first and "
                    "look at its table; or give --yes to go without."
                )
        last = await sweeps.find_finished(conn, source.name)
        sweep = await sweeps.find_open(conn, source.name, is_dry_run=is_dry_run)
        if sweep is not None and order.restarts:
            await sweeps.end_sweep(conn, sweep.id, to=SweepState.ABANDONED, now=now)
            sweep = None
        if sweep is None:
            sweep = await sweeps.start_sweep(
                conn,
                source.name,
                is_dry_run=is_dry_run,
                state_digest=tools.scans.scanning.state_digest,
                now=now,
            )
    return sweep, 0 if last is None else counters_from_json(last.counters).files
