"""A costly detector of which a test decides what it finds, and which counts what it is asked."""

from __future__ import annotations

import hashlib
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from scanner.detector import Builder, DetectorResult, Need
from scanner.labels import Category
from scanner.report import Basis, Finding

if TYPE_CHECKING:
    from scanner.detector import Detector, Sample
    from scanner.hashlist import HashList
    from scanner.settings import ScannerSettings

LABEL: Final = "drawn-harm"
THRESHOLD: Final = 700


class Model:
    """The same model at every relay, with the same threshold; one that is blind never looks."""

    name: Final = "test-model"
    version: Final = "1"
    essential: Final = False
    advisory: Final = False
    need: Final = Need.PIXELS
    is_costly: Final = True

    def __init__(self) -> None:
        self.state: dict[str, object] = {
            "thresholds": {
                "drawn": {"label": LABEL, "category": Category.SPAM.value, "permille": THRESHOLD},
            }
        }
        self.is_blind = False
        self.tells_scores = False
        self._asked: list[bytes] = []
        self._harmful: set[bytes] = set()

    def find_harm_in(self, *pictures: bytes) -> None:
        """Find something in these from now on."""
        self._harmful |= {hashlib.sha256(one).digest() for one in pictures}

    def count(self, *pictures: bytes) -> int:
        """Count how often it was asked about these."""
        return sum(self._asked.count(hashlib.sha256(one).digest()) for one in pictures)

    def detect(self, sample: Sample) -> DetectorResult:
        """Find what the test said, unless it is blind."""
        digest = sample.fingerprints.sha256
        self._asked.append(digest)
        # Every picture has a score of its own; one that nobody looked at has whatever is made up.
        score = 0 if self.is_blind else 50 + digest[0]
        scores = ((LABEL, score),) if self.tells_scores else ()
        if self.is_blind or digest not in self._harmful:
            return DetectorResult(scores=scores)
        found = Finding(
            detector=self.name,
            version=self.version,
            category=Category.SPAM,
            basis=Basis.CLASSIFIER,
            label=LABEL,
            score_permille=THRESHOLD + 250,
        )
        return DetectorResult(findings=(found,))


MODEL: Final[ContextVar[Model | None]] = ContextVar(
    "the model of the relay that is being opened", default=None
)


def _build(_settings: ScannerSettings, _lists: tuple[HashList, ...]) -> tuple[Detector, ...]:
    model = MODEL.get()
    return () if model is None else (model,)


BUILDER: Final = Builder(name="test-model", uses_lists=False, build=_build)
