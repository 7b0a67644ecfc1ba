"""Build everything, run it, and take it down in the opposite order; the only place that does.

ground     what everything else stands on: database, keys, scanner, the ways to others
line       the tools of the line
exchange   what asks other relays, and what answers them
doors      which paths each door has, and where it listens
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from relay import assembly
from relay.app.doors import open_doors
from relay.app.exchange import build_answering, open_asking
from relay.app.ground import open_ground
from relay.app.line import open_line
from relay.audits.audit import AuditTools
from relay.audits.sparing import spare_the_absent
from relay.audits.worker import AuditWorker
from relay.config import csam_handling_problems, read_environment
from relay.errands.uploads import UploadTools
from relay.errands.worker import ErrandTools, ErrandWorkers
from relay.own_lists import OwnListKeeper, OwnListTools
from relay.rescans.warned import WarnedWorker
from relay.rescans.worker import RescanWorker
from relay.sources.run import SyncTools
from relay.sources.worker import ListSyncs
from relay.tools.hash_lists import ListWatch
from relay.tools.own_media import open_upstream_client
from relay.workers import Workers, WorkerSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.app.exchange import Answering
    from relay.app.ground import Ground
    from relay.clock import Clock
    from relay.config import Settings
    from relay.exchange.announcing import Announcer
    from relay.exchange.reader import FeedReader
    from relay.metrics import Metrics
    from relay.pipeline import Tools
    from relay.tools.fetching import GuardedClient

# A worker mostly waits, for a remote server or for a decoder; more of them than this only take memory.
_WORKERS: Final = 8


class Loop(Protocol):
    """Something that goes on until it is told to stop."""

    async def run(self) -> None:
        """Go on until stopped."""
        ...

    def stop(self) -> None:
        """Finish what is under way, and begin nothing more."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """A relay that runs.

    Attributes:
        door_url: Where deliveries come in, as reachable from this machine.
        admin_url: Where health, metrics and the self-test are.
        actor: The id of its actor.
        backend_url: Where deliveries go.
        is_standin: They go to the built-in stand-in, because no backend is configured.
        database_place: Where the database is, without its password.
        workers: What works through the queue.
        errands: What works through the list of errands.
        rescans: What compares media seen before with lists that came later.
        warned: What looks again at media seen before that a peer's warning fits.
        audits: What scans, now and then, what a peer's word has spared us.
        reader: What reads the feeds of our peers; None where the admin does not want it.
        list_syncs: What fetches the lists of others.
        own_lists: What makes lists of what moderators uphold; None where the admin does not want it.
        talk: What else goes on between us and other relays.
        list_watch: What loads the hash lists again when they change.
    """

    door_url: str
    admin_url: str
    actor: str
    backend_url: str
    is_standin: bool
    database_place: str
    workers: Workers
    errands: ErrandWorkers
    rescans: RescanWorker
    warned: WarnedWorker
    audits: AuditWorker
    reader: FeedReader | None
    list_syncs: ListSyncs
    own_lists: OwnListKeeper | None
    talk: tuple[Loop, ...]
    list_watch: ListWatch

    @property
    def loops(self) -> tuple[Loop, ...]:
        """All that goes on until it is told to stop."""
        wanted = tuple(one for one in (self.reader, self.own_lists) if one is not None)
        background = (self.errands, self.rescans, self.warned, self.audits, self.list_syncs)
        return (*self.talk, *wanted, self.workers, *background)


@asynccontextmanager
async def open_relay(settings: Settings, *, clock: Clock, metrics: Metrics) -> AsyncIterator[Relay]:
    """Start a relay: database, keys, scanner, client, workers, doors.

    Raises:
        StartupError: A part could not be started; what was started before is stopped again.
        ConfigError: The settings contradict each other.
    """
    async with AsyncExitStack() as stack:
        ground = await open_ground(stack, settings, clock=clock, metrics=metrics)
        asking = await open_asking(stack, ground)
        tools = await open_line(stack, ground, peers=asking.tools)
        upstream = await stack.enter_async_context(open_upstream_client(clock))
        workers = _build_workers(ground, tools)
        await workers.take_stock()
        answering = build_answering(ground, asking)
        await open_doors(stack, ground, tools, answering, upstream=upstream)
        server, rescans = settings.server, RescanWorker(tools)
        yield Relay(
            door_url=assembly.local_url(server.host, server.port),
            admin_url=assembly.local_url(server.admin_host, server.admin_port),
            actor=ground.identity.actor,
            backend_url=settings.backend.url or ground.standin.url,
            is_standin=not settings.backend.url,
            database_place=ground.database_place,
            workers=workers,
            errands=_build_errands(ground, tools, upstream=upstream),
            rescans=rescans,
            warned=WarnedWorker(tools),
            audits=AuditWorker(
                AuditTools(line=tools, peers=spare_the_absent(asking.tools), name=ground.name)
            ),
            reader=answering.reader,
            list_syncs=_build_list_syncs(ground),
            own_lists=_build_own_lists(ground) if settings.scanner.own_lists else None,
            talk=_list_talk(answering),
            list_watch=ListWatch(
                scanning=ground.scanning,
                database=ground.database,
                clock=clock,
                shelf=ground.shelf,
                on_change=partial(_wake_all, answering.announcer, rescans),
            ),
        )


async def run_relay(relay: Relay, *, stop: asyncio.Event) -> None:
    """Work until told to stop."""
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(relay.list_watch.run())
        for loop in relay.loops:
            group.create_task(loop.run())
        await stop.wait()
        for loop in relay.loops:
            loop.stop()
        watching.cancel()


def _wake_all(*sleepers: Announcer | RescanWorker) -> None:
    for one in sleepers:
        one.wake()


def _build_list_syncs(ground: Ground) -> ListSyncs:
    return ListSyncs(
        SyncTools(
            database=ground.database,
            client=ground.client,
            clock=ground.clock,
            environ=read_environment(),
            worker=ground.name,
            legal_problems=tuple(csam_handling_problems(ground.settings)),
        ),
        metrics=ground.metrics,
    )


def _build_workers(ground: Ground, tools: Tools) -> Workers:
    return Workers(
        tools,
        WorkerSettings(
            name=ground.name,
            count=_WORKERS,
            withheld_kept=assembly.withheld_kept(ground.settings),
            feed_kept=assembly.feed_kept(ground.settings),
        ),
    )


def _build_errands(ground: Ground, tools: Tools, *, upstream: GuardedClient) -> ErrandWorkers:
    uploads = UploadTools(
        line=tools,
        hosts=assembly.build_media_hosts(ground.settings),
        source=assembly.build_media_source(ground.settings, inside=upstream, outside=tools.client),
    )
    return ErrandWorkers(
        ErrandTools(
            database=ground.database,
            api=ground.api,
            uploads=uploads,
            metrics=ground.metrics,
            clock=ground.clock,
            name=ground.name,
        )
    )


def _build_own_lists(ground: Ground) -> OwnListKeeper:
    return OwnListKeeper(
        OwnListTools(
            database=ground.database,
            clock=ground.clock,
            handles_csam=not csam_handling_problems(ground.settings),
        )
    )


def _list_talk(answering: Answering) -> tuple[Loop, ...]:
    return (
        answering.announcer,
        answering.alert_courier,
        answering.alert_matcher,
        answering.courier,
        answering.upkeep,
        answering.bell,
    )
