"""A Mastodon, as its documentation has it.

Source: https://docs.joinmastodon.org/methods/accounts/#verify_credentials, /methods/search/#v2,
/methods/reports/#post, /methods/admin/accounts/#action, /api/rate-limits/.
"""

from __future__ import annotations

from aiohttp import web

from tests.fediverse.servers.base import ApiServer, Filed, Post

ALL_SCOPES = ("read:accounts", "read:search", "write:reports", "admin:write:accounts")
ADMINISTRATOR = "1048575"
USER = "65536"


def answer_error(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": text}, status=status, headers=headers)


class MastodonServer(ApiServer):
    """A Mastodon with one bot's token.

    Attributes:
        scopes: Those of the token.
        permissions: Those of the bot's role.
    """

    def __init__(
        self, *, scopes: tuple[str, ...] = ALL_SCOPES, permissions: str = ADMINISTRATOR, has_uris: bool = True
    ) -> None:
        super().__init__()
        self.scopes = scopes
        self.permissions = permissions
        self.has_uris = has_uris

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v1/accounts/verify_credentials", self._verify),
            web.get("/api/v2/search", self._search),
            web.post("/api/v1/reports", self._report),
            web.post("/api/v1/admin/accounts/{id}/action", self._act),
        ]

    def screen(self, request: web.Request) -> web.Response | None:
        # config.force_ssl and config.hosts of a Rails application in production.
        if request.headers.get("X-Forwarded-Proto") != "https":
            return web.Response(status=301, headers={"Location": f"https://{self.host}{request.path_qs}"})
        if request.host != self.host:
            return web.Response(status=403, text="Blocked hosts", content_type="text/html")
        return None

    def answer_unrouted(self, error: web.HTTPException) -> web.Response:
        return answer_error(error.status, "Record not found")

    def refuse_rate(self) -> web.Response:
        return answer_error(
            429,
            "Too many requests",
            {
                "Date": "Sun, 22 Nov 2026 08:00:00 GMT",
                "X-RateLimit-Limit": "300",
                "X-RateLimit-Remaining": "0",
                "X-RateLimit-Reset": "2026-11-22T08:00:17.000000Z",
            },
        )

    def lacks(self, request: web.Request, *scopes: str) -> web.Response | None:
        """Refuse a request without the token, or whose token has none of the scopes."""
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return answer_error(401, "The access token is invalid")
        granted = {*self.scopes}
        if not granted & {*scopes, *(scope.rpartition(":")[0] for scope in scopes)}:
            return answer_error(403, "This action is outside the authorized scopes")
        return None

    async def _verify(self, request: web.Request) -> web.Response:
        refused = self.lacks(request, "read:accounts", "profile")
        if refused is not None:
            return refused
        role = {"id": "3", "name": "Bot", "permissions": self.permissions, "color": "", "highlighted": False}
        return web.json_response({**self.show_account(7, f"https://{self.host}/users/bot"), "role": role})

    async def _search(self, request: web.Request) -> web.Response:
        refused = self.lacks(request, "read:search")
        if refused is not None:
            return refused
        asked, kind = request.query["q"], request.query.get("type")
        post = self.find(asked) if request.query.get("resolve") == "true" else self.here.get(asked)
        author = None if post else self.find_author(asked)
        return web.json_response(
            {
                "accounts": [self.show_account(author, asked)]
                if author and kind in {None, "accounts"}
                else [],
                "statuses": [self.show_status(post)] if post and kind in {None, "statuses"} else [],
                "hashtags": [],
            }
        )

    async def _report(self, request: web.Request) -> web.Response:
        refused = self.lacks(request, "write:reports")
        if refused is not None:
            return refused
        form = self.asked[-1].form
        account = form.get("account_id", [""])[0]
        if not self.has_account(account):
            return answer_error(404, "Record not found")
        comment = form.get("comment", [""])[0]
        if len(comment) > 1000:
            return answer_error(422, "Validation failed: Comment is too long")
        statuses = form.get("status_ids[]", [])
        self.reports.append(
            Filed(
                post=int(statuses[0]) if statuses else None,
                account=int(account),
                text=comment,
                extra={"forward": form["forward"][0], "category": form["category"][0]},
            )
        )
        return web.json_response(
            {
                "id": str(48913 + len(self.reports)),
                "action_taken": False,
                "action_taken_at": None,
                "category": form["category"][0],
                "comment": comment,
                "forwarded": form["forward"][0] == "true",
                "created_at": "2026-11-22T08:00:00.000Z",
                "status_ids": statuses,
                "rule_ids": None,
                "target_account": self.show_account(int(account), ""),
            }
        )

    async def _act(self, request: web.Request) -> web.Response:
        refused = self.lacks(request, "admin:write:accounts")
        if refused is not None:
            return refused
        account = request.match_info["id"]
        if not self.has_account(account):
            return answer_error(404, "Record not found")
        if not int(self.permissions) & 0x401:
            return answer_error(403, "This action is not allowed")
        form = self.asked[-1].form
        kind = form.get("type", [""])[0]
        if kind not in {"none", "sensitive", "disable", "silence", "suspend"}:
            return answer_error(422, "Validation failed: Type is not included in the list")
        self.actions.append(
            Filed(post=None, account=int(account), text=form["text"][0], extra={"type": kind})
        )
        return web.json_response({})

    def has_account(self, account: str) -> bool:
        return account in {str(post.author_number) for post in self.here.values()}

    def show_account(self, number: int, uri: str) -> dict[str, object]:
        known = {"uri": uri} if self.has_uris else {}
        name = uri.rpartition("/")[2]
        page = uri.replace("/users/", "/@")
        return {"id": str(number), "username": name, "acct": name, "url": page, "bot": True, **known}

    def show_status(self, post: Post) -> dict[str, object]:
        return {
            "id": str(post.number),
            "uri": post.uri,
            "url": post.page or None,
            "visibility": "public",
            "account": self.show_account(post.author_number, post.author),
            "media_attachments": [],
        }
