"""Why some bytes cannot be examined wholly: what shows before decoding, and what decoding came to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scanner.report import Coverage, UnscannableReason
from scanner.sniff import DECODABLE, Family, MediaType, agrees, family

if TYPE_CHECKING:
    from scanner.outcome import Outcome
    from scanner.settings import ScannerSettings

_MEDIA_FAMILIES: Final = frozenset({Family.IMAGE, Family.VIDEO, Family.AUDIO})


def find_obstacle(
    data: bytes, found: MediaType | None, declared_type: str | None, settings: ScannerSettings
) -> UnscannableReason | None:
    """Find why these bytes cannot be examined wholly, as far as that shows before decoding."""
    if not data:
        return UnscannableReason.EMPTY
    if len(data) > settings.max_bytes:
        return UnscannableReason.TOO_LARGE
    if found is None or family(found) not in _MEDIA_FAMILIES:
        return UnscannableReason.NOT_MEDIA
    if not agrees(declared_type, found, settings.type_check):
        return UnscannableReason.TYPE_MISMATCH
    return None if found in DECODABLE else UnscannableReason.UNSUPPORTED


def find_shortfall(outcome: Outcome, settings: ScannerSettings) -> UnscannableReason | None:
    """Find why a decoding saw too little; None where it saw all, or as much as the settings accept."""
    if outcome.coverage is Coverage.NOT_VISUAL:
        return outcome.reason or (None if settings.accept_audio else UnscannableReason.UNSUPPORTED)
    is_short = outcome.reason is UnscannableReason.TOO_MANY_FRAMES and outcome.coverage is Coverage.SAMPLED
    reason = None if is_short and settings.accept_sampled else outcome.reason
    # Where nothing was seen nothing was examined, whatever the decoder says.
    return reason or (None if outcome.pictures else UnscannableReason.CORRUPT)
