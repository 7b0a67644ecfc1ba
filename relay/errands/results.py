"""What came of one attempt at an errand: values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """It is done, or there is nothing to do.

    Attributes:
        reason: Why nothing was done; empty where something was.
    """

    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """It may succeed later.

    Attributes:
        reason: What stands in its way.
        after: How long the other side wants to be left alone, if it said so.
    """

    reason: str
    after: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """It will not succeed until a person changes something.

    Attributes:
        reason: What has to be changed.
    """

    reason: str


Result: TypeAlias = Carried | Later | GivenUp
