"""Choose where a delivery goes: to the backend, or, for the relay's own self-test, to the stand-in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.backends.client import BackendClient
    from relay.model import Sender


@dataclass(frozen=True, slots=True, kw_only=True)
class Backends:
    """The two ends of the line.

    Attributes:
        main: The admin's server, or the stand-in where none is configured.
        standin: The recorder in which self-tests end.
        selftest_actor: The actor in whose name the relay tests itself.
    """

    main: BackendClient
    standin: BackendClient
    selftest_actor: str

    def is_selftest(self, sender: Sender | None) -> bool:
        """Tell whether a delivery is the relay's own test."""
        return sender is not None and sender.actor == self.selftest_actor

    def choose(self, *, is_selftest: bool) -> BackendClient:
        """Return where a delivery goes."""
        return self.standin if is_selftest else self.main
