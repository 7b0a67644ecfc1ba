"""A relay in a process of its own, as an admin would run it, with the embedded database and its fsync."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

_START_SECONDS = 120
_STOP_SECONDS = 60
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayProcess:
    """A relay that runs beside us.

    Attributes:
        port: Of its doors.
        pid: Of its process; the database server and the decoders are its children.
        data_dir: Everything that it keeps.
    """

    port: int
    pid: int
    data_dir: Path

    @property
    def inbox(self) -> str:
        return f"http://127.0.0.1:{self.port}/inbox"

    @property
    def dsn(self) -> str:
        """Where its database is, as the embedded one notes it while it runs."""
        return (self.data_dir / "run" / "dsn").read_text()


def free_ports(count: int) -> list[int]:
    """Find ports on which nothing listens."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.asynccontextmanager
async def open_relay_process(
    *, backend_url: str, reachable: str = "127.0.0.1:9", settings: Mapping[str, str] | None = None
) -> AsyncIterator[RelayProcess]:
    """Run a relay in front of a backend until the block ends.

    Args:
        backend_url: Where deliveries go.
        reachable: The one private address with its port that the relay may fetch from.
        settings: Further environment variables of its configuration.
    """
    port, admin_port = free_ports(2)
    data_dir = _make_data_dir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BREAKWATER_")}  # noqa: TID251 (the relay's own environment is passed on)
    environ = {
        **kept,
        "BREAKWATER_SERVER_DATA_DIR": str(data_dir),
        "BREAKWATER_SERVER_PORT": str(port),
        "BREAKWATER_SERVER_ADMIN_PORT": str(admin_port),
        "BREAKWATER_BACKEND_URL": backend_url,
        "BREAKWATER_FETCH_ALLOW_PRIVATE": reachable,
        "BREAKWATER_SCANNER_CLASSIFIER": "none",
        "BREAKWATER_LOGS_LEVEL": "warning",
        **(settings or {}),
    }
    log = (data_dir / "relay.log").open("wb")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "relay", "serve", env=environ, stdout=log, stderr=asyncio.subprocess.STDOUT
    )
    try:
        try:
            await _wait_until_ready(process, admin_port)
        except TimeoutError as error:
            said = (data_dir / "relay.log").read_text(errors="replace")[-2000:]
            raise RuntimeError(f"the relay did not start:\n{said}") from error
        yield RelayProcess(port=port, pid=process.pid, data_dir=data_dir)
    finally:
        if process.returncode is None:
            process.terminate()
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        log.close()
        shutil.rmtree(data_dir, ignore_errors=True)


def _make_data_dir() -> Path:
    """Make a directory that the database server's unprivileged user can enter, too."""
    path = Path(tempfile.mkdtemp(prefix="breakwater-bench-"))
    path.chmod(0o711)
    return path


async def _wait_until_ready(process: asyncio.subprocess.Process, admin_port: int) -> None:
    async with asyncio.timeout(_START_SECONDS), httpx.AsyncClient(trust_env=False) as http:
        while True:
            if process.returncode is not None:
                raise TimeoutError
            with contextlib.suppress(httpx.TransportError):
                answer = await http.get(f"http://127.0.0.1:{admin_port}/readyz")
                if answer.is_success:
                    return
            await asyncio.sleep(_POLL_SECONDS)
