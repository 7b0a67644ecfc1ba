"""The process that workers are forked from, and the worker's loop.

The zygote is a fresh interpreter that has loaded Pillow and numpy and nothing else: it shares no memory
with the process that holds keys and models, and forking from it takes milliseconds. It never sees media. It
ends when its parent does, because then its control socket ends; the workers die with it.

    control socket (SEQPACKET): b"fork" + [worker's socket, output] -> process id + [process descriptor]
    worker's socket (SEQPACKET): -> sandbox report; then per job: job + [input] -> length of the outcome
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import mmap
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any, Final

from scanner.outcome import MAX_JOB_BYTES, Job, Outcome, outcome_to_bytes
from scanner.report import UnscannableReason
from scanner.sandbox import lock_in

if TYPE_CHECKING:
    from collections.abc import Callable

    Decoder = Callable[[bytes, Job], Outcome]

FORK: Final = b"fork"
"""The one thing that a zygote is asked."""

MAX_REPLY_BYTES: Final = 4_096
"""A process id, the length of an outcome, or a report on six measures."""

STILLBORN: Final = 70
"""Exit status of a worker whose own code failed. Source: EX_SOFTWARE in sysexits.h."""


def main(arguments: list[str]) -> None:
    """Serve forks until the control socket ends.

    Args:
        arguments: Descriptor of the control socket, memory limit in bytes, and `module:function` of the
            decoder.
    """
    control = socket.socket(fileno=int(arguments[0]))
    memory_limit = int(arguments[1])
    module, _, name = arguments[2].partition(":")
    loaded = importlib.import_module(module)
    prepare: Callable[[], None] | None = getattr(loaded, "prepare", None)
    if prepare is not None:
        prepare()
    # What is loaded stays: collections that went through it would cost each video its time, and would copy
    # the memory that the workers share.
    gc.collect()
    gc.freeze()
    decoder: Decoder = getattr(loaded, name)
    # The kernel reaps the workers, so that none lingers.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # An interrupt from the terminal is the parent's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, len(FORK), 2)
        if message != FORK:
            return
        _fork(control, descriptors, memory_limit, decoder)
        for descriptor in descriptors:
            os.close(descriptor)


def _fork(control: socket.socket, descriptors: list[int], memory_limit: int, decoder: Decoder) -> None:
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        # Whatever happens, the child never returns into the zygote's loop.
        try:
            control.close()
            _work(socket.socket(fileno=descriptors[0]), descriptors[1], memory_limit, parent, decoder)
        finally:
            os._exit(STILLBORN)
    handle = os.pidfd_open(child)
    try:
        socket.send_fds(control, [str(child).encode()], [handle])
    finally:
        os.close(handle)


def _work(channel: socket.socket, output: int, memory_limit: int, parent: int, decoder: Decoder) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size = os.fstat(output).st_size
    result = mmap.mmap(output, size)
    os.close(output)
    # What a library prints about hostile bytes belongs in no log.
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.close(nowhere)
    report = lock_in(memory_limit=memory_limit, parent=parent)
    channel.send(json.dumps(report).encode())
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, MAX_JOB_BYTES, 1)
        if not message:
            os._exit(0)
        written = _serve(message, descriptors[0], result, decoder)
        channel.send(str(written).encode())


def _serve(message: bytes, source: int, result: mmap.mmap, decoder: Decoder) -> int:
    size = os.fstat(source).st_size
    try:
        with mmap.mmap(source, size, prot=mmap.PROT_READ) as view:
            data = view[:]
        outcome = outcome_to_bytes(decoder(data, Job.from_bytes(message)))
    except MemoryError:
        outcome = outcome_to_bytes(Outcome(reason=UnscannableReason.OUT_OF_MEMORY))
    finally:
        os.close(source)
    result[: len(outcome)] = outcome
    return len(outcome)


def parse_report(message: bytes) -> dict[str, Any]:
    """Parse a worker's report on its sandbox, which it writes before it sees any media."""
    report: dict[str, Any] = json.loads(message)
    return report


if __name__ == "__main__":
    with contextlib.suppress(ConnectionError):
        main(sys.argv[1:])
