"""Become a PostgreSQL program: drop privileges, ask to die with the relay, and exec.

This file is run as a script in a fresh interpreter (`python -I -S launch.py PARENT UID GID PROGRAM
ARGUMENT…`). A child of its own is used, not `preexec_fn`, because code between fork and exec of a
process with threads may deadlock.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # Source: prctl(2), linux/prctl.h.
_KEEP_IDENTITY = -1
_EXIT_PARENT_GONE = 75  # EX_TEMPFAIL of sysexits.h.


def main(arguments: list[str]) -> None:
    """Replace this process by the program named in the arguments; return only if the relay is gone."""
    parent, uid, gid = (int(argument) for argument in arguments[:3])
    command = arguments[3:]
    os.umask(0o077)
    if uid != _KEEP_IDENTITY:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        # Last of all: a change of identity clears the wish. SIGINT asks PostgreSQL for a fast shutdown.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)
    if os.getppid() != parent:
        # The relay died before the wish was made, so that no signal will ever come.
        raise SystemExit(_EXIT_PARENT_GONE)
    os.execv(command[0], command)  # noqa: S606 (no shell is wanted; the relay built the list)


if __name__ == "__main__":
    main(sys.argv[1:])
