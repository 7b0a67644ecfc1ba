"""Google's Content Safety API (`POST images:classify`): which pictures a person should look at first.

It advises and decides nothing; its terms demand that a person looks.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from relay.backends.reading import dig
from relay.config.services import Priority
from relay.services.answers import Answered, Facts, Failed, FailureKind
from scanner.canary import draw_canary
from scanner.labels import Category
from scanner.report import Basis, Finding
from scanner.sniff import MediaType

if TYPE_CHECKING:
    from relay.config.services import Google
    from relay.services.answers import Answer, Question
    from relay.services.http import ServiceHttp
    from scanner.report import Report

NAME: Final = "google-content-safety"
KEY_HEADER: Final = "X-Goog-Api-Key"
"""Google's interfaces take a key in this header, too: in the query it would stand in the logs of proxies."""

_VERSION: Final = "1"

MAX_BYTES: Final = 7_000_000
"""A request is at most 10 MB, in which a picture takes four thirds of its length. Source: its manual."""

# Without its slash the name would be read as that of a scheme.
_PATH: Final = "/images:classify"

_ORDER: Final = tuple(Priority)

_TAKEN: Final = frozenset(
    {MediaType.JPEG, MediaType.PNG, MediaType.APNG, MediaType.GIF, MediaType.WEBP, MediaType.BMP}
)


class ContentSafety:
    """Ask the Content Safety API."""

    def __init__(self, http: ServiceHttp, settings: Google) -> None:
        self._http = http
        self._report_from = settings.report_from
        self.facts = describe(settings)

    def count_requests(self, report: Report) -> int:
        """Count one request for a picture that is not too long."""
        return int(report.facts.media_type in _TAKEN and report.facts.size <= MAX_BYTES)

    async def ask(self, question: Question) -> Answer:
        """Send the bytes."""
        priority = await self._classify(question.data)
        if isinstance(priority, Failed):
            return priority
        if _ORDER.index(priority) < _ORDER.index(self._report_from):
            return Answered()
        finding = Finding(
            detector=NAME,
            version=_VERSION,
            category=Category.CSAM_SUSPECTED,
            basis=Basis.CLASSIFIER,
            label=priority.value,
            advisory=True,
        )
        return Answered(findings=(finding,))

    async def probe(self) -> Failed | None:
        """Ask about our own drawn test picture: a wrong key is refused with the word of a wrong question."""
        answer = await self._classify(draw_canary())
        return answer if isinstance(answer, Failed) else None

    async def _classify(self, data: bytes) -> Priority | Failed:
        picture = base64.b64encode(data).decode("ascii")
        answer = await self._http.post(_PATH, {"images": [picture]})
        if isinstance(answer, Failed):
            return answer
        priorities = dig(answer, "reviewPriorities")
        if not isinstance(priorities, list) or len(priorities) != 1 or priorities[0] not in _ORDER:
            return Failed(kind=FailureKind.MALFORMED)
        return Priority(priorities[0])


def describe(settings: Google) -> Facts:
    """Say what others may know of it."""
    return Facts(
        name=NAME,
        version=_VERSION,
        essential=False,
        advisory=True,
        state={"report_from": settings.report_from.value},
    )
