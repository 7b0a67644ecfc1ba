"""HMA 1.x: `status`, `m/lookup` by a signal or by a file of a form; errors say `{"message"}`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.service_servers.base import FakeService

if TYPE_CHECKING:
    from tests.service_servers.base import Received

KEY = "an api key"
_PDQ = re.compile(r"[0-9a-f]{64}")


class FakeHma(FakeService):
    """The server.

    Attributes:
        banks: The banks that hold a PDQ hash, with the distance, as the server writes it.
        file_banks: What it finds for whatever file it is sent.
        is_stale: Its index is too old to match with.
    """

    def __init__(self) -> None:
        super().__init__()
        self.banks: dict[str, dict[str, int]] = {}
        self.file_banks: dict[str, dict[str, list[dict[str, Any]]]] = {"pdq": {}}
        self.is_stale = False

    def know(self, bits: bytes, bank: str, *, distance: int = 0) -> None:
        """Hold a hash in a bank."""
        self.banks.setdefault(bits.hex(), {})[bank] = distance

    def answer(self, request: Received) -> web.Response:
        if request.path == "/status":
            word, status = ("INDEX-STALE", 503) if self.is_stale else ("I-AM-ALIVE", 200)
            return web.Response(text=word, status=status)
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"message": "401 Unauthorized"}, status=401)
        match request.method, request.path:
            case "GET", "/m/lookup":
                return self._look_up(request)
            case "POST", "/m/lookup":
                return self._look_up_file(request)
        return web.json_response({"message": "404 Not Found"}, status=404)

    def _look_up(self, request: Received) -> web.Response:
        if request.query.get("signal_type") != "pdq":
            return web.json_response({"message": "No such SignalType"}, status=400)
        signal = request.query.get("signal", "")
        if not _PDQ.fullmatch(signal):
            return web.json_response({"message": "invalid signal"}, status=400)
        held = self.banks.get(signal, {})
        return web.json_response(
            {bank: [{"bank_content_id": 1, "distance": str(far)}] for bank, far in held.items()}
        )

    def _look_up_file(self, request: Received) -> web.Response:
        if b'name="photo"' not in request.body and b'name="video"' not in request.body:
            return web.json_response({"message": "no file of a known kind"}, status=400)
        return web.json_response(self.file_banks)
