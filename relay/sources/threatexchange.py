"""Meta ThreatExchange: the updates of one privacy group.

`GET /<privacy group>/threat_updates` answers with indicators in the order in which they changed, page by
page, and `should_delete` marks those that were removed. Removals are told for ninety days; whoever has not
asked for so long begins again.

Source: https://developers.facebook.com/docs/threat-exchange/reference/apis/threat-updates/ and Graph API's
pages on paging and errors. An HMA server (Hasher-Matcher-Actioner) does not give its banks out in this way;
it can be asked about single pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

from relay.backends.reading import dig, dig_id, dig_text, iterate
from relay.sources.documents import MAX_JSON_BYTES, read_json
from relay.sources.hashes import Gathering, read_time, read_timestamp, write_time
from relay.sources.model import (
    Checkpoint,
    FailureKind,
    Page,
    SourceFailure,
    UnreadableAnswerError,
    describe_unreadable,
)
from scanner.hashtable import HashKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from relay.backends.reading import Json
    from relay.sources.asking import Asking, Refusal

_PAGE_SIZE: Final = 500  # What the maker's own client asks for.
STALE_AFTER: Final = timedelta(days=85)
"""Removals are told for ninety days; a fetch from the beginning may take some of them."""
_FIELDS: Final = "id,indicator,type,last_updated,should_delete,descriptors{status,tags}"
_KINDS: Final = {
    "hash_pdq": HashKind.PDQ,
    "hash_md5": HashKind.MD5,
    "hash_video_md5": HashKind.MD5,
    "hash_sha1": HashKind.SHA1,
    "hash_sha256": HashKind.SHA256,
    "hash_video_sha256": HashKind.SHA256,
    "hash_vpdq": HashKind.VPDQ,
    "hash_video_vpdq": HashKind.VPDQ,
}
_DISPUTED: Final = "NON_MALICIOUS"
_MAX_CURSOR_CHARS: Final = 2_048

# Graph API's own words for a failure, which it mostly gives with status 400.
# Source: https://developers.facebook.com/docs/graph-api/guides/error-handling/.
_TOKEN_ERRORS: Final = frozenset({102, 190})
_RATE_ERRORS: Final = frozenset({4, 17, 32, 613})
_PASSING_ERRORS: Final = frozenset({1, 2})
_PERMISSION_ERRORS: Final = frozenset({3, 10, *range(200, 300)})


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreatExchangeImporter:
    """Reads one privacy group.

    The checkpoint has `since`, the time to ask from, `at`, when a round was last exhausted, and within a
    round `after`, the next page, `seen`, the newest time in it, and `anew`.

    Attributes:
        root: The address of the Graph API, with its version.
        group: The number of the privacy group.
        tags: Take only what somebody gave one of these tags; everything if there are none.
        asking: Asks the host.
    """

    root: str
    group: str
    tags: frozenset[str]
    asking: Asking

    async def fetch(self, checkpoint: Checkpoint, *, now: datetime) -> Page | SourceFailure:
        """Fetch the next page of the round, or the first one of the next round."""
        after = checkpoint.get("after") or ""
        round_ = checkpoint if after else _begin(checkpoint, now=now)
        params = {
            "access_token": self.asking.token,
            "fields": _FIELDS,
            "limit": str(_PAGE_SIZE),
            "start_time": str(round_["since"]),
        }
        if after:
            params["after"] = after
        reply = await self.asking.get(
            f"{self.root}/{self.group}/threat_updates/",
            params,
            max_bytes=MAX_JSON_BYTES,
            has_cursor=bool(after),
            judge=_judge,
        )
        if isinstance(reply, SourceFailure):
            return reply
        try:
            return self._read(reply.data, round_, is_first=not after, now=now)
        except UnreadableAnswerError as error:
            return describe_unreadable("ThreatExchange", error)

    def restart(self, checkpoint: Checkpoint) -> Checkpoint:
        """Go back to the beginning of the round."""
        if checkpoint.get("anew"):
            return {}
        return {"since": checkpoint.get("since"), "at": checkpoint.get("at")}

    def _read(self, data: bytes, round_: Checkpoint, *, is_first: bool, now: datetime) -> Page:
        """Read a page.

        Raises:
            UnreadableAnswerError: It is none.
        """
        document = read_json(data)
        if not isinstance(dig(document, "data"), list):
            raise UnreadableAnswerError("it has no data")
        gathering = Gathering(_KINDS)
        seen = int(round_["seen"])
        for update in iterate(document, "data"):
            seen = max(seen, int(self._add(gathering, update).timestamp()))
        following = _find_cursor(document)
        if following:
            checkpoint = {**round_, "after": following, "seen": seen}
        else:
            checkpoint = {"since": seen, "at": write_time(now)}
        return Page(
            records=tuple(gathering.records),
            unusable=gathering.unusable,
            checkpoint=checkpoint,
            cursor=following,
            is_last=not following,
            begins_anew=round_["anew"] and is_first,
            ends_anew=round_["anew"] and not following,
        )

    def _add(self, gathering: Gathering, update: dict[str, Json]) -> datetime:
        """Take an update in and return its time.

        Raises:
            UnreadableAnswerError: It is none.
        """
        indicator_id = dig_id(update, "id")
        changed_at = _read_moment(dig(update, "last_updated"))
        is_removed = dig(update, "should_delete") is True or not self._is_wanted(update)
        kind, value = dig_text(update, "type"), dig_text(update, "indicator")
        if not indicator_id or changed_at is None or not (is_removed or (kind and value)):
            raise UnreadableAnswerError("an update lacks its id, its time or its hash")
        gathering.add(
            indicator_id,
            changed_at=changed_at,
            written={kind: value} if kind else {},
            is_removed=is_removed,
            label=indicator_id,
        )
        return changed_at

    def _is_wanted(self, update: dict[str, Json]) -> bool:
        """Tell whether somebody stands by an indicator, and called it what we look for.

        One that has no opinion left, or that everybody disputes, is as good as removed.
        """
        opinions = [one for one in _iterate_opinions(update) if dig_text(one, "status") != _DISPUTED]
        if not self.tags:
            return bool(opinions)
        return any(self.tags & set(_list_tags(one)) for one in opinions)


def _begin(checkpoint: Checkpoint, *, now: datetime) -> Checkpoint:
    """Begin a round, from the beginning if we have been away for too long."""
    at = read_time(checkpoint.get("at"))
    is_anew = at is None or now - at > STALE_AFTER
    since = 0 if is_anew else int(checkpoint.get("since") or 0)
    return {"since": since, "seen": since, "at": checkpoint.get("at"), "anew": is_anew}


def _iterate_opinions(update: dict[str, Json]) -> Iterator[dict[str, Json]]:
    """Go through the opinions on an indicator: a list, or an object that has them as `data`."""
    found = dig(update, "descriptors")
    return iterate(found, "data") if isinstance(found, dict) else iterate(update, "descriptors")


def _list_tags(opinion: dict[str, Json]) -> list[str]:
    """List the tags of an opinion: words, or objects that have them as `text`."""
    found = dig(opinion, "tags")
    if isinstance(found, dict):
        return [dig_text(one, "text") for one in iterate(found, "data")]
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []


def _read_moment(value: Json) -> datetime | None:
    return read_timestamp(value) or read_time(value)


def _find_cursor(document: dict[str, Json]) -> str:
    """Find the cursor of the next page, and leave the rest of its address, which has our token in it.

    Raises:
        UnreadableAnswerError: There is a next page without one.
    """
    following = dig_text(document, "paging", "next")
    if not following:
        return ""
    cursor = dig_text(document, "paging", "cursors", "after")
    if not cursor:
        cursor = parse_qs(urlsplit(following).query).get("after", [""])[0]
    if not cursor or len(cursor) > _MAX_CURSOR_CHARS:
        raise UnreadableAnswerError("there is a next page, and it does not say where")
    return cursor


def _judge(refusal: Refusal) -> SourceFailure | None:
    """Say what a refusal means by the Graph API's own code, where it gave one."""
    try:
        code = dig(read_json(refusal.data), "error", "code")
    except UnreadableAnswerError:
        return None
    if code in _TOKEN_ERRORS:
        return SourceFailure(
            kind=FailureKind.UNAUTHORIZED,
            detail="ThreatExchange does not accept the access token: it ended, or was never right. Nothing "
            "was changed here. Put a new one into the credentials file.",
        )
    if code in _PERMISSION_ERRORS:
        return SourceFailure(
            kind=FailureKind.FORBIDDEN,
            detail="ThreatExchange does not let this application read the privacy group. Nothing was changed "
            "here. Ask whoever runs the group.",
        )
    if code in _RATE_ERRORS or code in _PASSING_ERRORS:
        return SourceFailure(
            kind=FailureKind.RATE_LIMITED if code in _RATE_ERRORS else FailureKind.UNAVAILABLE,
            detail="ThreatExchange asks to wait. It is asked again later.",
            retry_after=refusal.failure.retry_after,
        )
    return None
