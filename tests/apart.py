"""Run something in a process of its own, for what must leave no trace in the process of the tests."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


def run_apart(function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Call a function of a module in a fresh process and return what it returns.

    The encoder SVT-AV1 gives the process that it runs in the priority of real-time programs, if it may. What
    that process starts later has it, too, and nothing else gets a turn beside it.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args, **options).result()
