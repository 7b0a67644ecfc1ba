"""Arachnid Shield, of the Canadian Centre for Child Protection.

Pictures and videos go there as they are (`POST v1/media/`); of picture formats that it is not known to
read, and of everything where the admin wants it so, only PDQ hashes do (`POST v1/pdq/`). An exact match there
is one of SHA-1, a near one of PhotoDNA; of a video the worst frame counts.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from relay.backends.reading import dig
from relay.config.services import What
from relay.services.answers import Answered, Facts, Failed, FailureKind, Material, NotTaken
from relay.services.hashes import choose_hashes, count_hashes
from scanner.labels import Category
from scanner.report import Basis, Finding
from scanner.sniff import MediaType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.backends.reading import Json
    from relay.config.services import Arachnid
    from relay.services.answers import Answer, Question
    from relay.services.http import ServiceHttp
    from scanner.report import Report

NAME: Final = "arachnid-shield"
_VERSION: Final = "1"

_MALFORMED: Final = Failed(kind=FailureKind.MALFORMED)

_CATEGORIES: Final[Mapping[str, Category]] = {
    "csam": Category.CSAM_KNOWN,
    # What shows children being harmed or exploited and does not meet the criminal definition.
    "harmful-abusive-material": Category.CSEM_OTHER,
}
_NOTHING: Final = frozenset({"no-known-match", None})
_BASES: Final[Mapping[str, Basis]] = {"exact": Basis.EXACT_HASH, "near": Basis.NEAR_HASH}

_SENT_WHOLE: Final = frozenset(
    {
        *(MediaType.JPEG, MediaType.PNG, MediaType.APNG, MediaType.GIF, MediaType.WEBP),
        *(MediaType.BMP, MediaType.TIFF),
        *(MediaType.MP4, MediaType.QUICKTIME, MediaType.WEBM, MediaType.MATROSKA, MediaType.AVI),
    }
)


class ArachnidShield:
    """Ask Arachnid Shield."""

    def __init__(self, http: ServiceHttp, settings: Arachnid) -> None:
        self._http = http
        self._what = settings.what
        self.facts = describe(settings)

    def choose_material(self, report: Report) -> Material:
        """Choose the file or its hashes, whichever it takes."""
        is_taken = self._is_sent_whole(report) or count_hashes(report.fingerprints)
        return Material.ORIGINAL if is_taken else Material.NOTHING

    def count_requests(self, _question: Question) -> int:
        """Count one request for whatever can be sent."""
        return 1

    async def ask(self, question: Question) -> Answer:
        """Send the bytes, or else the hashes."""
        if not self._is_sent_whole(question.report):
            return await self._ask_by_hashes(question.report)
        media_type = question.report.facts.media_type
        answer = await self._http.post_media(
            "v1/media/", question.data, media_type="" if media_type is None else media_type.value
        )
        if isinstance(answer, Failed):
            return answer
        if dig(answer, "sha256_hex") != question.report.fingerprints.sha256.hex():
            # It speaks about other bytes, or is something else.
            return _MALFORMED
        return _read([answer])

    async def probe(self) -> Failed | None:
        """Ask about no hash at all."""
        answer = await self._http.post("v1/pdq/", {"hashes": []})
        if isinstance(answer, Failed) and answer.kind is not FailureKind.REFUSED:
            return answer
        # That it refuses an empty question shows that it knows us.
        return None

    def _is_sent_whole(self, report: Report) -> bool:
        return self._what is What.MEDIA and report.facts.media_type in _SENT_WHOLE

    async def _ask_by_hashes(self, report: Report) -> Answer:
        chosen = choose_hashes(report.fingerprints)
        if not chosen.hashes:
            return NotTaken()
        names = [base64.b64encode(one).decode("ascii") for one in chosen.hashes]
        answer = await self._http.post("v1/pdq/", {"hashes": names})
        if isinstance(answer, Failed):
            return answer
        scanned = dig(answer, "scanned_hashes")
        if not isinstance(scanned, dict) or not set(names) <= scanned.keys():
            return _MALFORMED
        # Of a hash that it does not know it says null, or that there is no match.
        known = [scanned[name] for name in names if scanned[name] is not None]
        return _read(known, is_sampled=chosen.is_sampled)


def describe(settings: Arachnid) -> Facts:
    """Say what others may know of it."""
    return Facts(
        name=NAME,
        version=_VERSION,
        essential=settings.essential,
        advisory=False,
        state={"what": settings.what.value},
    )


def _read(answers: list[Json], *, is_sampled: bool = False) -> Answer:
    found: dict[Finding, None] = {}
    for answer in answers:
        claims = _read_one(answer)
        if claims is None:
            return _MALFORMED
        found |= dict.fromkeys(claims)
    return Answered(findings=tuple(found), is_sampled=is_sampled)


def _read_one(answer: Json) -> tuple[Finding, ...] | None:
    """Read what is claimed of one file or hash; None where it cannot be understood."""
    if not isinstance(answer, dict) or "classification" not in answer:
        return None
    near = answer.get("near_match_details")
    claims = [
        (answer["classification"], answer.get("match_type")),
        # A near match may be worse than what is said of the whole: the worst is what counts.
        *((dig(one, "classification"), "near") for one in (near if isinstance(near, list) else ())),
    ]
    found: list[Finding] = []
    for classification, match_type in claims:
        if classification is not None and not isinstance(classification, str):
            return None
        if classification in _NOTHING:
            continue
        category = _CATEGORIES.get(classification or "")
        if category is None:
            # A class that came after this was written is no reason to release anything.
            return None
        found.append(
            Finding(
                detector=NAME,
                version=_VERSION,
                category=category,
                # Where it does not say how it matched, a person looks, as with a near match.
                basis=_BASES.get(match_type, Basis.NEAR_HASH)
                if isinstance(match_type, str)
                else Basis.NEAR_HASH,
                label=classification,
            )
        )
    if answer.get("match_type") is not None and not found:
        return None
    return tuple(found)
