"""Sandboxed workers: locked in, replaced when they fail, outlived by nobody."""

from __future__ import annotations

import dataclasses
import os
import select
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from scanner import worker as worker_module
from scanner.errors import SandboxError, ScannerClosedError
from scanner.outcome import Job
from scanner.pool import Pool
from scanner.report import UnscannableReason
from scanner.sandbox import NOBODY
from scanner.settings import Measure, ScannerSettings
from scanner.sniff import MediaType
from tests.images import encode, marker
from tests.scanner import misbehaving

if TYPE_CHECKING:
    from collections.abc import Iterator

DECODER: Final = "tests.scanner.misbehaving:decode"
SETTINGS: Final = ScannerSettings(workers=1, decode_timeout=timedelta(seconds=8), memory_limit=600 << 20)
IMPATIENT: Final = ScannerSettings(workers=1, decode_timeout=timedelta(seconds=0.5))
JOB: Final = Job.of(SETTINGS, MediaType.PNG)
PICTURE: Final = encode(marker(1, width=200, height=150), "PNG")
ROOT: Final = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(SETTINGS, decoder=DECODER) as opened:
        yield opened


def has_ended(pid: int) -> bool:
    """Wait until a process that is not our child has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 10)[0])
    finally:
        os.close(handle)


def test_the_probes_succeed_outside_the_sandbox() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "tests.scanner.misbehaving"], cwd=ROOT, capture_output=True, check=True
    )
    assert int(found.stdout) == (1 << len(misbehaving.PROBES)) - 1


def test_the_sandbox_denies_files_sockets_programs_processes_and_memory(pool: Pool) -> None:
    outcome = pool.run(misbehaving.PROBE, JOB)
    allowed = [name for place, name in enumerate(misbehaving.PROBES) if outcome.width >> place & 1]
    assert allowed == []
    assert outcome.reason is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives its rights away")
def test_a_scanner_that_runs_as_root_decodes_as_nobody(pool: Pool) -> None:
    assert pool.run(misbehaving.PROBE, JOB).height == NOBODY


def test_a_crash_costs_two_workers_and_not_the_scanner(pool: Pool) -> None:
    before = pool.health()
    assert pool.run(misbehaving.CRASH, JOB).reason is UnscannableReason.DECODER_CRASH
    after = pool.health()
    assert (after.crashes - before.crashes, after.alive) == (2, 0)
    assert pool.run(PICTURE, JOB).reason is None
    assert pool.health().alive == 1


def test_a_decoder_that_raises_or_lies_counts_as_crashed(pool: Pool) -> None:
    assert pool.run(misbehaving.RAISE, JOB).reason is UnscannableReason.DECODER_CRASH
    assert pool.run(misbehaving.LIE, JOB).reason is UnscannableReason.DECODER_CRASH
    assert pool.run(PICTURE, JOB).reason is None


def test_filling_the_memory_is_an_outcome(pool: Pool) -> None:
    assert pool.run(misbehaving.FILL, JOB).reason is UnscannableReason.OUT_OF_MEMORY
    assert pool.run(PICTURE, JOB).reason is None


@pytest.mark.parametrize("word", [misbehaving.LOOP, misbehaving.SLEEP])
def test_an_endless_decoder_is_killed_in_time(word: bytes) -> None:
    with Pool(IMPATIENT, decoder=DECODER) as pool:
        stuck = pool.health().worker_pids[0]
        assert pool.run(word, JOB).reason is UnscannableReason.TIMEOUT
        assert has_ended(stuck)
        assert pool.run(PICTURE, JOB).reason is None
        assert pool.health().timeouts == 1


def test_bytes_that_fail_to_decode_cost_their_worker(pool: Pool) -> None:
    pool.run(PICTURE, JOB)
    before = pool.health().worker_pids
    assert pool.run(PICTURE[:300], JOB).reason is not None
    assert has_ended(before[0])


def test_a_worker_is_replaced_after_its_number_of_jobs() -> None:
    with Pool(dataclasses.replace(SETTINGS, jobs_per_worker=3)) as pool:
        for _ in range(7):
            assert pool.run(PICTURE, JOB).reason is None
        assert pool.health().started == 3


def test_many_threads_share_few_workers() -> None:
    pictures = [encode(marker(seed, width=90, height=60), "PNG") for seed in range(8)]
    with Pool(dataclasses.replace(SETTINGS, workers=2)) as pool, ThreadPoolExecutor(8) as threads:
        alone = [pool.run(one, JOB).pictures for one in pictures]
        together = list(threads.map(lambda place: pool.run(pictures[place % 8], JOB).pictures, range(64)))
    assert together == alone * 8


def test_closing_ends_every_process_and_every_call() -> None:
    pool = Pool(SETTINGS, decoder=DECODER)
    with pool:
        health = pool.health()
        failures: list[BaseException] = []

        def call() -> None:
            try:
                pool.run(misbehaving.SLEEP, JOB)
            except ScannerClosedError as error:
                failures.append(error)

        caller = threading.Thread(target=call)
        caller.start()
        # The worker has taken its job once its slot is empty; closing then meets it half way.
        while not pool._slots.empty():
            pass
    caller.join(10)
    assert len(failures) == 1
    assert all(has_ended(pid) for pid in (health.zygote, *health.worker_pids))
    with pytest.raises(ScannerClosedError):
        pool.run(PICTURE, JOB)


def test_a_zygote_that_was_killed_is_replaced() -> None:
    with Pool(SETTINGS) as pool:
        health = pool.health()
        os.kill(health.zygote, signal.SIGKILL)
        assert all(has_ended(pid) for pid in health.worker_pids)
        assert pool.run(PICTURE, JOB).reason is None
        assert pool.health().zygote != health.zygote


def test_killing_the_parent_leaves_no_process() -> None:
    program = (
        "import sys\n"
        "from scanner.pool import Pool\n"
        "from scanner.settings import ScannerSettings\n"
        "with Pool(ScannerSettings(workers=2)) as pool:\n"
        "    health = pool.health()\n"
        "    print(health.zygote, *health.worker_pids, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 3
        parent.kill()
    assert all(has_ended(pid) for pid in pids)


def test_a_forked_copy_of_the_parent_keeps_nothing_alive_and_uses_nothing(pool: Pool) -> None:
    worker = pool.health().worker_pids
    child = os.fork()
    if child == 0:
        try:
            pool.run(PICTURE, JOB)
        except ScannerClosedError:
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert pool.run(PICTURE, JOB).reason is None
    assert pool.health().worker_pids == worker or not worker


def test_a_missing_measure_stops_the_start_unless_it_was_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = worker_module.parse_report

    def without_landlock(message: bytes) -> dict[str, object]:
        return {**honest(message), Measure.LANDLOCK: "OSError: refused by this kernel"}

    monkeypatch.setattr(worker_module, "parse_report", without_landlock)
    with pytest.raises(SandboxError, match="landlock"), Pool(SETTINGS):
        pass
    accepted = dataclasses.replace(SETTINGS, accept_weaker_sandbox=frozenset({Measure.LANDLOCK}))
    with Pool(accepted) as pool:
        assert pool.run(PICTURE, JOB).reason is None
        assert list(pool.health().missing) == [Measure.LANDLOCK]


def test_waiting_for_a_worker_ends() -> None:
    hasty = dataclasses.replace(IMPATIENT, worker_wait=timedelta(milliseconds=1))
    with Pool(hasty, decoder=DECODER) as pool:
        slot = pool._slots.get()
        assert pool.run(PICTURE, JOB).reason is UnscannableReason.DETECTOR_UNAVAILABLE
        pool._slots.put(slot)


def test_the_decoder_does_not_inherit_the_environment() -> None:
    with Pool(SETTINGS) as pool:
        environment = Path(f"/proc/{pool.health().zygote}/environ").read_bytes().split(b"\0")
    names = {entry.partition(b"=")[0] for entry in environment if entry}
    assert names <= {b"PYTHONPATH", b"OPENBLAS_NUM_THREADS", b"OMP_NUM_THREADS", b"LC_CTYPE"}
