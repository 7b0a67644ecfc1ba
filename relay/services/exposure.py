"""What may leave this machine: who can see some media anyway, and what the admin lets go."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from relay.config.services import Sends

if TYPE_CHECKING:
    from collections.abc import Mapping


class Exposure(StrEnum):
    """Who can see some media, as far as is known where they came in."""

    PUBLIC = "public"
    """Everybody: a public post points at them."""
    UNSTATED = "unstated"
    """The door does not say, as a backend's fetch does not."""
    RESTRICTED = "restricted"
    """Followers, or the persons that a post is addressed to."""


_ALLOWED: Final[Mapping[Sends, frozenset[Exposure]]] = {
    Sends.PUBLIC: frozenset({Exposure.PUBLIC}),
    Sends.UNSTATED: frozenset({Exposure.PUBLIC, Exposure.UNSTATED}),
    Sends.ALL: frozenset(Exposure),
}


def may_be_sent(exposure: Exposure, sends: Sends) -> bool:
    """Tell whether media, or hashes of them, may go to a service."""
    return exposure in _ALLOWED[sends]
