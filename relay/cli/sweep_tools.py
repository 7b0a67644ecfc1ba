"""Open what a sweep works with: beside a running relay on its database, or without one."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay import assembly
from relay.backends.adapters import open_adapter, open_pictrs
from relay.errors import ConfigError
from relay.metrics import Metrics
from relay.services.opening import list_documents, open_desk
from relay.stages.scan import ScanTools
from relay.sweep.examine import SweepTools
from relay.sweep.local import LocalSource
from relay.sweep.pictrs import PictrsSource
from relay.sweep.s3 import S3Place, S3Source
from relay.tools.database import open_relay_database
from relay.tools.flights import open_flights
from relay.tools.hash_lists import load_lists_into
from relay.tools.key_files import load_or_create_keys
from relay.tools.list_shelf import open_shelf
from relay.tools.memory import MemoryBudget
from relay.tools.scanning import open_scanning
from relay.tools.spool import open_spool
from scanner.scan import open_scanner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.backends.abilities import Ability
    from relay.clock import Clock
    from relay.config import Settings
    from relay.sweep.source import Source

_CHANCE_BYTES: Final = 4

# For each decoder process: while one picture is decoded, the next is read and looked up.
_FILES_PER_WORKER: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedTools:
    """What a sweep works with.

    Attributes:
        tools: The tools.
        holder: The name of this process.
        width: Files that are examined side by side.
    """

    tools: SweepTools
    holder: str
    width: int


@asynccontextmanager
async def open_sweep_tools(
    settings: Settings, *, clock: Clock, abilities: frozenset[Ability]
) -> AsyncIterator[OpenedTools]:
    """Open database, keys, scanner and spool.

    Args:
        settings: The configuration.
        clock: The time.
        abilities: What the backend's adapter can do about stored files.

    Raises:
        StartupError: The database or the keys cannot be used.
        ScannerError: The scanner cannot be started.
    """
    data_dir, scanner_settings = settings.server.data_dir, assembly.build_scanner_settings(settings)
    workers = scanner_settings.workers or len(os.sched_getaffinity(0))
    holder = f"sweep:{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(_CHANCE_BYTES)}"
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        database = (await enter(open_relay_database(settings))).database
        # The same secret as the relay's own, so that it finds our verdicts and we find its.
        secret = load_or_create_keys(data_dir).secret
        scanner = await asyncio.to_thread(stack.enter_context, open_scanner(scanner_settings))
        width = workers * _FILES_PER_WORKER
        services = list_documents(settings.services)
        scanning = await enter(
            open_scanning(scanner, threads=width, secret=secret, now=clock.now(), services=services)
        )
        shelf = open_shelf(data_dir, prunes=False)
        await load_lists_into(scanning, database, now=clock.now(), shelf=shelf)
        metrics = Metrics()
        tools = SweepTools(
            database=database,
            scans=ScanTools(
                scanning=scanning,
                flights=await enter(open_flights()),
                database=database,
                clock=clock,
                worker=holder,
                services=await enter(
                    open_desk(settings.services, database=database, metrics=metrics, clock=clock)
                ),
            ),
            spool=open_spool(data_dir / "spool", max_bytes=settings.hold.spool_bytes),
            policy=assembly.build_policy(settings),
            acting=assembly.build_acting(settings, abilities=abilities),
            memory=MemoryBudget(),
            metrics=metrics,
            clock=clock,
            max_media_bytes=settings.fetch.max_media_bytes,
        )
        yield OpenedTools(tools=tools, holder=holder, width=width)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedSource:
    """What is swept.

    Attributes:
        source: The source.
        abilities: What the backend's adapter can do about its files.
    """

    source: Source
    abilities: frozenset[Ability] = frozenset()


@asynccontextmanager
async def open_source(settings: Settings, kind: str) -> AsyncIterator[OpenedSource]:
    """Open the source that the settings describe: `local`, `s3` or `pict-rs`.

    Raises:
        ConfigError: They do not.
        SourceError: It cannot be used.
    """
    match kind:
        case "local":
            yield OpenedSource(source=_local(settings))
        case "s3":
            yield OpenedSource(source=_s3(settings))
        case _:
            async with AsyncExitStack() as stack:
                yield await _open_pictrs(stack, settings)


def _local(settings: Settings) -> LocalSource:
    if settings.storage.path is None:
        raise ConfigError(
            "No directory is named, so that nothing was examined. Give --path, or set storage.path to the "
            "directory in which your server keeps media (for Mastodon its public/system)."
        )
    return LocalSource(settings.storage.path)


def _s3(settings: Settings) -> S3Source:
    storage, secret = settings.storage, settings.storage.s3_secret_key.get_secret_value()
    if not storage.s3_bucket:
        raise ConfigError(
            "No bucket is named, so that nothing was examined. Give --bucket, or set storage.s3_bucket (and "
            "storage.s3_endpoint, unless it is at Amazon)."
        )
    if bool(storage.s3_access_key) != bool(secret):
        raise ConfigError(
            "The S3 key is not whole, so that nothing was examined. Set both storage.s3_access_key and "
            "storage.s3_secret_key (or its file), or neither for a bucket that everybody may read."
        )
    return S3Source(
        S3Place(
            bucket=storage.s3_bucket,
            prefix=storage.s3_prefix,
            endpoint=storage.s3_endpoint,
            region=storage.s3_region,
            access_key=storage.s3_access_key,
            secret_key=secret,
            connect_timeout_s=settings.fetch.connect_timeout_s,
            max_bytes=settings.fetch.max_media_bytes,
        )
    )


async def _open_pictrs(stack: AsyncExitStack, settings: Settings) -> OpenedSource:
    try:
        pictrs = await stack.enter_async_context(open_pictrs(settings.backend))
        adapter = await stack.enter_async_context(open_adapter(settings.backend, domain=settings.domain))
    except ValueError as error:
        raise ConfigError(
            "An address of the backend section cannot be used, so that nothing was examined: "
            f"{error}. See to backend.url, backend.api_url and backend.pictrs_url."
        ) from error
    if pictrs is None:
        raise ConfigError(
            "No pict-rs is named, so that nothing was examined. Set backend.pictrs_url to where it is "
            "reached and backend.pictrs_key to its API key (its `server.api_key`)."
        )
    source = PictrsSource(pictrs, url=settings.backend.pictrs_url, max_bytes=settings.fetch.max_media_bytes)
    return OpenedSource(source=source, abilities=frozenset() if adapter is None else adapter.abilities)
