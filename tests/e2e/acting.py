"""A relay that may act on the server behind it, and its list of errands."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image

from db import errands
from relay.cli.cases import rule
from scanner.canary import draw_canary
from tests.e2e.world import wait_until
from tests.fediverse.servers import LemmyServer
from tests.images import encode

if TYPE_CHECKING:
    from db.cases import CaseState
    from db.errands import Errand, ErrandKind, ErrandState
    from tests.e2e.world import Scene
    from tests.fediverse.servers import ApiServer


def settings_of(server: ApiServer, *, act: str = "report") -> dict[str, str]:
    """The settings of a relay that has a token for a server."""
    return {
        "backend_software": "lemmy" if isinstance(server, LemmyServer) else "mastodon",
        "backend_token": server.token,
        "backend_api_url": server.url,
        "identity_domain": server.host,
        "policy_spam_act": act,
    }


def near_canary() -> bytes:
    """The canary with one pixel changed: only its looks give it away."""
    image = Image.open(io.BytesIO(draw_canary())).convert("RGB")
    image.putpixel((0, 0), (1, 2, 3))
    return encode(image, "PNG")


async def list_errands(scene: Scene) -> tuple[Errand, ...]:
    """List all errands."""
    async with scene.database.connection() as conn:
        return await errands.list_errands(conn, limit=99)


async def wait_for_errand(scene: Scene, kind: ErrandKind, *states: ErrandState) -> Errand:
    """Wait until an errand of a kind is in one of the states."""

    async def find() -> Errand | None:
        found = (one for one in await list_errands(scene) if one.kind is kind and one.state in states)
        return next(found, None)

    return await wait_until(find, f"an errand {kind} in {states}")


async def rule_inside(scene: Scene, case_id: int, to: CaseState) -> str:
    """Rule on a case as `breakwater cases` does; the relay must be one of this process."""
    tools = scene.relay.parts.workers._tools  # type: ignore[union-attr]
    return await rule(
        scene.database,
        case_id,
        to=to,
        ruled_by="mo",
        note="",
        now=tools.clock.now(),
        acting=tools.acting,
    )
