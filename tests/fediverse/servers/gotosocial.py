"""A GoToSocial: Mastodon's documents with its own errors.

Source: https://docs.gotosocial.org/en/latest/api/swagger/ and /api/ratelimiting/.
"""

from __future__ import annotations

from aiohttp import web

from tests.fediverse.servers.base import Filed
from tests.fediverse.servers.mastodon import MastodonServer, answer_error


class GoToSocialServer(MastodonServer):
    """A GoToSocial with one bot's token."""

    def screen(self, request: web.Request) -> web.Response | None:
        if "application/json" not in request.headers.get("Accept", ""):
            return answer_error(406, "Not Acceptable: no Accept header set")
        return None

    def answer_unrouted(self, error: web.HTTPException) -> web.Response:
        return answer_error(404, "Not Found")

    def refuse_rate(self) -> web.Response:
        return web.json_response(
            {"error": "rate limit reached"},
            status=429,
            headers={"Retry-After": "17", "X-RateLimit-Reset": "2026-11-22T08:00:17.000Z"},
        )

    def lacks(self, request: web.Request, *scopes: str) -> web.Response | None:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return answer_error(401, "Unauthorized: token not supplied")
        granted = {*self.scopes}
        if not granted & {*scopes, *(scope.rpartition(":")[0] for scope in scopes)}:
            return answer_error(403, "Forbidden: token has insufficient scope permission")
        return None

    async def _report(self, request: web.Request) -> web.Response:
        form = self.asked[-1].form
        if self.lacks(request, "write:reports") is None and not form.get("account_id", [""])[0].isalnum():
            return answer_error(400, "Bad Request: account_id must be set")
        return await super()._report(request)

    async def _act(self, request: web.Request) -> web.Response:
        refused = self.lacks(request, "admin:write:accounts")
        if refused is not None:
            return refused
        if not int(self.permissions) & 0x1:
            return answer_error(403, "Forbidden: user is not an admin")
        form = self.asked[-1].form
        kind = form.get("type", [""])[0]
        if not kind:
            return answer_error(400, "Bad Request: no type specified")
        if not self.has_account(request.match_info["id"]):
            return answer_error(404, "Not Found")
        if kind != "suspend":
            return answer_error(400, "Bad Request: admin action type not supported")
        self.actions.append(
            Filed(
                post=None, account=int(request.match_info["id"]), text=form["text"][0], extra={"type": kind}
            )
        )
        return web.json_response({"message": "OK"})

    def show_account(self, number: int, uri: str) -> dict[str, object]:
        shown = super().show_account(number, uri)
        shown.pop("uri", None)
        return shown
