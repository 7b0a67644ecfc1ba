"""The relay as its admin runs it: a process of its own, with its own data directory, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx

from relay.config import read_environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

START_SECONDS: Final = 90
"""A start makes a database cluster and two keys, and imports the scanner; a busy machine takes its time."""

_STOP_SECONDS: Final = 30
_POLL_SECONDS: Final = 0.05
_ROOT: Final = Path(__file__).parents[2]

# Below where Linux takes the ports of outgoing connections from (32768), so that none is lost between its
# choice and its use; and elsewhere for each process that runs tests.
_candidates = itertools.cycle(range(20_000 + os.getpid() % 400 * 30, 32_700))


class RelayProcess:
    """One relay; it can be killed and started again on the same data.

    Attributes:
        data_dir: Everything that it keeps.
        port: The inbox door.
        admin_port: Health, metrics and self-test.
        log_path: Everything that it ever printed, over all its starts.
    """

    def __init__(self, data_dir: Path, environ: Mapping[str, str]) -> None:
        self.data_dir = data_dir
        self.port, self.admin_port = free_ports(2)
        self.log_path = data_dir.parent / f"{data_dir.name}.log"
        self._environ = dict(environ)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def door(self) -> str:
        """The URL of the inbox door."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def inbox(self) -> str:
        """The URL of the shared inbox."""
        return f"{self.door}/inbox"

    @property
    def admin(self) -> str:
        """The URL of the admin port."""
        return f"http://127.0.0.1:{self.admin_port}"

    @property
    def base_url(self) -> str:
        """The URL under which its own documents lie."""
        return f"{self.door}/breakwater"

    @property
    def pid(self) -> int:
        """The id of the running process."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start, and wait until deliveries can be accepted."""
        await self.spawn()
        await self.wait_until_ready()

    async def spawn(self) -> None:
        """Start without waiting."""
        command = ["-m", "relay", "serve", "--data-dir", str(self.data_dir), "--port", str(self.port)]
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *command,
                "--admin-port",
                str(self.admin_port),
                cwd=_ROOT,
                env=self.environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def environment(self) -> dict[str, str]:
        """The environment that the process runs in; also for commands that speak to it."""
        return {**read_environment(), **self._environ}

    async def wait_until_ready(self) -> None:
        """Wait until the admin port says that deliveries can be accepted."""
        assert self._process is not None
        async with asyncio.timeout(START_SECONDS), httpx.AsyncClient(trust_env=False) as http:
            while True:
                if self._process.returncode is not None:
                    raise AssertionError(f"the relay ended at its start:\n{self.read_log()[-4000:]}")
                with contextlib.suppress(httpx.HTTPError):
                    if (await http.get(f"{self.admin}/readyz")).is_success:
                        return
                await asyncio.sleep(_POLL_SECONDS)

    async def stop(self) -> None:
        """Ask it to stop, as its service manager would, and wait until it has."""
        await self._end(signal.SIGTERM)

    async def kill9(self) -> None:
        """Kill it without a warning."""
        await self._end(signal.SIGKILL)

    async def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.send_signal(number)
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise AssertionError(f"the relay did not stop:\n{self.read_log()[-4000:]}") from None

    def read_log(self) -> str:
        """Return everything that it ever printed."""
        return self.log_path.read_text(errors="replace")

    async def metrics(self) -> str:
        """Return its metrics page."""
        async with httpx.AsyncClient(trust_env=False) as http:
            return (await http.get(f"{self.admin}/metrics")).text

    @property
    def dsn(self) -> str:
        """Where its database is; the embedded one notes it while it runs."""
        given = self._environ.get("BREAKWATER_DATABASE_URL")
        return given or (self.data_dir / "run" / "dsn").read_text()

    async def run_command(self, *arguments: str) -> tuple[int, str]:
        """Run another `breakwater` command beside it; return its exit status and all its output."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "relay",
            *arguments,
            cwd=_ROOT,
            env=self.environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode(errors="replace")


@contextlib.contextmanager
def scratch_directory() -> Iterator[Path]:
    """A directory that an unprivileged user can pass through, as the embedded database needs it for root."""
    path = Path(tempfile.mkdtemp(prefix="breakwater-e2e-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.asynccontextmanager
async def open_relay_process(
    *, backend_url: str, ports: Sequence[int], **settings: str
) -> AsyncIterator[RelayProcess]:
    """Run a relay until the block ends.

    Args:
        backend_url: The server behind it.
        ports: The ports of the remote servers, which it may dial on loopback.
        settings: More settings by their names with an underscore for each dot.
    """
    with scratch_directory() as directory:
        relay = RelayProcess(
            directory / "data", build_environment(backend_url=backend_url, ports=ports, **settings)
        )
        try:
            await relay.start()
            yield relay
        finally:
            await relay.stop()


def build_environment(*, backend_url: str, ports: Sequence[int], **settings: str) -> dict[str, str]:
    """Build the environment variables of a relay that may dial loopback."""
    named = {
        "backend_url": backend_url,
        "fetch_allow_http": "true",
        "fetch_allow_private": "127.0.0.0/8",
        "fetch_ports": ",".join(map(str, ports)),
        "scanner_classifier": "none",
        "attest_withhold_share_permille": "0",
        "logs_level": "debug",
        **settings,
    }
    return {f"BREAKWATER_{name.upper()}": value for name, value in named.items()}


def free_ports(count: int) -> tuple[int, ...]:
    """Return ports that nobody listened on a moment ago, and that no outgoing connection is given."""
    found: list[int] = []
    while len(found) < count:
        port = next(_candidates)
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            found.append(port)
    return tuple(found)
