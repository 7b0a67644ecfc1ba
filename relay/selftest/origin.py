"""The remote server that the self-test plays: an actor with a key, and pictures on a loopback port."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from aiohttp import web

from signatures.keys import generate_rsa

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signatures.keys import PrivateKey

ACTIVITY_JSON: Final = "application/activity+json"


@dataclass(slots=True, kw_only=True)
class SelftestOrigin:
    """The remote server that the self-test plays.

    Attributes:
        url: Where it listens.
        key: The key of its only actor.
        pictures: What it serves, by name.
    """

    url: str
    key: PrivateKey
    pictures: dict[str, bytes] = field(default_factory=dict)

    @property
    def actor(self) -> str:
        """The id of its actor."""
        return f"{self.url}/actor"

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve the actor or a picture."""
        name = request.path.rpartition("/")[2]
        if name == "actor":
            document = {
                "@context": ["https://www.w3.org/ns/activitystreams", "https://w3id.org/security/v1"],
                "id": self.actor,
                "type": "Application",
                "preferredUsername": "selftest",
                "inbox": f"{self.url}/inbox",
                "publicKey": {
                    "id": f"{self.actor}#main-key",
                    "owner": self.actor,
                    "publicKeyPem": self.key.public.to_pem(),
                },
            }
            return web.Response(body=json.dumps(document).encode(), content_type=ACTIVITY_JSON)
        picture = self.pictures.get(name)
        if picture is None:
            return web.Response(status=404)
        return web.Response(body=picture, content_type="image/png")


@asynccontextmanager
async def open_selftest_origin() -> AsyncIterator[SelftestOrigin]:
    """Serve the self-test's remote server on a free loopback port."""
    origin = SelftestOrigin(url="", key=await asyncio.to_thread(generate_rsa))
    runner = web.ServerRunner(web.Server(origin.handle, access_log=None), shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        origin.url = f"http://{host}:{port}"
        yield origin
    finally:
        await runner.cleanup()
