"""Microsoft's PhotoDNA Cloud Service (`POST Match`).

It takes GIF, JPEG, PNG, BMP and TIFF of at least 160 x 160 pixels and at most 4,000,000 bytes. Of what else
our own decoder can show it gets reduced copies. About smaller media it says nothing, and the report says so.
PhotoDNA tells pictures by a perceptual hash, so that a match is a near one: a person decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relay.backends.reading import dig
from relay.services.answers import Answered, Facts, Failed, FailureKind, Material, NotTaken
from relay.services.copies import MAX_BYTES, MAX_SIDE, MIN_SIDE
from scanner.labels import Category
from scanner.reduced import MAX_COPIES
from scanner.report import Basis, Finding
from scanner.sniff import MediaType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.config.services import PhotoDna
    from relay.services.answers import Answer, Question
    from relay.services.http import ServiceHttp
    from scanner.reduced import Copy
    from scanner.report import Report

NAME: Final = "photodna"
KEY_HEADER: Final = "Ocp-Apim-Subscription-Key"
_VERSION: Final = "2"

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

    def choose_material(self, report: Report) -> Material:
        """Choose the picture itself within its bounds, else copies of whatever is large enough."""
        facts = report.facts
        is_small = min(facts.width, facts.height) < MIN_SIDE
        if facts.media_type in _MEDIA_TYPES and facts.size <= MAX_BYTES:
            # Of what was not decoded the sides are not known; the service sees to that itself.
            return Material.NOTHING if facts.width and is_small else Material.ORIGINAL
        # What our decoder cannot show is withheld for that. Pictures of one file may differ in size.
        is_shown = facts.width > 0 and (not is_small or facts.frames > 1)
        return Material.COPIES if is_shown else Material.NOTHING

    def count_requests(self, question: Question) -> int:
        """Count one request for each picture."""
        return 1 if question.copies is None else len(_large_enough(question.copies))

    async def ask(self, question: Question) -> Answer:
        """Send the bytes, or the copies one by one."""
        if question.copies is None:
            return await self._ask_about_original(question)
        sent = _large_enough(question.copies)
        if not sent:
            return NotTaken()
        is_sampled = question.is_copied_in_part or len(sent) < len(question.copies)
        for copy in sent:
            is_match = await self._match(copy.data, "image/jpeg")
            if isinstance(is_match, NotTaken):
                # A copy is in all the bounds that are known: a person has to look.
                return Failed(kind=FailureKind.REFUSED)
            if isinstance(is_match, Failed):
                return is_match
            if is_match:
                return Answered(findings=(_MATCH,), is_sampled=is_sampled)
        return Answered(is_sampled=is_sampled)

    async def _ask_about_original(self, question: Question) -> Answer:
        facts = question.report.facts
        media_type = None if facts.media_type is None else _MEDIA_TYPES.get(facts.media_type)
        if media_type is None:
            return NotTaken()
        is_match = await self._match(question.data, media_type)
        if isinstance(is_match, NotTaken):
            # It has more bounds than are known, for the sides of a large picture for instance.
            return NotTaken(takes_copies=facts.width > 0)
        if isinstance(is_match, Failed):
            return is_match
        # Whether it looks at every frame of an animation is not known.
        return Answered(findings=(_MATCH,) if is_match else (), is_sampled=facts.frames > 1)

    async def _match(self, data: bytes, media_type: str) -> bool | NotTaken | Failed:
        answer = await self._http.post_media("Match", data, media_type=media_type)
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
        return is_match

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
        state={
            "min_side": MIN_SIDE,
            "max_bytes": MAX_BYTES,
            "copy_side": MAX_SIDE,
            "max_copies": MAX_COPIES,
        },
    )


def _large_enough(copies: tuple[Copy, ...]) -> tuple[Copy, ...]:
    return tuple(one for one in copies if min(one.width, one.height) >= MIN_SIDE)
