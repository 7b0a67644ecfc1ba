"""PhotoDNA Cloud: a subscription key, `Match` for bytes; own codes in `Status`, `{"message"}` in errors."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Any

from aiohttp import web
from PIL import Image

from tests.service_servers.base import FakeService

if TYPE_CHECKING:
    from tests.service_servers.base import Received

KEY = "0123456789abcdef"
_TYPES = {"image/gif", "image/jpeg", "image/png", "image/bmp", "image/tiff"}
_MIN_SIDE = 160
_MAX_BYTES = 4_000_000


class FakePhotoDna(FakeService):
    """The service.

    Attributes:
        known: The SHA-256 of what it knows.
    """

    def __init__(self) -> None:
        super().__init__()
        self.known: set[bytes] = set()

    @classmethod
    def base_path(cls) -> str:
        return "/photodna/v1.0"

    def know(self, data: bytes) -> None:
        """Know some bytes."""
        self.known.add(hashlib.sha256(data).digest())

    def answer(self, request: Received) -> web.Response:
        if request.headers.get("Ocp-Apim-Subscription-Key") != KEY:
            message = "Access denied due to invalid subscription key."
            return web.json_response({"statusCode": 401, "message": message}, status=401)
        if (request.method, request.path) != ("POST", "/Match"):
            return web.json_response({"statusCode": 404, "message": "Resource not found"}, status=404)
        return web.json_response(_find_fault(request) or self._match(request))

    def _match(self, request: Received) -> dict[str, Any]:
        is_match = hashlib.sha256(request.body).digest() in self.known
        flags = [{"AdvancedInfo": [{"Key": "MatchId", "Value": "1"}], "Source": "Test", "Violations": []}]
        return {
            **status_only(3000, "OK"),
            "IsMatch": is_match,
            "MatchDetails": {"AdvancedInfo": [], "MatchFlags": flags if is_match else []},
        }


def _find_fault(request: Received) -> dict[str, Any] | None:
    """Say what is wrong with a picture; None where nothing is."""
    if request.headers.get("Content-Type") not in _TYPES:
        return status_only(3002, "Missing or invalid request parameter(s)")
    if len(request.body) > _MAX_BYTES:
        return status_only(3209, "The request was too large.")
    try:
        with Image.open(io.BytesIO(request.body)) as picture:
            sides = picture.size
    except OSError:
        return status_only(3206, "The given file could not be verified as an image.")
    if min(sides) < _MIN_SIDE:
        return status_only(3208, "Image size in pixels is not within allowed range.")
    return None


def status_only(code: object, description: str) -> dict[str, Any]:
    """Build an answer that says how it went and nothing else."""
    return {
        "Status": {"Code": code, "Description": description, "Exception": None},
        "ContentId": None,
        "IsMatch": False,
        "MatchDetails": None,
        "TrackingId": "1_photodna_00000000-0000-0000-0000-000000000000",
    }
