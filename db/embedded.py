"""Run a PostgreSQL of our own in the data directory, for installs that bring no database.

What lies in `<data directory>/postgres`:

    lock        held by the relay that uses the directory; a second one is refused
    location    where the cluster was put, decided once
    password    of the only role, readable by the relay's user alone
    server.log  bounded; holds no statement texts, parameters or row values
    cluster     the PostgreSQL data directory, unless `location` says otherwise
    run         the socket, unless its path would be too long

The server dies with the relay: the kernel sends it a fast shutdown when the relay is killed.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import os
import secrets
import shutil
import stat
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from db.errors import EmbeddedPostgresError
from db.installation import (
    Identity,
    Installation,
    choose_cluster_home,
    choose_identity,
    find_installation,
    make_directory,
    place_installation,
)
from db.postmaster import Postmaster, run_to_end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

_log = logging.getLogger(__name__)

ROLE: Final = "breakwater"
# The database that every cluster has; another one would cost a tenth of a second on the first start.
DATABASE: Final = "postgres"

# Source: unix(7), sun_path holds 108 bytes with the closing NUL.
MAX_SOCKET_PATH_BYTES: Final = 107
_SOCKET_NAME: Final = ".s.PGSQL.5432"
_SHORT_DIGITS: Final = 16  # 64 bits tell the data directories of one machine apart.

# A relay that is being restarted, or a command that only looks whether one runs, lets go within this.
LOCK_SECONDS: Final = 2.0
_LOCK_POLL_SECONDS: Final = 0.02
_PASSWORD_BYTES: Final = 24
_INITDB_SECONDS: Final = 120.0  # It takes one second; a busy spinning disk may need many more.


@asynccontextmanager
async def open_postgres(data_dir: Path, *, settings: Mapping[str, str] | None = None) -> AsyncIterator[str]:
    """Start the embedded server on a data directory and yield the DSN of its database.

    `settings` of the server take the place of ours; a test that need not survive a loss of power saves
    the time of `fsync`.

    Raises:
        EmbeddedPostgresError: Another relay uses the directory, or the server cannot be started.
    """
    async with AsyncExitStack() as stack:
        try:
            home = _home_of(data_dir)
            # Others may pass through but not list, so that the unprivileged owner reaches the cluster.
            await asyncio.to_thread(_make_home, data_dir, home)
            await stack.enter_async_context(_hold_lock(home / "lock"))
            server, password, socket_dir = await _prepare(data_dir, home, settings or {})
        except OSError as error:
            raise EmbeddedPostgresError(
                what=f"The embedded database cannot use {data_dir}: {error.strerror}.",
                meaning="Without a database nothing can be stored, so nothing was started.",
                remedy="Check the owner, the mode and the free space of the data directory.",
            ) from error
        await stack.enter_async_context(server.running())
        query = urlencode({"host": str(socket_dir)}, quote_via=quote)
        yield f"postgresql://{ROLE}:{password}@/{DATABASE}?{query}"


async def _prepare(data_dir: Path, home: Path, settings: Mapping[str, str]) -> tuple[Postmaster, str, Path]:
    """Make what is missing of the cluster and describe the server that shall run on it."""
    place = await asyncio.to_thread(_place, data_dir, home)
    identity, cluster, installation = place
    password = await asyncio.to_thread(_read_or_make_password, home / "password")
    if not (cluster / "PG_VERSION").exists():
        await _make_cluster(installation, identity, cluster, password)
    socket_dir = await asyncio.to_thread(_make_socket_dir, cluster.parent, data_dir, identity)
    server = Postmaster(
        program=installation.postgres,
        cluster=cluster,
        socket_dir=socket_dir,
        identity=identity,
        log_file=home / "server.log",
        settings=settings,
    )
    return server, password, socket_dir


def _home_of(data_dir: Path) -> Path:
    return data_dir.absolute() / "postgres"


def _make_home(data_dir: Path, home: Path) -> None:
    if not data_dir.exists():
        data_dir.mkdir(parents=True, mode=0o700)
        if os.geteuid() == 0:
            data_dir.chmod(0o711)
    make_directory(home, 0o711 if os.geteuid() == 0 else 0o700)


@asynccontextmanager
async def _hold_lock(path: Path) -> AsyncIterator[None]:
    """Hold the directory for this process.

    Raises:
        EmbeddedPostgresError: Another process holds it and does not let go.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            async with asyncio.timeout(LOCK_SECONDS):
                while not _try_lock(descriptor):  # noqa: ASYNC110 (a lock sets no event)
                    await asyncio.sleep(_LOCK_POLL_SECONDS)
        except TimeoutError as error:
            raise EmbeddedPostgresError(
                what=f"Another relay is already using {path.parent.parent}.",
                meaning="Two relays cannot share one embedded database.",
                remedy="Stop the other one, choose another data directory, or configure a database URL.",
            ) from error
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _place(data_dir: Path, home: Path) -> tuple[Identity, Path, Installation]:
    """Decide who runs the server, where its cluster lies and which programs it uses."""
    record = home / "location"
    known = Path(record.read_text(encoding="utf-8")) if record.exists() else None
    identity = choose_identity(known)
    if known is None:
        cluster = choose_cluster_home(home, data_dir, identity) / "cluster"
        _write_durably(record, str(cluster), 0o600)
    else:
        cluster = known
    if cluster.parent != home:
        _log.warning(
            "user id %d cannot enter the data directory; the database lies in %s", identity.uid, cluster
        )
    version = cluster / "PG_VERSION"
    major = int(version.read_text(encoding="ascii")) if version.exists() else None
    return identity, cluster, place_installation(find_installation(major), cluster.parent, identity)


