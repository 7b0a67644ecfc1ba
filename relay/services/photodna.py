"""Microsoft's PhotoDNA Cloud Service (`POST Match`).

It takes GIF, JPEG, PNG, BMP and TIFF of at least 160 x 160 pixels and at most 4,000,000 bytes. About other
media it says nothing, and the report says so. PhotoDNA tells pictures by a perceptual hash, so that a match
is a near one: a person decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relay.backends.reading import dig
from relay.services.answers import Answered, Facts, Failed, FailureKind, NotTaken
from scanner.labels import Category
from scanner.report import Basis, Finding
from scanner.sniff import MediaType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.config.services import PhotoDna
    from relay.services.answers import Answer, Question
    from relay.services.http import ServiceHttp
    from scanner.report import Report

NAME: Final = "photodna"
KEY_HEADER: Final = "Ocp-Apim-Subscription-Key"
_VERSION: Final = "1"

MIN_SIDE: Final = 160
"""Pixels. Source: the service's own answer 3208."""

MAX_BYTES: Final = 4_000_000
"""Source: the service's own answer 3209."""

_MEDIA_TYPES: Final[Mapping[MediaType, str]] = {
    MediaType.GIF: "image/gif",
    MediaType.JPEG: "image/jpeg",
    MediaType.PNG: "image/png",
    MediaType.APNG: "image/png",
    MediaType.BMP: "image/bmp",
    MediaType.TIFF: "image/tiff",
}

# Its own codes; whatever else it may say is no answer to what we ask.
_OK: Final = 3000
_NO_PICTURE: Final = 3206
_OUT_OF_BOUNDS: Final = frozenset({3208, 3209})


class PhotoDnaCloud:
    """Ask PhotoDNA."""

    def __init__(self, http: ServiceHttp, settings: PhotoDna) -> None:
        self._http = http
        self.facts = describe(settings)

    def count_requests(self, report: Report) -> int:
        """Count one request for a picture within its bounds."""
        facts = report.facts
        # Of what was not decoded the sides are not known; the service sees to that itself.
        is_big_enough = not facts.width or min(facts.width, facts.height) >= MIN_SIDE
        return int(facts.media_type in _MEDIA_TYPES and is_big_enough and facts.size <= MAX_BYTES)

    async def ask(self, question: Question) -> Answer:
        """Send the bytes."""
        facts = question.report.facts
        media_type = None if facts.media_type is None else _MEDIA_TYPES.get(facts.media_type)
        if media_type is None:
            return NotTaken()
        answer = await self._http.post_media("Match", question.data, media_type=media_type)
        if isinstance(answer, Failed):
            return answer
        code, is_match = dig(answer, "Status", "Code"), dig(answer, "IsMatch")
        if isinstance(code, int) and code in _OUT_OF_BOUNDS:
            return NotTaken()
        if code == _NO_PICTURE:
            # Our decoder sees a picture in what is none to the service: a person has to look.
            return Failed(kind=FailureKind.REFUSED)
        if code != _OK or not isinstance(is_match, bool):
            return Failed(kind=FailureKind.MALFORMED)
        # Whether it looks at every frame of an animation is not known.
        is_sampled = facts.frames > 1
        return Answered(findings=(_MATCH,) if is_match else (), is_sampled=is_sampled)

    async def probe(self) -> Failed | None:
        """Send something that is no picture."""
        answer = await self._http.post("Match", {"DataRepresentation": "inline", "Value": ""})
        if isinstance(answer, Failed) and answer.kind is not FailureKind.REFUSED:
            return answer
        # That it refuses an empty question shows that it knows us.
        return None


_MATCH: Final = Finding(
    detector=NAME, version=_VERSION, category=Category.CSAM_KNOWN, basis=Basis.NEAR_HASH, label="match"
)


def describe(settings: PhotoDna) -> Facts:
    """Say what others may know of it."""
    return Facts(
        name=NAME,
        version=_VERSION,
        essential=settings.essential,
        advisory=False,
        state={"min_side": MIN_SIDE, "max_bytes": MAX_BYTES},
    )
