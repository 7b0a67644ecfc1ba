"""What the line works with, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from db.pool import Database
    from relay.backends.answer import BackendAnswer
    from relay.backends.choice import Backends
    from relay.clock import Clock
    from relay.exchange.peer_tools import PeerTools
    from relay.metrics import Metrics
    from relay.stages.act import Acting
    from relay.stages.attest import AttestTools
    from relay.stages.authenticate import AuthenticationPolicy
    from relay.stages.decide import Policy
    from relay.stages.release import ReleaseTools
    from relay.stages.scan import ScanTools
    from relay.stages.store import HoldPolicy
    from relay.tools.fetching import Signer
    from relay.tools.key_directory import KeyDirectory
    from relay.tools.limits import FairShare
    from relay.tools.memory import MemoryBudget
    from relay.tools.politeness import PoliteClient
    from relay.tools.spool import Spool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Everything that the line works with; each stage is given only what it uses."""

    database: Database
    client: PoliteClient
    memory: MemoryBudget
    signer: Signer
    keys: KeyDirectory
    lookups: FairShare
    authentication: AuthenticationPolicy
    scans: ScanTools
    spool: Spool
    backends: Backends
    policy: Policy
    acting: Acting
    hold: HoldPolicy
    releasing: ReleaseTools
    vouching: AttestTools
    metrics: Metrics
    clock: Clock
    max_media_bytes: int
    examines_restricted: bool
    peers: PeerTools | None = None


class LookTools(Protocol):
    """What it takes to examine bytes; `Tools` have it all."""

    @property
    def database(self) -> Database: ...  # noqa: D102 (as in `Tools`)
    @property
    def scans(self) -> ScanTools: ...  # noqa: D102
    @property
    def spool(self) -> Spool: ...  # noqa: D102
    @property
    def policy(self) -> Policy: ...  # noqa: D102
    @property
    def metrics(self) -> Metrics: ...  # noqa: D102
    @property
    def clock(self) -> Clock: ...  # noqa: D102
    @property
    def peers(self) -> PeerTools | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The delivery is safely stored, or was stored before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedThrough:
    """The backend answered itself."""

    answer: BackendAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The signature is missing or surely bad."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Vanished:
    """The sender's key is gone for good, and the activity is the Delete that this explains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overloaded:
    """Nothing more can be stored: for anyone, or for a sender that floods."""

    is_flood: bool


Reply: TypeAlias = Accepted | PassedThrough | Refused | Overloaded
