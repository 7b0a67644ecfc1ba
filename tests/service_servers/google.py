"""Google's Content Safety API: a key, `images:classify`; errors say `{"error": {...}}`."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import TYPE_CHECKING

from aiohttp import web

from tests.service_servers.base import FakeService

if TYPE_CHECKING:
    from tests.service_servers.base import Received

KEY = "AIza-not-a-key"
_MAX_IMAGES = 32
_MAX_REQUEST_BYTES = 10_000_000


class FakeGoogle(FakeService):
    """The service.

    Attributes:
        priorities: How urgent a picture is, by its SHA-256; all others are not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.priorities: dict[bytes, str] = {}

    @classmethod
    def base_path(cls) -> str:
        return "/v1beta1"

    def rate(self, data: bytes, priority: str) -> None:
        """Rate a picture."""
        self.priorities[hashlib.sha256(data).digest()] = priority

    def answer(self, request: Received) -> web.Response:
        key = request.headers.get("X-Goog-Api-Key") or request.query.get("key")
        if key != KEY:
            # A key that is none is a wrong argument there.
            return _fail(403, "PERMISSION_DENIED") if key is None else _fail(400, "INVALID_ARGUMENT")
        if (request.method, request.path) != ("POST", "/images:classify"):
            return _fail(404, "NOT_FOUND")
        if len(request.body) > _MAX_REQUEST_BYTES:
            return _fail(400, "INVALID_ARGUMENT")
        try:
            images = [base64.b64decode(one, validate=True) for one in json.loads(request.body)["images"]]
        except (ValueError, KeyError, binascii.Error):
            return _fail(400, "INVALID_ARGUMENT")
        if not 0 < len(images) <= _MAX_IMAGES:
            return _fail(400, "INVALID_ARGUMENT")
        rated = [self.priorities.get(hashlib.sha256(one).digest(), "VERY_LOW") for one in images]
        return web.json_response({"reviewPriorities": rated, "model_version": "1"})


def _fail(status: int, word: str) -> web.Response:
    return web.json_response({"error": {"code": status, "message": word, "status": word}}, status=status)
