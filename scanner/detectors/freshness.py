"""Whether the lists are as new as the administrator demands; built only while one of them is not.

What a list holds is matched however old it is. What none holds cannot be told from what came to it since, so
that the bytes count as not examined, as they do when an essential detector is down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scanner.detector import Builder, Detector, DetectorResult, Need, Sample

if TYPE_CHECKING:
    from scanner.hashlist import HashList
    from scanner.settings import ScannerSettings

NAME: Final = "list-age"
VERSION: Final = "1"


class ListAgeDetector:
    """Fail: the lists that it was built for are older than they may be."""

    name: Final = NAME
    version: Final = VERSION
    need: Final = Need.DIGESTS
    is_costly: Final = False
    essential: Final = True
    advisory: Final = False

    def __init__(self, overdue: tuple[HashList, ...]) -> None:
        self.state: dict[str, object] = {"overdue": sorted(one.name for one in overdue)}

    def detect(self, sample: Sample) -> DetectorResult:
        """Say that nobody can tell whether these bytes are listed by now."""
        del sample
        return DetectorResult(failed="ListOverdue")


def _build(settings: ScannerSettings, lists: tuple[HashList, ...]) -> tuple[Detector, ...]:
    del settings
    overdue = tuple(one for one in lists if one.is_overdue)
    return (ListAgeDetector(overdue),) if overdue else ()


BUILDER: Final = Builder(name=NAME, uses_lists=True, compares=False, build=_build)
