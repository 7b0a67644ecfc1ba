"""Put the pictures of many callers into one run of a model, without making any of them wait long.

A graphics processor takes about as long for thirty pictures as for one. The first caller opens a batch and
waits some milliseconds for others; whoever comes while it waits, or while an earlier batch still runs, joins.
The batch runs in the thread of the caller who opened it, so there is no thread of its own to stop, and
nothing is left behind when the callers have gone.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from scanner.errors import ScannerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

MOST: Final = 32
"""Pictures of one run; beyond it the time grows with the pictures."""
PATIENCE: Final = timedelta(milliseconds=4)
"""What the first caller waits at most for others: less than the run itself takes."""


@dataclass(slots=True, eq=False)
class _Batch:
    parts: list[Tensor] = field(default_factory=list)
    size: int = 0
    is_full: threading.Event = field(default_factory=threading.Event)
    is_done: threading.Event = field(default_factory=threading.Event)
    scores: Tensor | None = None
    error: BaseException | None = None


class MicroBatcher:
    """Run a model on the pictures of many threads at once."""

    def __init__(
        self, infer: Callable[[Tensor], Tensor], *, most: int = MOST, patience: timedelta = PATIENCE
    ) -> None:
        """Wrap a model.

        Args:
            infer: From pictures, [N, …], to scores, [N, labels]; called by one thread at a time.
            most: Pictures of one run.
            patience: How long a run waits for more pictures.
        """
        self._infer = infer
        self._most = most
        self._patience_s = patience.total_seconds()
        self._joining = threading.Lock()
        self._running = threading.Lock()
        self._open: _Batch | None = None

    def __call__(self, pictures: Tensor) -> Tensor:
        """Return the scores of these pictures, [N, labels], whoever else's ran with them.

        Raises:
            ScannerError: The run failed; it says so to everybody whose pictures were in it.
        """
        import torch  # noqa: PLC0415 - a relay without classifiers never loads torch

        return torch.cat([self._run(part) for part in torch.split(pictures, self._most)])

    def _run(self, pictures: Tensor) -> Tensor:
        batch, first, is_leader = self._join(pictures)
        if is_leader:
            self._lead(batch)
        else:
            batch.is_done.wait()
        if batch.scores is None or len(batch.scores) != batch.size:
            raise ScannerError("the run of the model failed") from batch.error
        return batch.scores[first : first + len(pictures)]

    def _join(self, pictures: Tensor) -> tuple[_Batch, int, bool]:
        with self._joining:
            batch = self._open
            if batch is not None and batch.size + len(pictures) > self._most:
                batch.is_full.set()
                batch = None
            is_leader = batch is None
            if batch is None:
                batch = self._open = _Batch()
            first = batch.size
            batch.parts.append(pictures)
            batch.size += len(pictures)
            if batch.size == self._most:
                batch.is_full.set()
        return batch, first, is_leader

    def _lead(self, batch: _Batch) -> None:
        import torch  # noqa: PLC0415 - see above

        try:
            batch.is_full.wait(self._patience_s)
            # Whoever comes while another batch runs still joins this one.
            with self._running:
                with self._joining:
                    if self._open is batch:
                        self._open = None
                batch.scores = self._infer(torch.cat(batch.parts))
        except BaseException as error:
            batch.error = error
            if not isinstance(error, Exception):
                raise
        finally:
            with self._joining:
                if self._open is batch:
                    self._open = None
            batch.is_done.set()
