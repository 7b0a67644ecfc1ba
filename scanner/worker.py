"""One decoder process and the process it is forked from, as the scanner's side holds them."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from scanner.errors import MalformedError
from scanner.outcome import Outcome, max_outcome_bytes, parse_outcome
from scanner.settings import Measure
from scanner.zygote import FORK, MAX_REPLY_BYTES, parse_report

if TYPE_CHECKING:
    from scanner.settings import ScannerSettings

START_SECONDS: Final = 30.0
"""Loading Pillow and numpy takes a third of a second on an idle machine; this one may be busy."""

STOP_SECONDS: Final = 5.0
"""A zygote only forks, so it ends at once; this is for a machine that swaps."""

_OUTPUT_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_INPUT_SEALS: Final = _OUTPUT_SEALS | fcntl.F_SEAL_WRITE

# Where this package lies. The zygote must find it also where the parent found it in its working directory.
_OURS: Final = Path(__file__).parents[1]


class WorkerDiedError(Exception):
    """The worker ended, or answered what it should not."""


class WorkerStuckError(Exception):
    """The worker took too long."""


class Worker:
    """One decoder process, held by one caller at a time."""

    def __init__(self, pid: int, handle: int, channel: socket.socket, output: mmap.mmap) -> None:
        self.pid = pid
        self.jobs = 0
        self._handle = handle
        self._channel = channel
        self._output = output

    def run(self, source: int, message: bytes, seconds: float) -> Outcome:
        """Have one job done.

        Raises:
            WorkerStuckError: No answer in time.
            WorkerDiedError: The worker ended or answered nonsense.
        """
        self.jobs += 1
        try:
            self._channel.settimeout(seconds)
            socket.send_fds(self._channel, [message], [source])
            reply = self._channel.recv(MAX_REPLY_BYTES)
        except TimeoutError as error:
            raise WorkerStuckError from error
        except OSError as error:
            raise WorkerDiedError from error
        if not reply.isdigit() or int(reply) > len(self._output):
            raise WorkerDiedError
        try:
            # The copy comes first: the worker can still write to what it shares.
            return parse_outcome(self._output[: int(reply)])
        except (MalformedError, ValueError) as error:
            # Closing the pool from another thread closes the mapping, which reads as ValueError.
            raise WorkerDiedError from error

    def kill(self) -> None:
        """End the process and let go of everything that belonged to it."""
        # The descriptor means this process and no later one that was given its number.
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        self.abandon()

    def abandon(self) -> None:
        """Let go of the descriptors alone."""
        os.close(self._handle)
        self._channel.close()
        self._output.close()


class Zygote:
    """The fresh interpreter from which workers are forked; callers hold the pool's lock."""

    def __init__(self, settings: ScannerSettings, decoder: str) -> None:
        self._output_bytes = max_outcome_bytes(settings)
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(START_SECONDS)
        with theirs:
            # A clean environment: secrets of the parent stay out of the process that meets hostile bytes.
            environment = {
                "PYTHONPATH": os.pathsep.join((str(_OURS), *(part for part in sys.path if part))),
                "OPENBLAS_NUM_THREADS": "1",
                "OMP_NUM_THREADS": "1",
            }
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "scanner.zygote",
                    str(theirs.fileno()),
                    str(settings.memory_limit),
                    decoder,
                ],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def fork(self) -> tuple[Worker, dict[Measure, str | None]]:
        """Start a worker and wait until it is locked in.

        Raises:
            OSError: The zygote is gone, or the worker ended before it was locked in.
        """
        with contextlib.ExitStack() as undo:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            undo.callback(ours.close)
            output = os.memfd_create("outcome", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            try:
                os.ftruncate(output, self._output_bytes)
                # Were the worker able to shrink it, reading it would kill the reader.
                fcntl.fcntl(output, fcntl.F_ADD_SEALS, _OUTPUT_SEALS)
                view = mmap.mmap(output, self._output_bytes, prot=mmap.PROT_READ)
                undo.callback(view.close)
                with theirs:
                    socket.send_fds(self.control, [FORK], [theirs.fileno(), output])
            finally:
                os.close(output)
            reply, handles, _, _ = socket.recv_fds(self.control, MAX_REPLY_BYTES, 1)
            worker = Worker(int(reply or b"0"), _only(handles), ours, view)
            # From here on the worker owns them.
            undo.pop_all()
        try:
            ours.settimeout(START_SECONDS)
            report = parse_report(_some(ours.recv(MAX_REPLY_BYTES)))
        except BaseException:
            worker.kill()
            raise
        return worker, {measure: report.get(measure, "not reported") for measure in Measure}

    def close(self) -> None:
        """End the zygote, and with it every worker."""
        self.control.close()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def abandon(self) -> None:
        """Let go of the control socket in a forked copy of the parent, whose processes these are not."""
        self.control.close()
        # The copy must not wait for, nor warn about, a process that is not its child.
        self.process.returncode = 0


def seal(data: bytes) -> int:
    """Put bytes into anonymous memory that nobody can change any more; returns its descriptor."""
    descriptor = os.memfd_create("media", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _INPUT_SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _only(handles: list[int]) -> int:
    if len(handles) != 1:
        raise ConnectionResetError("the zygote ended")
    return handles[0]


def _some(message: bytes) -> bytes:
    if not message:
        raise ConnectionResetError("the worker ended before it was locked in")
    return message
