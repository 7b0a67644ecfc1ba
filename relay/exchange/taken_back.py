"""Tell which of our own attestations we have taken back as a whole: by a state, a profile or a key.

Most of what is taken back has ended in the database by the time that peers hear of it. But there is a moment
between the two, what was given out before stays in the feed, and what a revoked key signed before it was
stolen goes on where it is. Nobody who gets such an object now could rely on it; so it is left out everywhere.

Single attestations are not asked about here: what is left out of a feed that was read before names itself.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from db import attestations
from signatures.revocation import Scope
from signatures.times import format_json_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from db.pool import Database

# Below this a thread costs more than it spares the loop.
_IN_PLACE: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names:
    """What an attestation may be taken back by.

    Attributes:
        issuer: Who signed it.
        subjects: Each by its scope.
        published: When, as it is written: such times have the order of their texts.
    """

    issuer: str
    subjects: Mapping[Scope, str]
    published: str


async def tell_taken_back(objects: Sequence[bytes], *, database: Database) -> tuple[bool, ...]:
    """Tell for each of our own signed objects whether it was taken back; what is no attestation was not.

    Raises:
        DatabaseError: It cannot be known.
    """
    if not objects:
        return ()
    names = _read_all(objects) if len(objects) <= _IN_PLACE else await asyncio.to_thread(_read_all, objects)
    subjects = {subject for one in names if one is not None for subject in one.subjects.values()}
    async with database.connection() as conn:
        revoked = await attestations.list_revocations_of(conn, sorted(subjects))
    # Of several of one subject the latest takes back most.
    since: dict[tuple[str, str, str], str] = {}
    for one in revoked:
        index = (one.issuer, one.scope, one.subject)
        since[index] = max(since.get(index, ""), format_json_time(one.published))
    return tuple(one is not None and _is_taken_back(one, since) for one in names)


def _read_all(objects: Sequence[bytes]) -> list[_Names | None]:
    return [_read(one) for one in objects]


def _read(raw: bytes) -> _Names | None:
    # What we signed ourselves: it was checked by the parser of receivers before it was stored.
    document = json.loads(raw)
    try:
        return _Names(
            issuer=document["attributedTo"],
            subjects={
                Scope.STATE: document["state"]["digestMultibase"],
                Scope.PROFILE: document["profile"],
                Scope.KEY: document["proof"]["verificationMethod"],
            },
            published=document["published"],
        )
    except KeyError:
        return None


def _is_taken_back(names: _Names, since: Mapping[tuple[str, str, str], str]) -> bool:
    for scope, subject in names.subjects.items():
        published = since.get((names.issuer, scope.value, subject))
        # A profile goes on under its name; a state never comes back, and whoever receives something under a
        # revoked key for the first time now cannot know that it is from before the theft.
        if published is not None and (scope is not Scope.PROFILE or names.published <= published):
            return True
    return False
