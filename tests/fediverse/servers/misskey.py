"""A Misskey: every request a POST with the token in its body.

Source: https://misskey-hub.net/en/docs/for-developers/api/, and the words and order of checks of its API.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from tests.fediverse.servers.base import ApiServer, Filed

ALL_PERMISSIONS = ("read:account", "write:report-abuse", "write:notes")


def answer_error(status: int, code: str, kind: str = "client") -> web.Response:
    error = {"message": code.capitalize(), "code": code, "id": "0" * 8, "kind": kind}
    return web.json_response({"error": error}, status=status)


class MisskeyServer(ApiServer):
    """A Misskey with one bot's token.

    Attributes:
        permissions: Those of the token.
        is_moderator: Whether the bot is one.
    """

    def __init__(self, *, permissions: tuple[str, ...] = ALL_PERMISSIONS, is_moderator: bool = True) -> None:
        super().__init__()
        self.permissions = permissions
        self.is_moderator = is_moderator
        self.unreachable: set[str] = set()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/i", self._me),
            web.post("/api/ap/show", self._show),
            web.post("/api/users/report-abuse", self._report),
            web.post("/api/notes/delete", self._delete),
        ]

    def answer_unrouted(self, error: web.HTTPException) -> web.Response:
        return answer_error(404, "NO_SUCH_ENDPOINT")

    def refuse_rate(self) -> web.Response:
        answer = answer_error(429, "RATE_LIMIT_EXCEEDED")
        answer.headers["Retry-After"] = "17"
        return answer

    def _lacks(self, permission: str, *needed: str) -> web.Response | None:
        document = self.asked[-1].document
        if document.get("i") != self.token:
            return answer_error(401, "AUTHENTICATION_FAILED")
        if permission not in self.permissions:
            return answer_error(403, "PERMISSION_DENIED", "permission")
        return None if all(name in document for name in needed) else answer_error(400, "INVALID_PARAM")

    async def _me(self, _: web.Request) -> web.Response:
        refused = self._lacks("read:account")
        if refused is not None:
            return refused
        me = {"id": "9bot", "username": "bot", "isAdmin": False, "isModerator": self.is_moderator}
        return web.json_response(me)

    async def _show(self, _: web.Request) -> web.Response:
        refused = self._lacks("read:account", "uri")
        if refused is not None:
            return refused
        asked = self.asked[-1].document["uri"]
        if asked in self.unreachable:
            return answer_error(400, "REQUEST_FAILED")
        post = self.find(asked)
        if post is not None:
            note: dict[str, Any] = {"id": f"{post.number}", "userId": f"{post.author_number}", "text": ""}
            if not post.uri.startswith(f"https://{self.host}/"):
                note |= {"uri": post.uri, "url": post.page or None}
            return web.json_response({"type": "Note", "object": note})
        author = self.find_author(asked)
        if author is not None:
            return web.json_response(
                {"type": "User", "object": {"id": str(author), "uri": asked, "url": None}}
            )
        return answer_error(400, "NO_SUCH_OBJECT")

    async def _report(self, _: web.Request) -> web.Response:
        refused = self._lacks("write:report-abuse", "userId", "comment")
        if refused is not None:
            return refused
        document = self.asked[-1].document
        if not any(str(post.author_number) == document["userId"] for post in self.here.values()):
            return answer_error(400, "NO_SUCH_USER")
        notes = document.get("noteIds", [])
        self.reports.append(
            Filed(
                post=int(notes[0]) if notes else None,
                account=int(document["userId"]),
                text=document["comment"],
            )
        )
        return web.Response(status=204)

    async def _delete(self, _: web.Request) -> web.Response:
        refused = self._lacks("write:notes", "noteId")
        if refused is not None:
            return refused
        post = self.has_number(self.asked[-1].document["noteId"])
        if post is None:
            return answer_error(400, "NO_SUCH_NOTE")
        if not self.is_moderator:
            return answer_error(400, "ACCESS_DENIED")
        self.purged.append(Filed(post=post.number))
        del self.here[post.uri]
        return web.Response(status=204)
