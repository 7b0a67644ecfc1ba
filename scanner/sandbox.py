"""Lock the calling process in, for good.

Layers that do not rely on each other: no new privileges, death with the parent, resource limits, an
unprivileged user, Landlock (no file, no TCP, no abstract socket, no signal to the outside) and a seccomp
allow-list. Each layer that the kernel or the container refuses is reported; whether that is acceptable is
decided by whoever reads the report, never here.

Not done here: namespaces, which need privileges that a relay should not have.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import struct
from typing import TYPE_CHECKING, Final

from scanner.settings import Measure

# pyseccomp looks for its library through files, so it must be loaded before Landlock closes them. Without the
# library the measure is reported as missing, as any other that this system lacks.
try:
    import pyseccomp  # type: ignore[import-untyped]  # it ships no types
except (ImportError, OSError, RuntimeError):
    pyseccomp = None

if TYPE_CHECKING:
    from collections.abc import Callable

NOBODY: Final = 65_534
"""The kernel's overflow user and group, which own nothing. Source: /proc/sys/kernel/overflowuid."""

CPU_SECONDS: Final = 3_600
"""A backstop for the whole life of a worker; single jobs are timed by the parent."""

MAX_DESCRIPTORS: Final = 32
"""A worker holds its socket, its output and one input."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38

# Source: linux/landlock.h; numbers of system calls above 423 are the same on every architecture.
_LANDLOCK_CREATE_RULESET: Final = 444
_LANDLOCK_RESTRICT_SELF: Final = 446
_LANDLOCK_QUERY_VERSION: Final = 1
_LANDLOCK_FILES: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_LANDLOCK_FILES_LATER: Final = (1 << 16) - 1
_LANDLOCK_TCP: Final = 0b11
_LANDLOCK_SCOPES: Final = 0b11
_LANDLOCK_ABI_TCP: Final = 4
_LANDLOCK_ABI_SCOPES: Final = 6

_ALLOWED_CALLS: Final = (
    # Talk over descriptors that are open already.
    "read",
    "write",
    "readv",
    "writev",
    "recvmsg",
    "recvfrom",
    "sendmsg",
    "sendto",
    "poll",
    "ppoll",
    "close",
    "lseek",
    "fstat",
    "dup",
    "fcntl",
    # Memory.
    "brk",
    "munmap",
    "mremap",
    "madvise",
    # Time, signals, locks, chance, the end.
    "futex",
    "clock_gettime",
    "clock_nanosleep",
    "nanosleep",
    "gettimeofday",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sigaltstack",
    "restart_syscall",
    "sched_yield",
    "sched_getaffinity",
    "getrandom",
    "getpid",
    "gettid",
    "getuid",
    "geteuid",
    "getppid",
    "getrusage",
    "exit",
    "exit_group",
)
_PROT_EXEC: Final = 4
_AT_EMPTY_PATH: Final = 0x1000

_libc = ctypes.CDLL(None, use_errno=True)


def lock_in(*, memory_limit: int, parent: int) -> dict[Measure, str | None]:
    """Apply every layer to this process; it must be single-threaded.

    Args:
        memory_limit: Address space in bytes.
        parent: Process id of the expected parent.

    Returns:
        For each measure None where it holds, otherwise what the system answered.
    """
    steps: tuple[tuple[Measure, Callable[[], None]], ...] = (
        (Measure.LIMITS, lambda: _limit(memory_limit)),
        (Measure.UNPRIVILEGED_USER, _drop_user),
        (Measure.NO_NEW_PRIVS, lambda: _prctl(_PR_SET_NO_NEW_PRIVS, 1)),
        # A change of user clears the death signal, so it is set afterwards.
        (Measure.PARENT_DEATH_SIGNAL, lambda: _die_with(parent)),
        (Measure.LANDLOCK, _landlock),
        (Measure.SECCOMP, _seccomp),
    )
    report: dict[Measure, str | None] = {}
    for measure, step in steps:
        try:
            step()
        except (OSError, ValueError) as error:
            report[measure] = f"{type(error).__name__}: {error}"
        else:
            report[measure] = None
    return report


def _limit(memory_limit: int) -> None:
    for kind, value in (
        (resource.RLIMIT_AS, memory_limit),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, MAX_DESCRIPTORS),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bound, bound))


def _drop_user() -> None:
    if os.geteuid() != 0:
        return
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def _die_with(parent: int) -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have died before the signal was asked for.
    if os.getppid() != parent:
        os._exit(1)


def _prctl(option: int, value: int) -> None:
    _checked(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0))


def _landlock() -> None:
    """Forbid every access that this kernel's Landlock can name; no rule allows anything back."""
    abi = _checked(_libc.syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _LANDLOCK_QUERY_VERSION))
    fields = [_LANDLOCK_FILES.get(abi, _LANDLOCK_FILES_LATER)]
    if abi >= _LANDLOCK_ABI_TCP:
        fields.append(_LANDLOCK_TCP)
    if abi >= _LANDLOCK_ABI_SCOPES:
        fields.append(_LANDLOCK_SCOPES)
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    rules = _checked(_libc.syscall(_LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0))
    try:
        _checked(_libc.syscall(_LANDLOCK_RESTRICT_SELF, rules, 0))
    finally:
        os.close(rules)


def _seccomp() -> None:
    """Allow the calls that decoding needs and answer EPERM to all others, so that libraries fail in order."""
    if pyseccomp is None:
        raise OSError(errno.ENOSYS, "libseccomp is not installed")
    rules = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    for name in _ALLOWED_CALLS:
        rules.add_rule(pyseccomp.ALLOW, name)
    # glibc takes this call for fstat on descriptors. What else it could reach is metadata, never contents.
    rules.add_rule(pyseccomp.ALLOW, "newfstatat", pyseccomp.Arg(3, pyseccomp.EQ, _AT_EMPTY_PATH))
    # Memory that was written is never made executable.
    for name in ("mmap", "mprotect"):
        rules.add_rule(pyseccomp.ALLOW, name, pyseccomp.Arg(2, pyseccomp.MASKED_EQ, _PROT_EXEC, 0))
    # Aborting and raising are signals to oneself.
    rules.add_rule(pyseccomp.ALLOW, "tgkill", pyseccomp.Arg(0, pyseccomp.EQ, os.getpid()))
    rules.load()


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
