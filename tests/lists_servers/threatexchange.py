"""Meta ThreatExchange: `threat_updates` of one privacy group."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from urllib.parse import urlencode

from aiohttp import web

from tests.lists_servers.server import ListServer

TOKEN = "123|secret-token"
GROUP = "1012185296055235"


@dataclass(frozen=True, slots=True, kw_only=True)
class Indicator:
    """An indicator in its present state."""

    id: str
    kind: str
    value: str
    at: int
    is_deleted: bool = False
    statuses: tuple[str, ...] = ("MALICIOUS",)
    tags: tuple[str, ...] = ()


class ThreatExchangeServer(ListServer):
    """Answers with updates in the order in which they came.

    Attributes:
        indicators: By id.
        page_size: How many come at once, whatever was asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.indicators: dict[str, Indicator] = {}
        self.page_size = 2

    @property
    def root(self) -> str:
        return f"{self.origin}/v26.0"

    def put(self, *indicators: Indicator) -> None:
        """Put indicators in place of what they were."""
        for one in indicators:
            self.indicators[one.id] = one

    def answer(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        if query.get("access_token") != TOKEN:
            return graph_error(190, "Error validating access token", kind="OAuthException")
        if request.path != f"/v26.0/{GROUP}/threat_updates/":
            return graph_error(10, "Application does not have permission for this action")
        start = int(base64.b64decode(query["after"])) if "after" in query else 0
        known = sorted(self.indicators.values(), key=lambda one: one.at)
        wanted = [one for one in known if one.at >= int(query["start_time"])]
        page = wanted[start : start + self.page_size]
        document: dict[str, object] = {"data": [_describe(one) for one in page]}
        if start + self.page_size < len(wanted):
            after = base64.b64encode(str(start + self.page_size).encode()).decode()
            following = urlencode({**query, "after": after})
            document["paging"] = {
                "cursors": {"before": "MAZDZD", "after": after},
                "next": f"{self.origin}{request.path}?{following}",
            }
        return web.json_response(document)


def graph_error(code: int, message: str, *, kind: str = "GraphMethodException") -> web.Response:
    """Answer with an error as the Graph API does."""
    error = {"message": message, "type": kind, "code": code, "fbtrace_id": "AbCdEf"}
    return web.json_response({"error": error}, status=400)


def _describe(one: Indicator) -> dict[str, object]:
    head: dict[str, object] = {
        "id": one.id,
        "indicator": one.value,
        "type": one.kind,
        "last_updated": one.at,
        "should_delete": one.is_deleted,
    }
    if one.is_deleted:
        return head
    tags = {"data": [{"id": "1", "text": tag} for tag in one.tags]}
    opinions = [
        {"id": str(place), "status": status, "tags": tags} for place, status in enumerate(one.statuses)
    ]
    return {**head, "descriptors": {"data": opinions}}
