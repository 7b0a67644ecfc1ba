"""NCMEC Hash Sharing, version 2."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlencode
from xml.sax.saxutils import escape, quoteattr

from aiohttp import web

from tests.lists_servers.server import ListServer, is_basic

LOGIN = "member:secret"
NAMESPACE = "https://hashsharing.ncmec.org/hashsharing/v2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry, or its tombstone."""

    id: str
    at: datetime
    hashes: dict[str, str] = field(default_factory=dict)
    member: int = 42
    kind: str = "image"
    classification: str = "A1"
    is_deleted: bool = False

    def render(self) -> str:
        """Write the entry; a tombstone names nothing but which entry it is."""
        tag = f"deleted{self.kind.capitalize()}" if self.is_deleted else self.kind
        parts = [
            f'<member id="{self.member}">Example Member</member>',
            f"<timestamp>{stamp(self.at)}</timestamp>",
            f"<id>{escape(self.id)}</id>",
        ]
        if not self.is_deleted:
            hashes = "".join(f"<{kind}>{value}</{kind}>" for kind, value in self.hashes.items())
            parts.append(f"<classification>{self.classification}</classification>")
            parts.append(f"<fingerprints>{hashes}</fingerprints>")
            parts.append('<feedback lastUpdateTimestamp="2026-01-01T00:00:00Z" type="MD5"/>')
        return f"<{tag}>{''.join(parts)}</{tag}>"


class NcmecServer(ListServer):
    """Answers queries for entries in the order of their ids, which is not that of their times.

    Attributes:
        entries: The present state of each, by member and id.
        page_size: How many come at once; 1,000 at NCMEC's.
        forgets: Cursors are not known any more.
    """

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[tuple[str, int, str], Entry] = {}
        self.page_size = 2
        self.forgets = False

    @property
    def root(self) -> str:
        return f"{self.origin}/hashsharing"

    def put(self, *entries: Entry) -> None:
        """Put entries in place of what they were."""
        for entry in entries:
            self.entries[entry.kind, entry.member, entry.id] = entry

    def answer(self, request: web.Request) -> web.StreamResponse:
        if not is_basic(request, LOGIN):
            # An empty body, as NCMEC's servers do.
            return web.Response(status=401)
        if request.path != "/hashsharing/v2/entries":
            return web.Response(status=404)
        query = request.query
        if "start" in query and self.forgets:
            return web.Response(status=404)
        begin, end = (datetime.fromisoformat(query[name]).replace(tzinfo=UTC) for name in ("from", "to"))
        known = sorted(self.entries.values(), key=lambda one: (one.kind, one.id))
        wanted = [one for one in known if begin <= one.at <= end]
        start = int(query.get("start", "0"))
        page = wanted[start : start + self.page_size]
        groups = "".join(
            _group(f"{kind}s", [one for one in page if one.kind == kind]) for kind in ("image", "video")
        )
        paging = ""
        if start + self.page_size < len(wanted):
            following = {
                "from": query["from"],
                "to": query["to"],
                "start": str(start + self.page_size),
                "size": str(self.page_size),
                "max": str(len(wanted)),
            }
            paging = f"<paging><next>{escape('/v2/entries?' + urlencode(following))}</next></paging>"
        return _xml(f"<queryResult xmlns={quoteattr(NAMESPACE)}>{groups}{paging}</queryResult>")


def stamp(when: datetime) -> str:
    """Write a time as NCMEC does."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def _group(name: str, entries: list[Entry]) -> str:
    if not entries:
        return ""
    newest = stamp(max(one.at for one in entries))
    inner = "".join(one.render() for one in entries)
    return f'<{name} count="{len(entries)}" maxTimestamp="{newest}">{inner}</{name}>'


def _xml(text: str) -> web.Response:
    head = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
    return web.Response(text=head + text, content_type="application/xml")
