"""A pool of sandboxed decoder processes.

A worker serves one job at a time, and whoever calls holds it for that job. It is replaced after a number of
jobs, after any outcome that is not a plain success, and at once (SIGKILL) when it takes too long. A worker
that dies over some bytes is tried once more in a fresh process, so that nobody's bytes are blamed for
another's.

Nothing outlives the scanner: the workers die with their zygote, and the zygote ends when its parent's end
of the control socket closes, also when the parent is killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from scanner.errors import MalformedError, SandboxError, ScannerClosedError
from scanner.outcome import Outcome, max_outcome_bytes, parse_outcome
from scanner.report import UnscannableReason
from scanner.settings import Measure
from scanner.zygote import FORK, MAX_REPLY_BYTES, parse_report

if TYPE_CHECKING:
    from types import TracebackType

    from scanner.outcome import Job
    from scanner.settings import ScannerSettings

DECODER: Final = "scanner.decode:decode"
"""What the workers run; the tests run decoders that misbehave on purpose."""

START_SECONDS: Final = 30.0
"""Loading Pillow and numpy takes a third of a second on an idle machine; this one may be busy."""

STOP_SECONDS: Final = 5.0
"""A zygote only forks, so it ends at once; this is for a machine that swaps."""

ATTEMPTS: Final = 2
"""The same bytes meet at most so many workers."""

_OUTPUT_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_INPUT_SEALS: Final = _OUTPUT_SEALS | fcntl.F_SEAL_WRITE


class _WorkerDiedError(Exception):
    """The worker ended, or answered what it should not."""


class _WorkerStuckError(Exception):
    """The worker took too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolHealth:
    """How the pool is.

    Attributes:
        workers: Size of the pool.
        alive: Workers that are running now.
        started: Workers started so far.
        crashes: Workers that died over a job.
        timeouts: Workers that were killed for taking too long.
        missing: Measures of the sandbox that could not be applied, with what the system answered.
        zygote: Process id of the zygote.
        worker_pids: Process ids of the workers that are running now.
    """

    workers: int
    alive: int
    started: int
    crashes: int
    timeouts: int
    missing: dict[Measure, str]
    zygote: int
    worker_pids: tuple[int, ...]


