"""A Lemmy, of the old API or of the new one.

Source: https://join-lemmy.org/api/ (v3, v4), the error words of its error type, and its rate limiter.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from tests.fediverse.servers.base import ApiServer, Filed, Post


def answer_error(status: int, word: str) -> web.Response:
    return web.json_response({"error": word}, status=status)


class LemmyServer(ApiServer):
    """A Lemmy with one bot's token.

    Attributes:
        version: The API that it speaks: `v3` or `v4`. One that speaks the new one keeps some of the old.
        is_admin: Whether the bot is an admin.
    """

    def __init__(self, *, version: str = "v3", is_admin: bool = True, has_results: bool = False) -> None:
        super().__init__()
        self.version = version
        self.is_admin = is_admin
        self.has_results = has_results
        self._reported: set[tuple[str, int]] = set()

    def routes(self) -> list[web.RouteDef]:
        api = f"/api/{self.version}"
        found = [
            web.get(f"{api}/site", self._site),
            web.get(f"{api}/resolve_object", self._resolve),
            web.post(f"{api}/post/report", self._report),
            web.post(f"{api}/comment/report", self._report),
            web.post(f"{api}/post/remove", self._remove),
            web.post(f"{api}/comment/remove", self._remove),
            web.post(f"{api}/admin/purge/post", self._purge),
            web.post(f"{api}/admin/purge/comment", self._purge),
        ]
        if self.version == "v4":
            # Lemmy 1.0 keeps what old clients need to read, and nothing for moderators.
            found += [web.get("/api/v4/account", self._account), web.get("/api/v3/site", self._site)]
        return found

    def refuse_rate(self) -> web.Response:
        word = "rate_limit_error" if self.version == "v3" else "too_many_requests"
        return web.json_response(
            {"error": word}, status=400 if self.version == "v3" else 429, headers={"Retry-After": "17"}
        )

    def _is_known(self, request: web.Request) -> bool:
        return request.headers.get("Authorization") == f"Bearer {self.token}"

    def _me(self) -> dict[str, Any]:
        return {
            "local_user_view": {
                "local_user": {"id": 2, "person_id": 7, "admin": self.is_admin},
                "person": {"id": 7, "name": "bot", "actor_id": f"https://{self.host}/u/bot", "local": True},
            },
            "follows": [],
            "moderates": [],
        }

    async def _site(self, request: web.Request) -> web.Response:
        admins = [{"person": {"id": 1, "name": "admin"}, "is_admin": True}]
        site: dict[str, Any] = {
            "site_view": {"site": {"id": 1, "name": "Instance"}},
            "admins": admins,
            "version": "0.19.12" if self.version == "v3" else "1.0.0",
        }
        if self.version == "v3" and self._is_known(request):
            site["my_user"] = self._me()
        return web.json_response(site)

    async def _account(self, request: web.Request) -> web.Response:
        return (
            web.json_response(self._me()) if self._is_known(request) else answer_error(401, "incorrect_login")
        )

    async def _resolve(self, request: web.Request) -> web.Response:
        asked = request.query["q"]
        is_known = self._is_known(request)
        post = self.find(asked) if is_known else self.here.get(asked)
        author = None if post else self.find_author(asked)
        if post is None and author is None:
            word = "couldnt_find_object" if self.version == "v3" else "resolve_object_failed"
            return answer_error(400, word)
        view = self._show(post) if post else {"person": {"id": author, "ap_id": asked, "actor_id": asked}}
        kind = "person" if post is None else ("comment" if post.is_comment else "post")
        if self.version == "v3":
            names = ("comment", "post", "community", "person")
            return web.json_response({name: view if name == kind else None for name in names})
        if self.has_results:
            return web.json_response({"results": [{"type_": kind.title(), **view}]})
        return web.json_response({"type_": kind, **view})

    def _show(self, post: Post) -> dict[str, Any]:
        creator = {"id": post.author_number, "name": "author", "actor_id": post.author, "ap_id": post.author}
        own = {"id": post.number, "ap_id": post.uri, "removed": False, "deleted": False}
        above = {"id": 90_000 + post.number, "ap_id": f"{post.uri}/above", "name": "A thread"}
        parts = {"comment": own, "post": above} if post.is_comment else {"post": own}
        return {**parts, "creator": creator, "community": {"id": 5, "actor_id": "https://far.example/c/cats"}}

    def _take(self, request: web.Request) -> tuple[str, Post] | web.Response:
        """Read what a request is about: the kind of thing, and the thing."""
        if not self._is_known(request):
            return answer_error(401, "incorrect_login")
        document = self.asked[-1].document
        kind = "comment" if "/comment" in request.path else "post"
        number = document.get(f"{kind}_id")
        if not isinstance(number, int):
            return web.Response(status=400, text=f"Json deserialize error: missing field `{kind}_id`")
        post = self.has_number(number, is_comment=kind == "comment")
        return answer_error(404, "not_found") if post is None else (kind, post)

    async def _report(self, request: web.Request) -> web.Response:
        taken = self._take(request)
        if isinstance(taken, web.Response):
            return taken
        kind, post = taken
        reason = self.asked[-1].document["reason"]
        if not reason:
            return answer_error(400, "report_reason_required")
        if len(reason) > 1000:
            return answer_error(400, "report_too_long")
        if (kind, post.number) in self._reported:
            return answer_error(400, "couldnt_create_report")
        self._reported.add((kind, post.number))
        self.reports.append(Filed(post=post.number, text=reason, extra={"kind": kind}))
        number = 300 + len(self.reports)
        return web.json_response(
            {f"{kind}_report_view": {f"{kind}_report": {"id": number, "reason": reason}}}
        )

    async def _remove(self, request: web.Request) -> web.Response:
        taken = self._take(request)
        if isinstance(taken, web.Response):
            return taken
        kind, post = taken
        if not self.is_admin:
            return answer_error(400, "not_a_mod_or_admin")
        document = self.asked[-1].document
        self.removed.append(Filed(post=post.number, text=document["reason"], extra={"kind": kind}))
        own = {**self._show(post)[kind], "removed": document["removed"]}
        return web.json_response({f"{kind}_view": {**self._show(post), kind: own}})

    async def _purge(self, request: web.Request) -> web.Response:
        taken = self._take(request)
        if isinstance(taken, web.Response):
            return taken
        kind, post = taken
        if not self.is_admin:
            return answer_error(400, "not_an_admin")
        self.purged.append(
            Filed(post=post.number, text=self.asked[-1].document["reason"], extra={"kind": kind})
        )
        del self.here[post.uri]
        self.elsewhere.pop(post.uri, None)
        return web.json_response({"success": True})
