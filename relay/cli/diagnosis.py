"""What a check of `breakwater doctor` found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Finding(StrEnum):
    """How a check ended."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What one check found.

    Attributes:
        check: What was looked at.
        finding: How it is.
        detail: What was seen and what it means.
        remedy: What to do; empty where nothing is.
    """

    check: str
    finding: Finding
    detail: str
    remedy: str = ""
