"""A Hasher-Matcher-Actioner (HMA 1.x), one's own or a partner's.

By default it is asked by PDQ hashes (`GET m/lookup?signal_type=pdq&signal=…`), and answers with the banks
that hold something near. It can be sent the bytes instead (`POST m/lookup`), to hash them itself. Banks that
the admin gave no category count for nothing: a server may keep banks for other ends, of what is allowed, for
instance. A bank that is enabled for a share of the matches answers for that share alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from relay.config.services import What
from relay.services.answers import Answered, Facts, Failed, FailureKind, Material, NotTaken
from relay.services.hashes import choose_hashes, count_hashes
from scanner.report import Basis, Finding
from scanner.sniff import Family, MediaType, family

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from relay.backends.reading import Json
    from relay.config.services import Hma
    from relay.services.answers import Answer, Question
    from relay.services.http import ServiceHttp
    from scanner.labels import Category
    from scanner.report import Report

NAME: Final = "hma"
_VERSION: Final = "1"

_ALIVE: Final = "I-AM-ALIVE"
"""What its status page says. Another word is a server that does not match now."""

# Signals that are equal or not; all others are near matches.
_EXACT_SIGNALS: Final = frozenset({"video_md5", "sha256", "sha1", "md5"})

_PDQ: Final = "pdq"
_FORMS: Final[Mapping[Family, str]] = {Family.IMAGE: "photo", Family.VIDEO: "video"}
_MAX_DISTANCE: Final = 256


class HmaServer:
    """Ask an HMA."""

    def __init__(self, http: ServiceHttp, settings: Hma) -> None:
        self._http = http
        self._what = settings.what
        self._categories = settings.categories
        self.facts = describe(settings)

    def choose_material(self, report: Report) -> Material:
        """Choose the file or its hashes, as the admin says."""
        if self._what is What.HASHES:
            is_taken = count_hashes(report.fingerprints) > 0
        else:
            is_taken = _form_of(report.facts.media_type) is not None
        return Material.ORIGINAL if is_taken else Material.NOTHING

    def count_requests(self, question: Question) -> int:
        """Count one request for a file, or one for each of its hashes."""
        return count_hashes(question.report.fingerprints) if self._what is What.HASHES else 1

    async def ask(self, question: Question) -> Answer:
        """Look up the hashes, or send the bytes."""
        if self._what is What.MEDIA:
            return await self._ask_by_media(question)
        chosen = choose_hashes(question.report.fingerprints)
        found: dict[Finding, None] = {}
        for one in chosen.hashes:
            answer = await self._http.get("m/lookup", {"signal_type": _PDQ, "signal": one.hex()})
            claims = answer if isinstance(answer, Failed) else self._read_banks(answer, _PDQ)
            if isinstance(claims, Failed):
                return claims
            found |= dict.fromkeys(claims)
        if not chosen.hashes:
            return NotTaken()
        return Answered(findings=tuple(found), is_sampled=chosen.is_sampled)

    async def probe(self) -> Failed | None:
        """Ask how it is."""
        answer = await self._http.get_text("status")
        if isinstance(answer, Failed):
            return answer
        return None if answer.strip() == _ALIVE else Failed(kind=FailureKind.SERVER_ERROR)

    async def _ask_by_media(self, question: Question) -> Answer:
        media_type = question.report.facts.media_type
        form = _form_of(media_type)
        if form is None or media_type is None:
            return NotTaken()
        answer = await self._http.post_form("m/lookup", question.data, media_type=media_type.value, name=form)
        if isinstance(answer, Failed):
            return answer
        if not isinstance(answer, dict) or not answer:
            # Without a single signal it has hashed nothing.
            return Failed(kind=FailureKind.MALFORMED)
        found: dict[Finding, None] = {}
        for signal_type, banks in answer.items():
            claims = self._read_banks(banks, signal_type)
            if isinstance(claims, Failed):
                return claims
            found |= dict.fromkeys(claims)
        return Answered(findings=tuple(found), is_sampled=question.report.facts.frames > 1)

    def _read_banks(self, banks: Json, signal_type: str) -> tuple[Finding, ...] | Failed:
        if not isinstance(banks, dict) or not all(isinstance(one, list) for one in banks.values()):
            return Failed(kind=FailureKind.MALFORMED)
        return tuple(
            Finding(
                detector=NAME,
                version=_VERSION,
                category=category,
                basis=Basis.EXACT_HASH if signal_type in _EXACT_SIGNALS else Basis.NEAR_HASH,
                distance=_nearest(matches),
                list_name=name,
            )
            for name, matches in banks.items()
            if matches and (category := self._category_of(name)) is not None
        )

    def _category_of(self, bank: str) -> Category | None:
        return self._categories.get(bank)


def describe(settings: Hma) -> Facts:
    """Say what others may know of it; the names of its banks are not theirs to know."""
    return Facts(
        name=NAME,
        version=_VERSION,
        essential=settings.essential,
        advisory=False,
        state={
            "what": settings.what.value,
            "categories": [*sorted({category.value for category in settings.categories.values()})],
            "banks": len(settings.categories),
        },
    )


def _form_of(media_type: MediaType | None) -> str | None:
    """Name the field of the form that a file of this type goes into; None where HMA hashes none such."""
    return None if media_type in {None, MediaType.SVG} else _FORMS.get(family(media_type))


def _nearest(matches: Json) -> int | None:
    """Find the least distance among the matches; None where none is stated in bits."""
    return min(_distances(matches), default=None)


def _distances(matches: Json) -> Iterator[int]:
    for one in matches if isinstance(matches, list) else ():
        stated = one.get("distance") if isinstance(one, dict) else None
        text = str(stated)
        if text.isascii() and text.isdecimal() and len(text) <= len(str(_MAX_DISTANCE)):
            yield min(int(text), _MAX_DISTANCE)
