"""Arachnid Shield: HTTP Basic, `v1/media/` for bytes and `v1/pdq/` for hashes; errors say `{"detail"}`."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.service_servers.base import FakeService

if TYPE_CHECKING:
    from tests.service_servers.base import Received

CREDENTIALS = "somebody:a secret"
NO_MATCH = {"classification": "no-known-match", "match_type": None, "near_match_details": []}


class FakeShield(FakeService):
    """The service.

    Attributes:
        known: What is answered about bytes, by their SHA-256.
        known_hashes: What is answered about PDQ hashes; about others null, as the service does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[bytes, dict[str, Any]] = {}
        self.known_hashes: dict[bytes, dict[str, Any] | None] = {}

    def know(self, data: bytes, classification: str = "csam", match_type: str | None = "exact") -> None:
        """Know some bytes."""
        self.known[hashlib.sha256(data).digest()] = {
            "classification": classification,
            "match_type": match_type,
            "near_match_details": [],
        }

    def answer(self, request: Received) -> web.Response:
        expected = base64.b64encode(CREDENTIALS.encode()).decode()
        if request.headers.get("Authorization") != f"Basic {expected}":
            return web.json_response({"detail": "Invalid username/password."}, status=401)
        match request.method, request.path:
            case "POST", "/v1/media/":
                return self._scan(request)
            case "POST", "/v1/pdq/":
                return self._scan_hashes(request)
        return web.json_response({"detail": "Not found."}, status=404)

    def _scan(self, request: Received) -> web.Response:
        kind = request.headers.get("Content-Type", "")
        if not kind.startswith(("image/", "video/")):
            return web.json_response({"detail": f'Unsupported media type "{kind}".'}, status=415)
        if not request.body:
            return web.json_response({"detail": "No media."}, status=400)
        digest = hashlib.sha256(request.body).digest()
        sha1 = hashlib.sha1(request.body, usedforsecurity=False).digest()
        return web.json_response(
            {
                "sha1_base32": base64.b32encode(sha1).decode(),
                "sha256_hex": digest.hex(),
                "size_bytes": len(request.body),
                **self.known.get(digest, NO_MATCH),
            }
        )

    def _scan_hashes(self, request: Received) -> web.Response:
        hashes = json.loads(request.body)["hashes"]
        if not hashes:
            return web.json_response({"detail": "This list may not be empty."}, status=400)
        known = {base64.b64encode(bits).decode(): answer for bits, answer in self.known_hashes.items()}
        return web.json_response({"scanned_hashes": {one: known.get(one) for one in hashes}})
