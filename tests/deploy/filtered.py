"""Run a program under a filter of system calls, as a service manager would set it.

    python -m tests.deploy.filtered FILE PROGRAM [ARGUMENT…]

FILE names a system call on each line; all others are answered with EPERM.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from errno import EPERM
from pathlib import Path

import pyseccomp


def main(arguments: list[str]) -> None:
    """Set the filter for good, then become the program."""
    names, *command = arguments
    rules = pyseccomp.SyscallFilter(pyseccomp.ERRNO(EPERM))
    for name in Path(names).read_text(encoding="utf-8").split():
        # A name of another architecture, or of a kernel younger than the library.
        with suppress(ValueError, RuntimeError, OSError):
            rules.add_rule(pyseccomp.ALLOW, name)
    rules.load()
    os.execv(command[0], command)  # noqa: S606 (there is no shell to be had under a filter)


if __name__ == "__main__":
    main(sys.argv[1:])
