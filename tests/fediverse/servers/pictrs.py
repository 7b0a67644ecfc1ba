"""A pict-rs with some files.

Source: https://git.asonix.dog/asonix/pict-rs, README (API) of 0.5, and its error codes.
"""

from __future__ import annotations

import hashlib

from aiohttp import web

from tests.fediverse.servers.base import ApiServer


def answer_error(status: int, text: str, code: str) -> web.Response:
    return web.json_response({"msg": text, "code": code}, status=status)


class PictrsServer(ApiServer):
    """A pict-rs with an API key.

    Attributes:
        files: Its files by alias, oldest first.
        proxied: Which alias a fetched address has.
    """

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, bytes] = {}
        self.proxied: dict[str, str] = {}
        self.max_page = 1_000

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/healthz", self._health),
            web.get("/image/original/{alias}", self._original),
            web.get("/internal/hashes", self._hashes),
            web.post("/internal/purge", self._purge),
            web.post("/internal/delete", self._delete),
        ]

    def refuse_rate(self) -> web.Response:
        return answer_error(503, "Server is at capacity", "too-many-requests")

    def screen(self, request: web.Request) -> web.Response | None:
        if request.path.startswith("/internal/") and request.headers.get("X-Api-Token") != self.token:
            return answer_error(401, "Invalid API Key", "invalid-api-token")
        return None

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _original(self, request: web.Request) -> web.Response:
        data = self.files.get(request.match_info["alias"])
        if data is None:
            return answer_error(404, "Requested a file that doesn't exist", "missing-alias")
        return web.Response(body=data, content_type="image/png")

    async def _hashes(self, request: web.Request) -> web.Response:
        limit = min(int(request.query.get("limit", "20")), self.max_page)
        newest_first = list(reversed(self.files))
        slug = request.query.get("slug", "")
        start = int(slug.removeprefix("slug-")) if slug else 0
        after = start + limit
        page = {
            "limit": limit,
            "current": slug or None,
            "hashes": [self._show(alias) for alias in newest_first[start:after]],
        }
        if after < len(newest_first):
            page["next"] = f"slug-{after}"
        if start:
            page["prev"] = f"slug-{max(0, start - limit)}"
        return web.json_response({"msg": "ok", "page": page})

    def _show(self, alias: str) -> dict[str, object]:
        return {
            "hex": hashlib.sha256(self.files[alias]).hexdigest(),
            "aliases": [alias],
            "details": {"width": 8, "height": 8, "content_type": "image/png"},
        }

    def _find(self, request: web.Request) -> str | None:
        alias = request.query.get("alias") or self.proxied.get(request.query.get("proxy", ""), "")
        return alias if alias in self.files else None

    async def _purge(self, request: web.Request) -> web.Response:
        alias = self._find(request)
        if alias is None:
            return answer_error(404, "Requested a file that doesn't exist", "missing-alias")
        del self.files[alias]
        return web.json_response({"msg": "ok", "aliases": [alias]})

    async def _delete(self, request: web.Request) -> web.Response:
        alias = self._find(request)
        if alias is None:
            return answer_error(404, "Requested a file that doesn't exist", "missing-alias")
        del self.files[alias]
        return web.json_response({"msg": "ok"})
