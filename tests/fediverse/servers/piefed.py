"""A PieFed, its API of the same family as Lemmy's.

Source: https://crust.piefed.social/api/alpha/swagger; errors are the words of what went wrong inside.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from tests.fediverse.servers.base import ApiServer, Filed, Post


def answer_error(text: str, status: int = 400) -> web.Response:
    names = {400: "Bad Request", 404: "Not Found", 429: "Too Many Requests"}
    return web.json_response({"code": status, "message": text, "status": names[status]}, status=status)


class PiefedServer(ApiServer):
    """A PieFed with one bot's token.

    Attributes:
        is_admin: Whether the bot is an admin.
        ignores_reports: The numbers of the posts whose reports the moderators do not want to see.
    """

    def __init__(self, *, is_admin: bool = True) -> None:
        super().__init__()
        self.is_admin = is_admin
        self.ignores_reports: set[int] = set()

    def routes(self) -> list[web.RouteDef]:
        api = "/api/alpha"
        return [
            web.get(f"{api}/site", self._site),
            web.get(f"{api}/resolve_object", self._resolve),
            web.post(f"{api}/post/report", self._report),
            web.post(f"{api}/comment/report", self._report),
            web.post(f"{api}/post/remove", self._remove),
            web.post(f"{api}/comment/remove", self._remove),
        ]

    def refuse_rate(self) -> web.Response:
        answer = answer_error("rate limited", 429)
        answer.headers["Retry-After"] = "17"
        return answer

    def screen(self, request: web.Request) -> web.Response | None:
        given = request.headers.get("Authorization")
        if given is None or given == f"Bearer {self.token}":
            return None
        return answer_error("Signature verification failed")

    async def _site(self, _: web.Request) -> web.Response:
        me = {"id": 7, "user_name": "bot", "actor_id": f"https://{self.host}/u/bot", "bot": True}
        return web.json_response(
            {
                "version": "1.7.0",
                "admins": [{"person": me if self.is_admin else {"id": 1, "user_name": "admin"}}],
                "site": {"name": "Instance", "actor_id": f"https://{self.host}/"},
                "my_user": {"local_user_view": {"person": me, "local_user": {"show_nsfw": False}}},
            }
        )

    async def _resolve(self, request: web.Request) -> web.Response:
        asked = request.query["q"]
        post = self.find(asked)
        author = None if post else self.find_author(asked)
        if post is not None:
            kind = "comment" if post.is_comment else "post"
            return web.json_response({kind: self._show(post)})
        if author is not None:
            return web.json_response({"person": {"person": {"id": author, "actor_id": asked}}})
        return answer_error("No object found.")

    def _show(self, post: Post) -> dict[str, Any]:
        kind = "comment" if post.is_comment else "post"
        return {
            kind: {"id": post.number, "ap_id": post.uri, "removed": False},
            "creator": {"id": post.author_number, "actor_id": post.author},
            "community": {"id": 5, "actor_id": "https://far.example/c/cats"},
        }

    def _take(self, request: web.Request) -> tuple[str, Post] | web.Response:
        kind = "comment" if "/comment/" in request.path else "post"
        post = self.has_number(self.asked[-1].document[f"{kind}_id"], is_comment=kind == "comment")
        return answer_error("No row was found when one was required") if post is None else (kind, post)

    async def _report(self, request: web.Request) -> web.Response:
        taken = self._take(request)
        if isinstance(taken, web.Response):
            return taken
        kind, post = taken
        document = self.asked[-1].document
        if post.number in self.ignores_reports:
            return answer_error("already_reported")
        self.reports.append(
            Filed(
                post=post.number,
                text=document["reason"],
                extra={"kind": kind, "report_remote": document["report_remote"]},
            )
        )
        return web.json_response({f"{kind}_report_view": {f"{kind}_report": {"id": 300 + len(self.reports)}}})

    async def _remove(self, request: web.Request) -> web.Response:
        taken = self._take(request)
        if isinstance(taken, web.Response):
            return taken
        kind, post = taken
        if not self.is_admin:
            return answer_error("Does not have permission")
        document = self.asked[-1].document
        self.removed.append(Filed(post=post.number, text=document["reason"], extra={"kind": kind}))
        own = {**self._show(post)[kind], "removed": document["removed"]}
        return web.json_response({f"{kind}_view": {**self._show(post), kind: own}})