def _read_or_make_password(path: Path) -> str:
    if not path.exists():
        _write_durably(path, secrets.token_urlsafe(_PASSWORD_BYTES), 0o600)
    return path.read_text(encoding="ascii")


async def _make_cluster(installation: Installation, identity: Identity, cluster: Path, password: str) -> None:
    """Make a cluster beside its place and move it there, so that a half-made one is never used."""
    workshop = cluster.with_suffix(".unfinished")
    await asyncio.to_thread(shutil.rmtree, workshop, ignore_errors=True)
    make_directory(workshop, 0o700, identity)
    password_file = workshop / "password"
    _write_durably(password_file, password, 0o600)
    if not identity.is_own:
        os.chown(password_file, identity.uid, identity.gid)
    await run_to_end(
        [
            str(installation.initdb),
            f"--pgdata={workshop / 'cluster'}",
            f"--username={ROLE}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
        ],
        identity=identity,
        seconds=_INITDB_SECONDS,
    )
    (workshop / "cluster").rename(cluster)
    await asyncio.to_thread(shutil.rmtree, workshop)


def _make_socket_dir(reachable: Path, data_dir: Path, identity: Identity) -> Path:
    """Make the directory of the socket, in a short place where the path would be too long.

    Raises:
        EmbeddedPostgresError: Somebody else made a directory of that name.
    """
    preferred = reachable / "run"
    if len(os.fsencode(preferred / _SOCKET_NAME)) <= MAX_SOCKET_PATH_BYTES:
        make_directory(preferred, 0o700, identity)
        return preferred
    digest = hashlib.sha256(os.fsencode(data_dir.absolute())).hexdigest()[:_SHORT_DIGITS]
    # Only root can write to /run, but everybody to /tmp, so that what lies there must be looked at.
    base = Path("/tmp") if identity.is_own else Path("/run")  # noqa: S108 (owner, mode and kind are checked below)
    short = base / f"breakwater-{digest}"
    make_directory(short, 0o700, identity)
    status = short.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != identity.uid or status.st_mode & 0o077:
        raise EmbeddedPostgresError(
            what=f"{short} exists and is not a private directory of user id {identity.uid}.",
            meaning="The database's socket must not lie where others can replace it.",
            remedy="Remove it, or choose a data directory with a shorter path.",
        )
    return short


def _write_durably(path: Path, text: str, mode: int) -> None:
    """Write a small file so that after a crash it is there wholly or not at all."""
    unfinished = path.with_suffix(".unfinished-file")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)
