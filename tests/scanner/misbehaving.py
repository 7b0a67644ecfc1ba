"""Decoders that misbehave on purpose, run inside the sandbox by the tests.

Each decodes honestly unless the bytes hold its word, so that a test can go on with the same scanner.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import socket
import time
from typing import TYPE_CHECKING, Final

import numpy as np

from scanner import decode as honest
from scanner.outcome import Job, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

CRASH: Final = b"please crash"
LOOP: Final = b"please loop"
SLEEP: Final = b"please sleep"
FILL: Final = b"please fill the memory"
RAISE: Final = b"please raise"
LIE: Final = b"please lie"
PROBE: Final = b"please probe"

prepare = honest.prepare


def decode(data: bytes, job: Job) -> Outcome:
    """Do what the bytes ask for."""
    for word, deed in DEEDS.items():
        if word in data:
            return deed()
    return honest.decode(data, job)


def _crash() -> Outcome:
    ctypes.string_at(0)
    return Outcome()


def _loop() -> Outcome:
    while True:
        pass


def _sleep() -> Outcome:
    time.sleep(3600)
    return Outcome()


def _fill() -> Outcome:
    hoard = []
    while True:
        hoard.append(np.ones(1 << 24))


def _raise() -> Outcome:
    raise RuntimeError


def _lie() -> Outcome:
    # Too many samples: the parent must not believe it.
    return Outcome(pixels=np.zeros((64, 256, 256, 3), dtype=np.uint8)[:20])


def _open_file() -> None:
    with open("/etc/passwd", "rb"):  # noqa: PTH123 - the plain call is what is probed
        pass


def _create_file() -> None:
    os.close(os.open("/tmp/breakwater-probe", os.O_CREAT | os.O_RDWR, 0o600))


def _socket() -> None:
    socket.socket().close()


def _socketpair() -> None:
    for end in socket.socketpair():
        end.close()


def _execute() -> None:
    # An exec that succeeds never returns, so a missing program tells whether the call itself is allowed.
    try:
        os.execv("/nonexistent/program", ["x"])  # noqa: S606 - the call itself is what is probed
    except FileNotFoundError:
        return


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)
    os.wait()


def _signal_parent() -> None:
    os.kill(os.getppid(), 0)


def _list_root() -> None:
    os.listdir("/")  # noqa: PTH208 - the plain call is what is probed


def _stat_file() -> None:
    os.stat("/etc/passwd")  # noqa: PTH116 - the plain call is what is probed


def _executable_memory() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def _much_memory() -> None:
    mmap.mmap(-1, 3 << 30).close()


def _trace_parent() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    # Reading the memory of another process, here one byte of our own so that it works outside.
    here = ctypes.create_string_buffer(b"x")
    there = ctypes.create_string_buffer(b"y")
    local = (ctypes.c_size_t * 2)(ctypes.addressof(here), 1)
    remote = (ctypes.c_size_t * 2)(ctypes.addressof(there), 1)
    if libc.process_vm_readv(os.getpid(), local, 1, remote, 1, 0) != 1:
        raise OSError(ctypes.get_errno(), "refused")


PROBES: Final[dict[str, Callable[[], None]]] = {
    "open a file": _open_file,
    "create a file": _create_file,
    "open a socket": _socket,
    "open a pair of sockets": _socketpair,
    "execute a program": _execute,
    "fork": _fork,
    "signal the parent": _signal_parent,
    "list a directory": _list_root,
    "look at a file": _stat_file,
    "make memory executable": _executable_memory,
    "take three gigabytes": _much_memory,
    "read another process": _trace_parent,
}


def probe() -> int:
    """Try everything; bit n is set where probe n was allowed."""
    allowed = 0
    for place, attempt in enumerate(PROBES.values()):
        try:
            attempt()
        except (OSError, MemoryError, OverflowError):
            continue
        allowed |= 1 << place
    return allowed


def _probe() -> Outcome:
    # Height carries the user id, so that a test sees whom the decoder runs as.
    return Outcome(width=probe(), height=os.getuid())


DEEDS: Final[dict[bytes, Callable[[], Outcome]]] = {
    CRASH: _crash,
    LOOP: _loop,
    SLEEP: _sleep,
    FILL: _fill,
    RAISE: _raise,
    LIE: _lie,
    PROBE: _probe,
}

if __name__ == "__main__":
    signal.alarm(20)
    print(probe())
