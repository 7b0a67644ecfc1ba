"""A pool of sandboxed decoder processes.

A worker serves one job at a time, and whoever calls holds it for that job. It is replaced after a number of
jobs, after any outcome that is not a plain success, and at once (SIGKILL) when it takes too long. A worker
that dies over some bytes is tried once more in a fresh process, so that nobody's bytes are blamed for
another's.

Nothing outlives the scanner: the workers die with their zygote, and the zygote ends when its parent's end
of the control socket closes, also when the parent is killed.
"""

from __future__ import annotations

import os
import queue
import threading
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from scanner.errors import SandboxError, ScannerClosedError
from scanner.outcome import Outcome
from scanner.report import UnscannableReason
from scanner.sniff import PLAYED
from scanner.worker import Worker, WorkerDiedError, WorkerStuckError, Zygote, seal

if TYPE_CHECKING:
    from types import TracebackType

    from scanner.outcome import Job
    from scanner.settings import Measure, ScannerSettings

DECODER: Final = "scanner.decode:decode"
"""What the workers run; the tests run decoders that misbehave on purpose."""

ATTEMPTS: Final = 2
"""The same bytes meet at most so many workers."""


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


class Pool:
    """Sandboxed workers, shared by any number of threads; a context manager."""

    def __init__(self, settings: ScannerSettings, *, decoder: str = DECODER) -> None:
        self._settings = settings
        self._decoder = decoder
        self._size = settings.workers or len(os.sched_getaffinity(0))
        self._lock = threading.Lock()
        self._slots: queue.LifoQueue[Worker | None] = queue.LifoQueue()
        self._running: set[Worker] = set()
        self._zygote: Zygote | None = None
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
            # Nobody has looked yet: that says how the machine is, not what the bytes are.
            return Outcome(reason=UnscannableReason.DETECTOR_UNAVAILABLE)
        kept: Worker | None = None
        try:
            outcome, kept = self._attempt(worker, data, job)
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

    def _attempt(self, worker: Worker | None, data: bytes, job: Job) -> tuple[Outcome, Worker | None]:
        """Have a job done by this worker or a fresh one; returns the worker if it may go on."""
        message = job.to_bytes()
        patience = self._settings.decode_timeout.total_seconds()
        if job.media_type in PLAYED:
            patience += self._settings.video_timeout.total_seconds()
        try:
            source = seal(data)
        except OSError:
            # This process is out of descriptors or memory; that says nothing about the bytes.
            return Outcome(reason=UnscannableReason.DETECTOR_UNAVAILABLE), worker
        try:
            for _ in range(ATTEMPTS):
                try:
                    worker = worker or self._start()
                    outcome = worker.run(source, message, patience)
                except SandboxError:
                    return Outcome(reason=UnscannableReason.DETECTOR_UNAVAILABLE), None
                except WorkerStuckError:
                    self._discard(worker, timeouts=1)
                    return Outcome(reason=UnscannableReason.TIMEOUT), None
                except WorkerDiedError:
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

    def _start(self) -> Worker:
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

    def _fork(self) -> tuple[Worker, dict[Measure, str | None]]:
        if self._zygote is not None:
            try:
                return self._zygote.fork()
            except OSError:
                # The zygote is gone; a new one is tried once.
                self._zygote.close()
        self._zygote = Zygote(self._settings, self._decoder)
        return self._zygote.fork()

    def _discard(self, worker: Worker | None, *, crashes: int = 0, timeouts: int = 0) -> None:
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


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


def _abandon_all() -> None:
    for pool in list(_pools):
        pool.abandon()


# A forked copy that kept the sockets open would keep the workers alive after their parent.
os.register_at_fork(after_in_child=_abandon_all)
