"""Known bytes: SHA-256, SHA-1 and MD5 against the hash lists, and SHA-256 against the allow lists.

Needs nothing decoded, so it speaks even where the bytes are no picture at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scanner.detector import Builder, Detector, DetectorResult, Need, Sample
from scanner.hashlist import HashKind, HashList, Purpose, name_entry
from scanner.report import Basis, Finding

if TYPE_CHECKING:
    from scanner.settings import ScannerSettings

NAME: Final = "exact-hash"
VERSION: Final = "1"
ALLOW_NAME: Final = "allow-list"


class ExactHashDetector:
    """Look the digests of the bytes up in every list."""

    name: Final = NAME
    version: Final = VERSION
    need: Final = Need.DIGESTS
    is_costly: Final = False

    def __init__(self, lists: tuple[HashList, ...], *, advisory: bool) -> None:
        self.advisory = advisory
        self.essential = not advisory
        self._lists = lists
        self.state: dict[str, object] = {"lists": [one.state for one in lists]}

    def detect(self, sample: Sample) -> DetectorResult:
        """Report every list that holds one of the digests."""
        prints = sample.fingerprints
        digests = {HashKind.SHA256: prints.sha256, HashKind.SHA1: prints.sha1, HashKind.MD5: prints.md5}
        matched = (
            (source, next((kind for kind, digest in digests.items() if source.has(kind, digest)), None))
            for source in self._lists
        )
        return DetectorResult(
            findings=tuple(
                Finding(
                    detector=NAME,
                    version=VERSION,
                    category=source.category,
                    basis=Basis.EXACT_HASH,
                    label=source.label,
                    advisory=self.advisory or source.advisory,
                    list_name=source.name,
                    list_version=source.version,
                    entry=name_entry(kind, digests[kind]),
                )
                for source, kind in matched
                if kind is not None
            )
        )


class AllowListDetector:
    """Look the SHA-256 of the bytes up in the lists of what the administrator looked at and allowed."""

    name: Final = ALLOW_NAME
    version: Final = VERSION
    need: Final = Need.DIGESTS
    is_costly: Final = False
    essential: Final = False
    """A failure allows nothing, so that the bytes are judged as any others."""
    advisory: Final = True

    def __init__(self, lists: tuple[HashList, ...]) -> None:
        self._lists = lists
        self.state: dict[str, object] = {"lists": [one.state for one in lists]}

    def detect(self, sample: Sample) -> DetectorResult:
        """Say whether exactly these bytes are allowed."""
        is_allowed = any(one.has(HashKind.SHA256, sample.fingerprints.sha256) for one in self._lists)
        return DetectorResult(allows=is_allowed, not_applicable=not is_allowed)


def _build(settings: ScannerSettings, lists: tuple[HashList, ...]) -> tuple[Detector, ...]:
    blocking = tuple(one for one in lists if one.purpose is Purpose.BLOCK)
    allowing = tuple(one for one in lists if one.purpose is Purpose.ALLOW)
    exact = ExactHashDetector(blocking, advisory=NAME in settings.advisory)
    return (exact, AllowListDetector(allowing)) if allowing else (exact,)


BUILDER: Final = Builder(name=NAME, uses_lists=True, build=_build)
