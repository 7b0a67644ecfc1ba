"""Open what the commands about peers work with."""

from __future__ import annotations

import os
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from relay import assembly
from relay.clock import Clock, SystemClock
from relay.errors import BreakwaterError
from relay.exchange.courier import Courier
from relay.tools.database import open_relay_database
from relay.tools.fetching import GuardedClient, open_guarded_client
from relay.tools.identity import Identity, IdentitySigner
from relay.tools.key_files import load_or_create_keys, read_private

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from db.pool import Database
    from relay.config import Settings

T = TypeVar("T")

ALERT_KEY_BYTES: Final = 32


class NoPublicAddressError(BreakwaterError):
    """Others cannot read the relay's own actor."""


class AlertKeyError(BreakwaterError):
    """The file with the key for alerts cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerTools:
    """What commands about peers work with."""

    database: Database
    client: GuardedClient
    identity: Identity
    courier: Courier
    clock: Clock


@asynccontextmanager
async def open_peer_tools(settings: Settings) -> AsyncIterator[PeerTools]:
    """Open the database and what asks and tells other relays, whether or not the relay runs.

    Raises:
        StartupError: The database or the keys cannot be used.
    """
    clock = SystemClock()
    keys = load_or_create_keys(settings.server.data_dir)
    identity = Identity(
        base_url=settings.base_url,
        http_key=keys.http_key,
        signing_key=keys.signing_key,
        secret=keys.secret,
        retired=keys.retired,
        api_key=keys.api_key,
    )
    policy = assembly.build_fetch_policy(settings, own=())
    async with open_relay_database(settings) as opened, open_guarded_client(policy, clock) as client:
        yield PeerTools(
            database=opened.database,
            client=client,
            identity=identity,
            courier=Courier(
                database=opened.database,
                client=client,
                signer=IdentitySigner(identity=identity, clock=clock),
                clock=clock,
            ),
            clock=clock,
        )


def make_alert_key(path: Path) -> bytes:
    """Make a key for alerts and write it to a file that only its owner can read.

    Raises:
        AlertKeyError: There is such a file already, or it cannot be written.
    """
    key = secrets.token_bytes(ALERT_KEY_BYTES)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{key.hex()}\n")
    except FileExistsError as error:
        raise AlertKeyError(
            f"{path} is there already, and was not replaced. To use the key in it: --key-file {path}"
        ) from error
    except OSError as error:
        raise AlertKeyError(
            f"{path} cannot be written ({error.strerror}). Choose another place for the key."
        ) from error
    return key


def read_alert_key(path: Path) -> bytes:
    """Read a key for alerts.

    Raises:
        AlertKeyError: The file does not hold one.
        StartupError: It cannot be read, or others can read it.
    """
    try:
        key = bytes.fromhex(read_private(path).decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != ALERT_KEY_BYTES:
        raise AlertKeyError(
            f"{path} holds no key for alerts: 64 hexadecimal digits are one. Nothing was changed. Ask the "
            "other admin for the file that `breakwater peers alerts --new-key` wrote."
        )
    return key


async def with_peer_tools(settings: Settings, work: Callable[[PeerTools], Awaitable[T]]) -> T:
    """Do work with what asks and tells other relays.

    Raises:
        NoPublicAddressError: Nobody could answer, because others cannot read this relay's actor.
        StartupError: The database or the keys cannot be used.
    """
    if not settings.base_url.startswith("https://") and not settings.fetch.allow_http:
        raise NoPublicAddressError(
            f"This relay's own address is {settings.base_url}, which other relays cannot read: they could "
            "not verify what it sends them. Nothing was changed. Set identity.base_url to its public https "
            "address, restart the relay, and try again."
        )
    async with open_peer_tools(settings) as tools:
        return await work(tools)
