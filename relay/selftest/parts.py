"""What every check works with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from db.pool import Database
    from relay.backends.standin import StandIn
    from relay.clock import Clock
    from relay.selftest.doors import DoorAddresses
    from relay.selftest.origin import SelftestOrigin
    from relay.tools.identity import Identity

# A scan takes tens of milliseconds; a cold classifier on a busy machine takes seconds.
PATIENCE_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SelftestTools:
    """What the self-test works with.

    Attributes:
        origin: The remote server that it plays.
        standin: Where its deliveries end.
        door_url: Where the relay listens, as reachable from this machine.
        identity: Whom the relay says that it is.
        profile: The name of the profile that attestations are made under.
        database: Where deliveries, cases and attestations are looked up.
        clock: The time.
        doors: Where the doors beside the inbox are.
        enforces_media: Text is forwarded while its media stay withheld at a door of ours.
    """

    origin: SelftestOrigin
    standin: StandIn
    door_url: str
    identity: Identity
    profile: str
    database: Database
    clock: Clock
    doors: DoorAddresses
    enforces_media: bool


class SelftestFailure(Exception):  # noqa: N818 (it is the outcome of a check, not a fault of the program)
    """A check failed; the message says what was seen and what to do."""