class _Worker:
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
            _WorkerStuckError: No answer in time.
            _WorkerDiedError: The worker ended or answered nonsense.
        """
        self.jobs += 1
        try:
            self._channel.settimeout(seconds)
            socket.send_fds(self._channel, [message], [source])
            reply = self._channel.recv(MAX_REPLY_BYTES)
        except TimeoutError as error:
            raise _WorkerStuckError from error
        except OSError as error:
            raise _WorkerDiedError from error
        if not reply.isdigit() or int(reply) > len(self._output):
            raise _WorkerDiedError
        try:
            # The copy comes first: the worker can still write to what it shares.
            return parse_outcome(self._output[: int(reply)])
        except (MalformedError, ValueError) as error:
            # Closing the pool from another thread closes the mapping, which reads as ValueError.
            raise _WorkerDiedError from error

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


class _Zygote:
    """The fresh interpreter from which workers are forked; callers hold the pool's lock."""

    def __init__(self, settings: ScannerSettings, decoder: str) -> None:
        self._output_bytes = max_outcome_bytes(settings)
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(START_SECONDS)
        with theirs:
            # A clean environment: secrets of the parent stay out of the process that meets hostile bytes.
            environment = {
                "PYTHONPATH": os.pathsep.join(part for part in sys.path if part),
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

    def fork(self) -> tuple[_Worker, dict[Measure, str | None]]:
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
            worker = _Worker(int(reply or b"0"), _only(handles), ours, view)
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


class Pool:
    """Sandboxed workers, shared by any number of threads; a context manager."""

    def __init__(self, settings: ScannerSettings, *, decoder: str = DECODER) -> None:
        self._settings = settings
        self._decoder = decoder
        self._size = settings.workers or len(os.sched_getaffinity(0))
        self._lock = threading.Lock()
        self._slots: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        self._running: set[_Worker] = set()
        self._zygote: _Zygote | None = None
        self._is_closed = False
        self._started = self._crashes = self._timeouts = 0
        self._missing: dict[Measure, str] = {}
        _pools.add(self)

    def __enter__(self) -> Self:
        """Start all workers.

        Raises:
            SandboxError: A worker cannot be started, or a measure is missing that the settings do not accept.
        """
        try:
            workers = [self._start() for _ in range(self._size)]
        except BaseException:
            self.close()
            raise
        for worker in workers:
            self._slots.put(worker)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def run(self, data: bytes, job: Job) -> Outcome:
        """Decode some bytes in a worker; whatever the bytes do, the answer is an outcome.

        Raises:
            ScannerClosedError: The pool was closed.
        """
        try:
            worker = self._slots.get(timeout=self._settings.worker_wait.total_seconds())
        except queue.Empty:
            return Outcome(reason=UnscannableReason.TIMEOUT)
        kept: _Worker | None = None
        try:
            outcome, kept = self._attempt(worker, data, job.to_bytes())
        finally:
            self._slots.put(kept)
        return outcome

    def health(self) -> PoolHealth:
        """Say how the pool is."""
        with self._lock:
            pids = tuple(sorted(worker.pid for worker in self._running))
            return PoolHealth(
                workers=self._size,
                alive=len(pids),
                started=self._started,
                crashes=self._crashes,
                timeouts=self._timeouts,
                missing=dict(self._missing),
                zygote=0 if self._zygote is None else self._zygote.process.pid,
                worker_pids=pids,
            )

    def close(self) -> None:
        """End every process; a job that is running comes to nothing."""
        with self._lock:
            self._is_closed = True
            workers, self._running = self._running, set()
            zygote, self._zygote = self._zygote, None
        for worker in workers:
            worker.kill()
        if zygote is not None:
            zygote.close()

    def abandon(self) -> None:
        """Let go of everything in a forked copy of this process, without the lock, whose owner is no more."""
        self._is_closed = True
        for worker in self._running:
            worker.abandon()
        if self._zygote is not None:
            self._zygote.abandon()
        self._running, self._zygote = set(), None

    def _attempt(self, worker: _Worker | None, data: bytes, message: bytes) -> tuple[Outcome, _Worker | None]:
        """Have a job done by this worker or a fresh one; returns the worker if it may go on."""
        try:
            source = _seal(data)
        except OSError:
            # This process is out of descriptors or memory; that says nothing about the bytes.
            return Outcome(reason=UnscannableReason.DETECTOR_UNAVAILABLE), worker
        try:
            for _ in range(ATTEMPTS):
                try:
                    worker = worker or self._start()
                    outcome = worker.run(source, message, self._settings.decode_timeout.total_seconds())
                except SandboxError:
                    return Outcome(reason=UnscannableReason.DETECTOR_UNAVAILABLE), None
                except _WorkerStuckError:
                    self._discard(worker, timeouts=1)
                    return Outcome(reason=UnscannableReason.TIMEOUT), None
                except _WorkerDiedError:
                    self._discard(worker, crashes=1)
                    worker = None
                    continue
                if outcome.reason is not None or worker.jobs >= self._settings.jobs_per_worker:
                    self._discard(worker)
                    return outcome, None
                return outcome, worker
        finally:
            os.close(source)
        return Outcome(reason=UnscannableReason.DECODER_CRASH), None

    def _start(self) -> _Worker:
        """Start a worker, and the zygote where it is gone.

        Raises:
            SandboxError: That cannot be done, or the sandbox lacks what the settings do not accept.
            ScannerClosedError: The pool was closed.
        """
        with self._lock:
            if self._is_closed:
                raise ScannerClosedError("the scanner was closed")
            try:
                worker, report = self._fork()
            except OSError as error:
                raise SandboxError(f"the decoder process cannot be started: {error}") from error
            self._missing = {measure: why for measure, why in report.items() if why is not None}
            refused = self._missing.keys() - self._settings.accept_weaker_sandbox
            if refused:
                worker.kill()
                named = ", ".join(f"{measure} ({self._missing[measure]})" for measure in sorted(refused))
                raise SandboxError(f"the decoder's sandbox lacks {named}")
            self._started += 1
            self._running.add(worker)
            return worker

    def _fork(self) -> tuple[_Worker, dict[Measure, str | None]]:
        if self._zygote is not None:
            try:
                return self._zygote.fork()
            except OSError:
                # The zygote is gone; a new one is tried once.
                self._zygote.close()
        self._zygote = _Zygote(self._settings, self._decoder)
        return self._zygote.fork()

    def _discard(self, worker: _Worker | None, *, crashes: int = 0, timeouts: int = 0) -> None:
        """End a worker and count why, unless closing the pool has ended it already.

        Raises:
            ScannerClosedError: The pool was closed.
        """
        with self._lock:
            if self._is_closed:
                raise ScannerClosedError("the scanner was closed")
            if worker is None:
                return
            self._crashes += crashes
            self._timeouts += timeouts
            self._running.discard(worker)
        worker.kill()


def _only(handles: list[int]) -> int:
    if len(handles) != 1:
        raise ConnectionResetError("the zygote ended")
    return handles[0]


def _some(message: bytes) -> bytes:
    if not message:
        raise ConnectionResetError("the worker ended before it was locked in")
    return message


def _seal(data: bytes) -> int:
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


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


def _abandon_all() -> None:
    for pool in list(_pools):
        pool.abandon()


# A forked copy that kept the sockets open would keep the workers alive after their parent.
os.register_at_fork(after_in_child=_abandon_all)
