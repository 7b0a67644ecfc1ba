"""Start, watch and stop one PostgreSQL server process."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from db.errors import EmbeddedPostgresError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from db.installation import Identity

_log = logging.getLogger(__name__)

_LAUNCHER: Final = Path(__file__).with_name("launch.py")

# Replaying the log after a crash takes seconds; minutes mean that something is wrong.
START_SECONDS: Final = 60.0
# A fast shutdown writes one checkpoint of at most 32 MB of buffers.
STOP_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.01
# How often the log's size and the server's life are looked at.
_WATCH_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 0.2
MAX_LOG_BYTES: Final = 1_048_576  # Two files of this size at most: weeks of warnings.

# pg_ctl reads the same line of postmaster.pid. Source: LOCK_FILE_LINE_PM_STATUS in miscinit.h.
_PID_LINE: Final = 0
_STATUS_LINE: Final = 7
_READY: Final = "ready"

_SETTINGS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "50",
    "shared_buffers": "32MB",
    "huge_pages": "off",
    "max_wal_size": "256MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "io_method": "sync",
    "jit": "off",
    # 202 means committed and on the disk.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "restart_after_crash": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Statements, parameters and the DETAIL of errors can hold URLs and digests of flagged media.
    "log_min_error_statement": "panic",
    "log_min_messages": "warning",
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_checkpoints": "off",
    "logging_collector": "off",
}
# Settings that are unknown to an older server.
_SINCE_18: Final = frozenset({"io_method"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Postmaster:
    """A server that can be run on a finished cluster.

    Attributes:
        program: The `postgres` executable.
        cluster: Its data directory.
        socket_dir: Where its only socket is made.
        identity: Who runs it.
        log_file: What it has to say, bounded by `MAX_LOG_BYTES` and one predecessor.
        settings: What takes the place of our own settings.
    """

    program: Path
    cluster: Path
    socket_dir: Path
    identity: Identity
    log_file: Path
    settings: Mapping[str, str]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the server, start it anew should it die, and stop it at the end.

        Raises:
            EmbeddedPostgresError: It could not be started.
        """
        await self._wait_for_predecessor()
        process = await self._start()
        watch = _Watch(self, process)
        watch.begin()
        try:
            yield
        finally:
            await _stop(watch.end())

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the process without waiting until it serves."""
        settings = {**_SETTINGS, **self.settings, "unix_socket_directories": _quote(self.socket_dir)}
        major = int((self.cluster / "PG_VERSION").read_text(encoding="ascii"))
        if major < 18:  # noqa: PLR2004 (the version is named by the constant)
            settings = {name: value for name, value in settings.items() if name not in _SINCE_18}
        command = [str(self.program), "-D", str(self.cluster)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        extra = {}
        pid = _read_pid(self.cluster)
        if pid is not None and not _is_server_of(pid, self.cluster):
            # The number of a server that was killed may belong to another process by now. PostgreSQL
            # takes this one for stale; its own check for survivors that still use the memory stays.
            extra["PG_GRANDPARENT_PID"] = str(pid)
        log = os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            return _spawn(command, identity=self.identity, output=log, environment=extra)
        finally:
            os.close(log)

    def bound_log(self) -> None:
        """Keep at most one full predecessor of the log."""
        with suppress(FileNotFoundError):
            if self.log_file.stat().st_size > MAX_LOG_BYTES:
                # The server keeps its descriptor, so the file is copied and emptied, not renamed.
                predecessor = self.log_file.with_suffix(".log.1")
                predecessor.touch(mode=0o600)
                predecessor.write_bytes(self.log_file.read_bytes()[-MAX_LOG_BYTES:])
                os.truncate(self.log_file, 0)

    async def _start(self) -> subprocess.Popen[bytes]:
        """Start the server and wait until it serves.

        Raises:
            EmbeddedPostgresError: It ended by itself or did not serve in time.
        """
        deadline = _monotonic() + START_SECONDS
        survivors = _read_pid(self.cluster) is not None
        self.bound_log()
        process = self.spawn()
        try:
            while not self._is_ready(process.pid):
                await asyncio.sleep(_POLL_SECONDS)
                if process.poll() is not None and survivors and _monotonic() < deadline:
                    # Backends of a killed server may take a moment to notice; until then it refuses to start.
                    await asyncio.sleep(_RETRY_SECONDS)
                    process = self.spawn()
                else:
                    self._check_start(process, is_late=_monotonic() >= deadline)
        except BaseException:
            await _stop(process)
            raise
        return process

    def _check_start(self, process: subprocess.Popen[bytes], *, is_late: bool) -> None:
        if process.poll() is not None:
            raise EmbeddedPostgresError(
                what=f"The embedded PostgreSQL ended with status {process.returncode} while starting.",
                meaning="Without a database nothing can be stored, so nothing was started.",
                remedy=f"Read {self.log_file}; a full disk and a full shared memory are usual causes.",
            )
        if is_late:
            raise EmbeddedPostgresError(
                what=f"The embedded PostgreSQL did not serve within {START_SECONDS:.0f} seconds.",
                meaning="It may still be replaying its log after a crash.",
                remedy=f"Read {self.log_file} and start the relay again.",
            )

    def _is_ready(self, pid: int) -> bool:
        lines = _read_pid_file(self.cluster)
        return (
            len(lines) > _STATUS_LINE
            and lines[_PID_LINE].strip() == str(pid)
            and lines[_STATUS_LINE].strip() == _READY
        )

    async def _wait_for_predecessor(self) -> None:
        """Wait for the server of a relay that was killed; the lock is ours, so it serves nobody any more.

        Raises:
            EmbeddedPostgresError: It does not stop.
        """
        pid = _read_pid(self.cluster)
        if pid is None or not _is_server_of(pid, self.cluster):
            return
        _log.info("waiting for the previous embedded PostgreSQL to stop")
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
        deadline = _monotonic() + STOP_SECONDS
        while _is_server_of(pid, self.cluster):
            if _monotonic() >= deadline:
                raise EmbeddedPostgresError(
                    what=f"The previous embedded PostgreSQL (process {pid}) does not stop.",
                    meaning="Two servers cannot use one cluster.",
                    remedy="Stop that process with SIGINT and start the relay again.",
                )
            await asyncio.sleep(_POLL_SECONDS)


class _Watch:
    """Look after a running server: bound its log, and start it anew should it die."""

    def __init__(self, server: Postmaster, process: subprocess.Popen[bytes]) -> None:
        self._server = server
        self._process = process
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_WATCH_SECONDS, self._look)

    def end(self) -> subprocess.Popen[bytes]:
        if self._timer is not None:
            self._timer.cancel()
        return self._process

    def _look(self) -> None:
        try:
            self._server.bound_log()
            if self._process.poll() is not None:
                _log.error(
                    "the embedded PostgreSQL ended with status %d; starting it anew", self._process.returncode
                )
                self._process = self._server.spawn()
        except OSError:
            _log.exception("the embedded PostgreSQL cannot be looked after; trying again")
        finally:
            self.begin()


async def run_to_end(command: Sequence[str], *, identity: Identity, seconds: float) -> None:
    """Run a program to its end.

    Raises:
        EmbeddedPostgresError: It failed or took too long.
    """
    with tempfile.TemporaryFile() as output:
        process = _spawn(command, identity=identity, output=output.fileno(), environment={})
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while process.poll() is None:  # noqa: ASYNC110 (a process sets no event)
                        await asyncio.sleep(_POLL_SECONDS)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode != 0:
            output.seek(0)
            said = [line for line in output.read().decode(errors="replace").splitlines() if "error" in line]
            raise EmbeddedPostgresError(
                what=f"{Path(command[0]).name} ended with status {process.returncode}.",
                meaning=" ".join(said[:3]) or "It gave no reason.",
                remedy="Check the owner, the mode and the free space of the data directory.",
            )


def _spawn(
    command: Sequence[str], *, identity: Identity, output: int, environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    """Start a PostgreSQL program that dies with the calling thread's process.

    It gets a session of its own, so that Ctrl-C in a terminal reaches the relay alone.
    """
    who = ["-1", "-1"] if identity.is_own else [str(identity.uid), str(identity.gid)]
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), *who, *command],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", **environment},
        start_new_session=True,
    )


async def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask for a fast shutdown, and end it by force when that takes too long; nothing committed is lost."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    deadline = _monotonic() + STOP_SECONDS
    while process.poll() is None:
        if _monotonic() >= deadline:
            _log.warning("the embedded PostgreSQL does not stop; it will recover at its next start")
            process.send_signal(signal.SIGQUIT)
            deadline = float("inf")
        await asyncio.sleep(_POLL_SECONDS)


def _monotonic() -> float:
    """Return the running loop's seconds, which never step back."""
    return asyncio.get_running_loop().time()


def _quote(path: Path) -> str:
    """Quote a path for a setting that holds a list."""
    return '"' + str(path).replace('"', '""') + '"'


def _read_pid_file(cluster: Path) -> list[str]:
    try:
        return (cluster / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []


def _read_pid(cluster: Path) -> int | None:
    lines = _read_pid_file(cluster)
    try:
        return abs(int(lines[_PID_LINE])) if lines else None
    except ValueError:
        return None


def _is_server_of(pid: int, cluster: Path) -> bool:
    """Tell whether a process is a live server of this cluster, in which every server works."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == cluster.resolve()
    except OSError:
        return False
