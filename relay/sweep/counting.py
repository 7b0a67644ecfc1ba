"""Count what a sweep came upon."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.sweep.source import Entry


class Kind(StrEnum):
    """What came of one entry of a source's list."""

    NO_MATCH = "no_match"
    MATCH = "match"
    UPHELD = "upheld"
    RELEASED = "released"
    UNSCANNABLE = "unscannable"
    NOT_MEDIA = "not_media"
    VANISHED = "vanished"
    LEFT_OUT = "left_out"
    ERROR = "error"


MEDIA = frozenset({Kind.NO_MATCH, Kind.MATCH, Kind.UPHELD, Kind.RELEASED, Kind.UNSCANNABLE})
"""What comes of media. `UPHELD` and `RELEASED` are a person's earlier rulings on exactly these bytes."""


class Deed(StrEnum):
    """What follows for a file that was found."""

    NOTHING = "nothing"
    CASE = "case"
    ERRAND = "errand"
    BY_HAND = "by_hand"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one entry.

    Attributes:
        entry: Which one.
        kind: What came of it.
        size: How many bytes were read.
        detail: The category of a match, why something is unscannable, or what was wrong.
        is_known: It was answered from an earlier verdict or ruling.
        is_stopped: The policy would not let it pass.
        case_id: Its case; None where there is none.
        deed: What follows.
    """

    entry: Entry = field(repr=False)
    kind: Kind
    size: int = 0
    detail: str = ""
    is_known: bool = False
    is_stopped: bool = False
    case_id: int | None = None
    deed: Deed = Deed.NOTHING

    @property
    def is_found(self) -> bool:
        """Tell whether a person has to know of this file."""
        return self.is_stopped and self.kind in {Kind.MATCH, Kind.UPHELD}


@dataclass(slots=True, kw_only=True)
class Counters:
    """The numbers of a sweep, over all its runs.

    Attributes:
        files: Entries that were gone through.
        size: Bytes that were read.
        media: Files that are media.
        known: Media that were answered from earlier verdicts and rulings.
        scanned: Media that were scanned.
        found: Matches that the policy does not let pass, and what a person upheld.
        errands: Removals that were handed to the backend's adapter.
        by_hand: Files that a person has to remove through the server.
        seconds: How long it took.
        kinds: Entries by what came of them.
        matched: Matches by category.
        unscannable: Unscannable media by reason.
        errors: What could not be read, by reason.
    """

    files: int = 0
    size: int = 0
    media: int = 0
    known: int = 0
    scanned: int = 0
    found: int = 0
    errands: int = 0
    by_hand: int = 0
    seconds: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)
    matched: Counter[str] = field(default_factory=Counter)
    unscannable: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, result: Result) -> None:
        """Count one result."""
        self.files += 1
        self.size += result.size
        self.kinds[result.kind] += 1
        if result.kind in MEDIA:
            self.media += 1
            self.known += result.is_known
            self.scanned += not result.is_known
        self.found += result.is_found
        self.errands += result.deed is Deed.ERRAND
        self.by_hand += result.deed is Deed.BY_HAND
        details = {Kind.MATCH: self.matched, Kind.UNSCANNABLE: self.unscannable, Kind.ERROR: self.errors}
        if result.kind in details:
            details[result.kind][result.detail] += 1

    @property
    def is_complete(self) -> bool:
        """Tell whether all media that was listed could be examined."""
        return not self.kinds[Kind.UNSCANNABLE] and not self.kinds[Kind.ERROR]

    def to_json(self) -> dict[str, Any]:
        """Return all numbers as JSON values."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in values.items()}


def counters_from_json(stored: Mapping[str, Any]) -> Counters:
    """Read what `to_json` wrote; a number that an older version did not write is zero."""
    counters = Counters()
    for one in fields(Counters):
        value = stored.get(one.name)
        if value is not None:
            setattr(counters, one.name, Counter(value) if isinstance(value, dict) else value)
    return counters
