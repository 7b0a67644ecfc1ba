"""A web server with one file, which knows whether somebody has it already."""

from __future__ import annotations

import hashlib

from aiohttp import web

from tests.lists_servers.server import ListServer, is_basic


class FileServer(ListServer):
    """Gives out one file.

    Attributes:
        data: Its contents.
        login: What has to be proven; empty if nothing has.
    """

    def __init__(self) -> None:
        super().__init__()
        self.data = b""
        self.login = ""

    @property
    def url(self) -> str:
        return f"{self.origin}/list"

    def answer(self, request: web.Request) -> web.StreamResponse:
        if self.login and not is_basic(request, self.login):
            return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})
        etag = f'"{hashlib.sha256(self.data).hexdigest()[:16]}"'
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers={"ETag": etag})
        headers = {"ETag": etag, "Last-Modified": "Sun, 22 Nov 2026 02:00:00 GMT"}
        return web.Response(body=self.data, headers=headers)
