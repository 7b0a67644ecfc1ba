"""Google's Content Safety API (`POST images:classify`): which pictures a person should look at first.

It advises and decides nothing; its terms demand that a person looks.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from relay.backends.reading import dig
from relay.config.services import Priority
from relay.services.answers import Answered, Facts, Failed, FailureKind, Material
from relay.services.copies import MAX_SIDE
from scanner.canary import draw_canary
from scanner.labels import Category
from scanner.reduced import MAX_COPIES
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

_VERSION: Final = "2"

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

    def choose_material(self, report: Report) -> Material:
        """Choose the picture itself where it is not too long, else copies of whatever can be shown."""
        facts = report.facts
        if facts.media_type in _TAKEN and facts.size <= MAX_BYTES:
            return Material.ORIGINAL
        return Material.COPIES if facts.width else Material.NOTHING

    def count_requests(self, _question: Question) -> int:
        """Count one request, whose answer speaks of every picture in it."""
        return 1

    async def ask(self, question: Question) -> Answer:
        """Send the bytes or the copies; the most urgent of them counts."""
        copies = question.copies
        pictures = [question.data] if copies is None else [one.data for one in copies]
        priority = await self._classify(pictures)
        is_sampled = question.is_copied_in_part
        if isinstance(priority, Failed):
            return priority
        if _ORDER.index(priority) < _ORDER.index(self._report_from):
            return Answered(is_sampled=is_sampled)
        finding = Finding(
            detector=NAME,
            version=_VERSION,
            category=Category.CSAM_SUSPECTED,
            basis=Basis.CLASSIFIER,
            label=priority.value,
            advisory=True,
        )
        return Answered(findings=(finding,), is_sampled=is_sampled)

    async def probe(self) -> Failed | None:
        """Ask about our own drawn test picture: a wrong key is refused with the word of a wrong question."""
        answer = await self._classify([draw_canary()])
        return answer if isinstance(answer, Failed) else None

    async def _classify(self, pictures: list[bytes]) -> Priority | Failed:
        images = [base64.b64encode(one).decode("ascii") for one in pictures]
        answer = await self._http.post(_PATH, {"images": images})
        if isinstance(answer, Failed):
            return answer
        priorities = dig(answer, "reviewPriorities")
        if not isinstance(priorities, list) or not 0 < len(priorities) == len(images):
            return Failed(kind=FailureKind.MALFORMED)
        known = [one for one in _ORDER if one in priorities]
        # The most urgent comes last.
        return known[-1] if all(one in _ORDER for one in priorities) else Failed(kind=FailureKind.MALFORMED)


def describe(settings: Google) -> Facts:
    """Say what others may know of it."""
    return Facts(
        name=NAME,
        version=_VERSION,
        essential=False,
        advisory=True,
        state={
            "report_from": settings.report_from.value,
            "copy_side": MAX_SIDE,
            "max_copies": MAX_COPIES,
        },
    )
