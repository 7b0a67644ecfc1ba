"""A relay that weighs the word of its peers: a scanner with one costly detector, and peers that answer."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from relay.exchange.client import PeerFailure, PeerFailureReason
from relay.exchange.peer_tools import PeerTools, Steps
from relay.exchange.standings import ProfileRule
from relay.metrics import Metrics
from relay.model import FetchFailure, MediaDecision, MediaOutcome, MediaReference
from relay.pipeline import weigh
from relay.stages.act import Acting
from relay.stages.decide import Condition, Policy
from relay.stages.gather import Reach
from relay.stages.scan import ScanTools
from relay.tools.flights import open_flights
from relay.tools.memory import MemoryBudget
from relay.tools.scanning import open_scanning
from relay.tools.spool import open_spool
from scanner.detector import Builder, DetectorResult, Need, Sample
from scanner.detectors import DETECTORS
from scanner.labels import Category
from scanner.report import Basis, Finding
from scanner.scan import open_scanner
from scanner.settings import ScannerSettings
from tests.fediverse.clock import START, FrozenClock
from tests.relay.exchange.issuer import PROFILE
from tests.relay.stages.parts import media, reference

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    import pytest

    from db.peers import Peer
    from db.pool import Database
    from relay.exchange.prefixes import Prefix
    from relay.model import Media
    from relay.tools.scanning import Scanning
    from relay.tools.spool import Spool
    from scanner.scan import Scanner
    from signatures.strictjson import JsonObject

COSTLY: Final = "costly"
THRESHOLD: Final = 800
STEPS: Final = Steps(
    uses_headers=True,
    uses_inline=True,
    asks_origin=True,
    asks_buckets=False,
    ask_within=timedelta(seconds=5),
    patience=timedelta(),
)


class CostlyDetector:
    """A model that counts how often it is asked, and finds what it is told to find."""

    name = COSTLY
    version = "1"
    need = Need.PIXELS
    essential = False
    advisory = False
    is_costly = True
    tells_scores = False
    state: Final[dict[str, object]] = {
        "thresholds": {"spam": {"category": "spam", "label": "drawn", "permille": THRESHOLD}}
    }

    def __init__(self) -> None:
        self.asked = 0
        self.score = 0

    def detect(self, sample: Sample) -> DetectorResult:
        self.asked += 1
        scores = (("drawn", self.score),) if self.tells_scores else ()
        if self.score < THRESHOLD:
            return DetectorResult(scores=scores)
        finding = Finding(
            detector=COSTLY,
            version="1",
            category=Category.SPAM,
            basis=Basis.CLASSIFIER,
            label="drawn",
            score_permille=self.score,
        )
        return DetectorResult(findings=(finding,), scores=scores)


@contextlib.contextmanager
def open_costly_scanner(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Scanner, CostlyDetector]]:
    """Open a scanner that knows the canary and has the costly detector."""
    detector = CostlyDetector()
    builder = Builder(name=COSTLY, uses_lists=False, build=lambda _settings, _lists: (detector,))
    monkeypatch.setattr("scanner.scan.DETECTORS", (*DETECTORS, builder))
    with open_scanner(ScannerSettings(workers=1, embedded_classifier=False)) as opened:
        yield opened, detector


@dataclass(slots=True)
class Answering:
    """Peers that answer what they were told to, and remember who was asked what."""

    words: dict[str, list[bytes]] = field(default_factory=dict)
    states: dict[bytes, JsonObject] = field(default_factory=dict)
    openings: dict[bytes, bytes] = field(default_factory=dict)
    mixed_up: list[bytes] = field(default_factory=list)
    refusal: PeerFailureReason = PeerFailureReason.NOT_THERE
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def lookup(self, peer: Peer, digests: Sequence[bytes]) -> tuple[bytes, ...] | PeerFailure:
        assert len(digests) == 1
        self.asked.append(("lookup", peer.domain))
        return tuple(self.words.get(peer.domain, ()))

    async def buckets(self, peer: Peer, prefixes: Sequence[Prefix]) -> tuple[bytes, ...] | PeerFailure:
        self.asked.append((f"buckets of {prefixes[0].bits}", peer.domain))
        if prefixes[0].bits < 2:
            return PeerFailure(reason=PeerFailureReason.TOO_BROAD, bits=2)
        return tuple(self.words.get(peer.domain, ()))

    async def state(self, peer: Peer, digest: bytes) -> JsonObject | PeerFailure:
        self.asked.append(("state", peer.domain))
        found = self.states.get(digest)
        return PeerFailure(reason=self.refusal) if found is None else found

    async def opening(self, peer: Peer, commitment: bytes) -> bytes | PeerFailure:
        self.asked.append(("opening", peer.domain))
        found = self.mixed_up.pop() if self.mixed_up else self.openings.get(commitment)
        return PeerFailure(reason=self.refusal) if found is None else found


@dataclass(slots=True)
class Serving:
    """Servers that still have media, by address."""

    files: dict[str, bytes] = field(default_factory=dict)

    async def fetch_media(self, url: str, **_: object) -> Media | FetchFailure:
        data = self.files.get(url)
        return FetchFailure.GONE if data is None else media(data)


@dataclass(slots=True, kw_only=True)
class Trusting:
    """As much of a line as examining bytes takes.

    Attributes:
        draw: What the coin shows, in [0, 1).
    """

    database: Database
    scans: ScanTools
    scanning: Scanning
    spool: Spool
    policy: Policy
    metrics: Metrics
    clock: FrozenClock
    answering: Answering
    detector: CostlyDetector
    peers: PeerTools | None
    draw: float = 0.99
    memory: MemoryBudget = field(default_factory=MemoryBudget)
    client: Serving = field(default_factory=Serving)
    acting: Acting = field(
        default_factory=lambda: Acting(actions={}, abilities=frozenset(), own_host="own.example")
    )
    max_media_bytes: int = 1 << 20
    examines_restricted: bool = False

    @property
    def tools(self) -> PeerTools:
        assert self.peers is not None
        return self.peers

    def open_ways(self, **changes: object) -> None:
        """Open or close ways to the word of a peer."""
        steps = replace(self.tools.steps, **changes)  # type: ignore[arg-type]  # the tests name the fields
        self.peers = replace(self.tools, steps=steps)

    async def examine(
        self,
        data: bytes,
        *,
        header: bytes | None = None,
        inline: bytes | None = None,
        reach: Reach = Reach.ASKING,
        sender: str | None = None,
        at: MediaReference | None = None,
    ) -> MediaOutcome:
        given: Media = replace(media(data, "image/png"), attestation=header)
        return await weigh(
            given, replace(at or reference(), attestation=inline), tools=self, reach=reach, sender=sender
        )


@contextlib.asynccontextmanager
async def open_trusting(
    database: Database, scanner: tuple[Scanner, CostlyDetector], directory: Path
) -> AsyncIterator[Trusting]:
    """Open a relay that weighs the word of its peers."""
    clock, answering = FrozenClock(), Answering()
    opened, detector = scanner
    detector.asked = detector.score = 0
    detector.tells_scores = False
    async with (
        open_scanning(opened, threads=2, secret=bytes(32), now=START) as scanning,
        open_flights() as flights,
        open_flights() as gathering,
        open_flights() as beginning,
    ):
        made = Trusting(
            database=database,
            scanning=scanning,
            scans=ScanTools(scanning=scanning, flights=flights, database=database, clock=clock, worker="one"),
            spool=open_spool(directory / "spool", max_bytes=1 << 20),
            policy=Policy(
                rules={}, conditions=dict.fromkeys(Condition, MediaDecision.WITHHOLD), enforces_media=True
            ),
            metrics=Metrics(),
            clock=clock,
            answering=answering,
            detector=detector,
            peers=None,
        )
        made.peers = PeerTools(
            database=database,
            clock=clock,
            steps=STEPS,
            asker=answering,
            refetch=None,
            costly=scanning.costly_detectors,
            profiles=ProfileRule(name=PROFILE),
            retained=open_spool(directory / "audits", max_bytes=1 << 20),
            gathering=gathering,
            beginning=beginning,
            chance=lambda: made.draw,
        )
        yield made
