"""NCMEC Hash Sharing, version 2.

`GET /v2/entries?from=…&to=…` answers with entries in no order of time, a thousand to a page, and says where
the next page is. So the newest time that was seen becomes the beginning of the next round only when a round
is exhausted; within a round the next page is remembered, and what was seen is stored, page by page. An entry
comes with all its hashes whenever it changed, and as a tombstone when it was taken back.

Source: https://report.cybertip.org/hashsharing/v2/documentation (queries, usage recommendations, large
fingerprints); the namespace is https://hashsharing.ncmec.org/hashsharing/v2. Not looked at: feedback on
entries, categorizations, fingerprints that are files of their own.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from html import unescape
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

from relay.sources.hashes import Gathering, read_time, write_time
from relay.sources.model import Checkpoint, Page, SourceFailure, UnreadableAnswerError, describe_unreadable
from relay.sources.strict_xml import MAX_XML_BYTES, parse_xml
from scanner.hashtable import HashKind

if TYPE_CHECKING:
    from datetime import datetime

    from relay.sources.asking import Asking
    from relay.sources.strict_xml import Element

_FIRST: Final = "1970-01-01T00:00:00Z"
# An entry that was written while we asked may get a time from before: rounds overlap by this much.
_OVERLAP: Final = timedelta(minutes=10)
_MAX_NEXT_CHARS: Final = 2_048
_GROUPS: Final = ("images", "videos")
_TOMBSTONE: Final = "deleted"
_ENTRIES: Final = frozenset({"image", "video"})
_KINDS: Final = {"md5": HashKind.MD5, "sha1": HashKind.SHA1, "pdq": HashKind.PDQ}
_CLASSIFICATIONS: Final = frozenset({"A1", "A2", "B1", "B2"})
"""Prepubescent and pubescent minor, each with a sex act and with lascivious exhibition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NcmecImporter:
    """Reads one of NCMEC's lists.

    The checkpoint has `newest`, the newest time of all that is known; within a round also `anew`, whether it
    is the first, `from`, `to`, `next` and `seen`, the newest time that the round has shown.
    """

    root: str
    asking: Asking

    async def fetch(self, checkpoint: Checkpoint, *, now: datetime) -> Page | SourceFailure:
        """Fetch the next page of the round, or the first one of the next round."""
        following = checkpoint.get("next") or ""
        round_ = checkpoint if following else _begin(checkpoint, now=now)
        params = None if following else {"from": round_["from"], "to": round_["to"]}
        reply = await self.asking.get(
            f"{self.root}{following or '/v2/entries'}",
            params,
            max_bytes=MAX_XML_BYTES,
            has_cursor=bool(following),
        )
        if isinstance(reply, SourceFailure):
            return reply
        try:
            # A page takes tens of milliseconds to read, during which the doors go on answering.
            return await asyncio.to_thread(_read, reply.data, round_, is_first=not following)
        except UnreadableAnswerError as error:
            return describe_unreadable("NCMEC's server", error)

    def restart(self, checkpoint: Checkpoint) -> Checkpoint:
        """Go back to the beginning of the round."""
        return {"newest": checkpoint["newest"]} if checkpoint.get("newest") else {}


def _begin(checkpoint: Checkpoint, *, now: datetime) -> Checkpoint:
    """Begin a round."""
    newest = read_time(checkpoint.get("newest"))
    return {
        "newest": checkpoint.get("newest"),
        "anew": newest is None,
        "from": _FIRST if newest is None else write_time(newest - _OVERLAP),
        "to": write_time(now),
    }


def _read(data: bytes, round_: Checkpoint, *, is_first: bool) -> Page:
    """Read a page.

    Raises:
        UnreadableAnswerError: It is none.
    """
    root = parse_xml(data)
    if root.name != "queryResult":
        raise UnreadableAnswerError("it is no query result")
    gathering = Gathering(_KINDS)
    seen = round_.get("seen") or ""
    for group in root:
        if group.name not in _GROUPS:
            continue
        shown = read_time(group.attributes.get("maxTimestamp"))
        # All are written alike and in UTC, so that the later text is the later time.
        seen = max(seen, "" if shown is None else write_time(shown))
        for entry in group:
            _add(gathering, entry)
    following = _find_next(root)
    is_anew = bool(round_.get("anew"))
    # A time that lies behind the end of what we asked for is not one to begin at.
    newest = min(seen, round_["to"]) or round_.get("newest")
    return Page(
        records=tuple(gathering.records),
        unusable=gathering.unusable,
        checkpoint={**round_, "next": following, "seen": seen} if following else {"newest": newest},
        cursor=following,
        is_last=not following,
        begins_anew=is_anew and is_first,
        ends_anew=is_anew and not following,
        total=_guess_total(following),
    )


def _add(gathering: Gathering, entry: Element) -> None:
    """Take an entry in.

    Raises:
        UnreadableAnswerError: It is none.
    """
    is_removed = entry.name.startswith(_TOMBSTONE)
    kind = entry.name.removeprefix(_TOMBSTONE).lower()
    if kind not in _ENTRIES:
        raise UnreadableAnswerError("it has an entry that is neither image nor video")
    found = entry.find("member")
    member = "" if found is None else found.attributes.get("id", "")
    entry_id = entry.find_text("id")
    changed_at = read_time(entry.find_text("timestamp"))
    if not member or not entry_id or changed_at is None:
        raise UnreadableAnswerError("an entry lacks its member, id or time")
    fingerprints = entry.find("fingerprints")
    classification = entry.find_text("classification").upper()
    words = [classification] if classification in _CLASSIFICATIONS else []
    gathering.add(
        kind,
        member,
        entry_id,
        changed_at=changed_at,
        written={} if fingerprints is None else {one.name: one.text for one in fingerprints},
        is_removed=is_removed,
        label=" ".join([*words, f"{member}:{entry_id}"]),
    )


def _find_next(root: Element) -> str:
    """Find where the next page is, relative to the root of the API; empty on the last one.

    What is found goes out with our credentials, so it must be a query of the same list and nothing else.

    Raises:
        UnreadableAnswerError: It is something else.
    """
    # Servers escape it once for XML and often once more for HTML.
    following = unescape(root.find_text("paging", "next"))
    if not following:
        return ""
    parts = urlsplit(following)
    is_plain = following.isascii() and following.isprintable() and " " not in following
    is_ours = not parts.scheme and not parts.netloc and parts.path == "/v2/entries"
    if not is_plain or not is_ours or len(following) > _MAX_NEXT_CHARS:
        raise UnreadableAnswerError("the next page is somewhere else")
    return following


def _guess_total(following: str) -> int | None:
    """Guess from the next page how many entries the round has."""
    found = parse_qs(urlsplit(following).query)
    try:
        return max(int(found["max"][0]), 0)
    except (KeyError, ValueError):
        return None
