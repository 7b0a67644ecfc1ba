"""Why a video is not looked at further."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scanner.report import UnscannableReason


class RefusedError(Exception):
    """The file cannot be examined wholly."""

    def __init__(self, reason: UnscannableReason) -> None:
        super().__init__(reason)
        self.reason = reason
