"""StopNCII.org."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from aiohttp import web

from tests.lists_servers.server import ListServer

FUNCTION_KEY = "function-key"
SUBSCRIPTION_KEY = "subscription-key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hash:
    """A hash in its present state."""

    kind: str
    value: str
    at: int
    status: str = "Active"


class StopNciiServer(ListServer):
    """Answers with what changed since a time, in its order.

    Attributes:
        hashes: By kind and value.
        page_size: How many come at once, whatever was asked for.
        forgets: Page tokens are not known any more.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hashes: dict[tuple[str, str], Hash] = {}
        self.page_size = 2
        self.forgets = False

    @property
    def root(self) -> str:
        return f"{self.origin}/v1"

    def put(self, *hashes: Hash) -> None:
        """Put hashes in place of what they were."""
        for one in hashes:
            self.hashes[one.kind, one.value] = one

    def answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("x-functions-key") != FUNCTION_KEY:
            return web.Response(status=401)
        if request.headers.get("Ocp-Apim-Subscription-Key") != SUBSCRIPTION_KEY:
            message = "Access denied due to invalid subscription key."
            return web.json_response({"statusCode": 401, "message": message}, status=401)
        if request.path != "/v1/FetchHashes":
            return web.json_response({"statusCode": 404, "message": "Resource not found"}, status=404)
        since = int(request.query["startTimestamp"])
        if since <= 0:
            return web.Response(status=400)
        token = request.query.get("nextPageToken", "")
        if token and self.forgets:
            return web.Response(status=400)
        start = int(base64.b64decode(token)) if token else 0
        known = sorted(self.hashes.values(), key=lambda one: one.at)
        wanted = [one for one in known if one.at >= since]
        page = wanted[start : start + self.page_size]
        is_more = start + self.page_size < len(wanted)
        return web.json_response(
            {
                "count": len(page),
                "nextPageToken": base64.b64encode(str(start + self.page_size).encode()).decode()
                if is_more
                else None,
                "nextSetTimestamp": max((one.at for one in wanted), default=since),
                "hasMoreRecords": is_more,
                "hashRecords": [
                    {
                        "lastModtimestamp": one.at,
                        "signalType": one.kind,
                        "hashValue": one.value,
                        "hashStatus": one.status,
                        # An empty object comes as an empty list at times.
                        "caseNumbers": [],
                        "CSPFeedbacks": [{"feedbackValue": "Blocked", "tags": [], "source": "Somebody"}],
                    }
                    for one in page
                ],
            }
        )
