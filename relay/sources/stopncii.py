"""StopNCII.org.

`GET /FetchHashes` answers with the present state of every hash that changed since a time, page by page, and
at the end with the time to ask from next. A hash that was withdrawn or deleted is to be removed. Whoever has
not asked for thirty days may have missed some of these, and begins again.

Source: the API as its partners' public clients use it. Not looked at: what other partners said of a hash, and
the numbers of cases.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from relay.backends.reading import dig, dig_text, iterate
from relay.sources.documents import MAX_JSON_BYTES, read_json
from relay.sources.hashes import Gathering, read_time, read_timestamp, write_time
from relay.sources.model import Checkpoint, Page, SourceFailure, UnreadableAnswerError, describe_unreadable
from scanner.hashtable import HashKind

if TYPE_CHECKING:
    from datetime import datetime

    from relay.backends.reading import Json
    from relay.sources.asking import Asking

_PAGE_SIZE: Final = 800  # What the maker's own clients ask for.
_FIRST: Final = 10  # Zero is not taken.
STALE_AFTER: Final = timedelta(days=30)
"""Removals are told for so long."""
_REMOVED: Final = frozenset({"withdrawn", "deleted"})
_KINDS: Final = {
    "imagepdq": HashKind.PDQ,
    "videomd5": HashKind.MD5,
    "imagemd5": HashKind.MD5,
    "videovpdq": HashKind.VPDQ,
}
_MAX_TOKEN_CHARS: Final = 4_096
_MILLISECONDS_FROM: Final = 100_000_000_000  # In seconds that is the year 5138.


@dataclass(frozen=True, slots=True, kw_only=True)
class StopNciiImporter:
    """Reads the list.

    The checkpoint has `since`, the time to ask from, `at`, when a round was last exhausted, and within a
    round `token`, the next page, and `anew`, whether the round began at the beginning.
    """

    root: str
    asking: Asking

    async def fetch(self, checkpoint: Checkpoint, *, now: datetime) -> Page | SourceFailure:
        """Fetch the next page of the round, or the first one of the next round."""
        token = checkpoint.get("token") or ""
        round_ = checkpoint if token else _begin(checkpoint, now=now)
        params = {"startTimestamp": str(round_["since"]), "pageSize": str(_PAGE_SIZE)}
        if token:
            params["nextPageToken"] = token
        reply = await self.asking.get(
            f"{self.root}/FetchHashes", params, max_bytes=MAX_JSON_BYTES, has_cursor=bool(token)
        )
        if isinstance(reply, SourceFailure):
            return reply
        try:
            return _read(reply.data, round_, is_first=not token, now=now)
        except UnreadableAnswerError as error:
            return describe_unreadable("StopNCII's server", error)

    def restart(self, checkpoint: Checkpoint) -> Checkpoint:
        """Go back to the beginning of the round."""
        if checkpoint.get("anew"):
            return {}
        return {"since": checkpoint.get("since"), "at": checkpoint.get("at")}


def _begin(checkpoint: Checkpoint, *, now: datetime) -> Checkpoint:
    """Begin a round, from the beginning if we have been away for too long."""
    at = read_time(checkpoint.get("at"))
    is_anew = at is None or now - at > STALE_AFTER
    since = _FIRST if is_anew else int(checkpoint.get("since") or _FIRST)
    return {"since": since, "at": checkpoint.get("at"), "anew": is_anew}


def _read(data: bytes, round_: Checkpoint, *, is_first: bool, now: datetime) -> Page:
    """Read a page.

    Raises:
        UnreadableAnswerError: It is none.
    """
    document = read_json(data)
    if not isinstance(dig(document, "hashRecords"), list):
        raise UnreadableAnswerError("it has no records")
    gathering = Gathering(_KINDS)
    for record in iterate(document, "hashRecords"):
        _add(gathering, record)
    is_more = dig(document, "hasMoreRecords") is True
    following = dig_text(document, "nextPageToken") if is_more else ""
    if (is_more and not following) or len(following) > _MAX_TOKEN_CHARS:
        raise UnreadableAnswerError("there is more, and it does not say where")
    if following:
        checkpoint = {**round_, "token": following}
    else:
        checkpoint = {"since": _find_next_time(document), "at": write_time(now)}
    return Page(
        records=tuple(gathering.records),
        unusable=gathering.unusable,
        checkpoint=checkpoint,
        cursor=following,
        is_last=not following,
        begins_anew=round_["anew"] and is_first,
        ends_anew=round_["anew"] and not following,
    )


def _find_next_time(document: dict[str, Json]) -> int:
    """Find from when to ask next.

    Raises:
        UnreadableAnswerError: It is not said.
    """
    found = read_timestamp(_seconds(dig(document, "nextSetTimestamp")))
    if found is None:
        raise UnreadableAnswerError("it does not say from when to ask next")
    return max(int(found.timestamp()), _FIRST)


def _add(gathering: Gathering, record: dict[str, Json]) -> None:
    """Take a record in.

    Raises:
        UnreadableAnswerError: It is none.
    """
    kind, value = dig_text(record, "signalType"), dig_text(record, "hashValue")
    status = dig_text(record, "hashStatus").lower()
    changed_at = read_timestamp(_seconds(dig(record, "lastModtimestamp")))
    if not kind or not value or not status or changed_at is None:
        raise UnreadableAnswerError("a record lacks its kind, its hash, its state or its time")
    gathering.add(kind, value, changed_at=changed_at, written={kind: value}, is_removed=status in _REMOVED)


def _seconds(value: Json) -> Json:
    """Bring a time in milliseconds to seconds."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= _MILLISECONDS_FROM:
        return value // 1_000
    return value
