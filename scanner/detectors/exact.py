"""Known bytes: SHA-256, SHA-1 and MD5 against the hash lists.

Needs nothing decoded, so it speaks even where the bytes are no picture at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from scanner.detector import Builder, Detector, DetectorResult, Need, Sample
from scanner.hashlist import HashKind, HashList
from scanner.index import DigestIndex
from scanner.report import Basis, Finding

if TYPE_CHECKING:
    from scanner.settings import ScannerSettings

NAME: Final = "exact-hash"
VERSION: Final = "1"
KINDS: Final = (HashKind.SHA256, HashKind.SHA1, HashKind.MD5)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listed:
    source: HashList
    indexes: dict[HashKind, DigestIndex]


class ExactHashDetector:
    """Look the digests of the bytes up in every list."""

    name: Final = NAME
    version: Final = VERSION
    need: Final = Need.DIGESTS
    is_costly: Final = False

    def __init__(self, lists: tuple[HashList, ...], *, advisory: bool) -> None:
        self.advisory = advisory
        self.essential = not advisory
        self._listed = tuple(
            _Listed(
                source=one,
                indexes={kind: DigestIndex.build(one.table.get_rows(kind)) for kind in KINDS},
            )
            for one in lists
        )
        self.state: dict[str, object] = {"lists": [one.state for one in lists]}

    def detect(self, sample: Sample) -> DetectorResult:
        """Report every list that holds one of the digests."""
        prints = sample.fingerprints
        digests = {HashKind.SHA256: prints.sha256, HashKind.SHA1: prints.sha1, HashKind.MD5: prints.md5}
        return DetectorResult(
            findings=tuple(
                Finding(
                    detector=NAME,
                    version=VERSION,
                    category=one.source.category,
                    basis=Basis.EXACT_HASH,
                    label=one.source.label,
                    advisory=self.advisory or one.source.advisory,
                    list_name=one.source.name,
                    list_version=one.source.version,
                )
                for one in self._listed
                if any(one.indexes[kind].find(digest) is not None for kind, digest in digests.items())
            )
        )


def _build(settings: ScannerSettings, lists: tuple[HashList, ...]) -> tuple[Detector, ...]:
    return (ExactHashDetector(lists, advisory=NAME in settings.advisory),)


BUILDER: Final = Builder(name=NAME, uses_lists=True, build=_build)
