"""The doors for programs beside the backend, on an address of their own.

Each is found under a path that begins with a secret. Whoever does not know it gets the answer for what is not
here, in the same time and whatever else was asked, so that not even the doors' names can be learned.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from aiohttp import web

from relay.web import problems

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.metrics import Metrics

# A path is empty before its first slash: nothing, the secret, the name of the door.
_SEGMENTS: Final = 3


class LocalDoor(Protocol):
    """One of the doors.

    Attributes:
        name: As the metrics have it.
        method: The only method that it takes.
    """

    name: str
    method: str

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request, whose secret and method are right."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalDoors:
    """Let in who knows the secret.

    Attributes:
        secret: The first part of every path.
        doors: Those that are open, by the last part of their path.
        metrics: Counts the answers of those who were let in.
    """

    secret: str
    doors: Mapping[str, LocalDoor]
    metrics: Metrics

    def build(self) -> web.Application:
        """Build the application that serves them."""
        application = web.Application()
        application.add_routes([web.route("*", "/{path:.*}", self.handle)])
        return application

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request."""
        door = self._find(request.raw_path.partition("?")[0])
        if door is None:
            return problems.not_here("Nothing is served here.")
        if request.method == door.method:
            response = await door.handle(request)
        else:
            response = refuse(405, "Method not allowed", f"This address takes {door.method} requests only.")
            response.headers["Allow"] = door.method
        self.metrics.count_door_answer(door=door.name, status=response.status)
        return response

    def _find(self, path: str) -> LocalDoor | None:
        parts = path.split("/")
        given, name = (parts[1], parts[2]) if len(parts) == _SEGMENTS and not parts[0] else ("", "")
        # Digests are compared, since the comparison of texts takes a time that tells their lengths.
        is_known = hmac.compare_digest(_digest(given), _digest(self.secret))
        return self.doors.get(name) if is_known else None


def refuse(status: int, title: str, detail: str, *, retry_after_s: int | None = None) -> web.Response:
    """Build a refusal. What the programs beside the backend make of a status is said where it is chosen."""
    body = json.dumps({"type": "about:blank", "status": status, "title": title, "detail": detail})
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return web.Response(
        status=status, body=body.encode(), content_type="application/problem+json", headers=headers
    )


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogateescape")).digest()
