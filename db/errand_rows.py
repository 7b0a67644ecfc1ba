"""The rows of errands, and how their values are made fit for columns."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from db.delivery_rows import storable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import asyncpg


class ErrandKind(StrEnum):
    """What is to be done."""

    REPORT = "report"
    REMOVE = "remove"
    PURGE_MEDIA = "purge_media"
    EXAMINE_UPLOAD = "examine_upload"
    RESOLVE = "resolve"


class ErrandState(StrEnum):
    """How far an errand has come."""

    WAITING = "waiting"
    WORKING = "working"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewErrand:
    """Something that is to be done, before it is added.

    Attributes:
        kind: What is to be done.
        subject: With what.
        payload: What else is needed to do it.
        case_id: The case that it follows from, where that is known already.
    """

    kind: ErrandKind
    subject: str
    payload: Mapping[str, object]
    case_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """Something that has to be done.

    Attributes:
        id: Its number.
        kind: What is to be done.
        subject: With what: an ActivityPub id or another name that tells errands of its kind apart.
        case_id: The case that it follows from; None if from none.
        payload: What else is needed to do it; empty once it is done.
        state: How far it has come.
        due_at: When it is looked at next; while it is worked on, when the lease ends.
        worker: Who works on it; None if nobody does.
        tries: How many times it was put back since `tried_since`.
        lost_leases: How many times a worker was lost with it since `tried_since`.
        reason: Why it stands where it stands.
        created_at: When it was added.
        tried_since: When the present round of tries began.
        updated_at: When it last moved.
        finished_at: When it was done or given up.
    """

    id: int
    kind: ErrandKind
    subject: str
    case_id: int | None
    payload: dict[str, Any]
    state: ErrandState
    due_at: datetime
    worker: str | None
    tries: int
    lost_leases: int
    reason: str | None
    created_at: datetime
    tried_since: datetime
    updated_at: datetime
    finished_at: datetime | None


def identity_of(kind: ErrandKind, subject: str, case_id: int | None) -> bytes:
    """Return the 32 bytes by which the same errand is known again."""
    case = b"" if case_id is None else str(case_id).encode()
    parts = (kind.value.encode(), subject.encode("utf-8", "surrogatepass"), case)
    # Each part is preceded by its length, so that no two triples read the same.
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()


def storable_value(value: Any) -> Any:
    """Replace in every text of a JSON value what the database cannot hold."""
    match value:
        case str():
            return storable(value)
        case dict():
            return {storable(key): storable_value(item) for key, item in value.items()}
        case list() | tuple():
            return [storable_value(item) for item in value]
        case _:
            return value


def build_errand(row: asyncpg.Record) -> Errand:
    """Build the value from a row."""
    return Errand(**{**row, "kind": ErrandKind(row["kind"]), "state": ErrandState(row["state"])})
