"""A peer's warning that comes after the media it means: withheld, looked at again, and left to a person."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import alerts, cases, peering
from db.alerts import Alert
from db.cases import CaseState
from db.errands import ErrandKind, ErrandState
from db.peers import Tier
from relay.cli.cases import list_places
from relay.exchange.alerts import warn_of_ruling
from relay.exchange.tiers import set_alerts
from relay.lifecycle import State
from signatures.alert import seal_digest
from tests.e2e.acting import list_errands, rule_inside, settings_of, wait_for_errand
from tests.e2e.exchange.instance import ADMIN, befriend, open_instances
from tests.e2e.inside import open_inside
from tests.e2e.world import wait_until
from tests.fediverse import shapes
from tests.fediverse.servers import MastodonServer, Post
from tests.images import encode, marker
from tests.relay.exchange.pair import PEER, know

if TYPE_CHECKING:
    from db.cases import Case
    from relay.line import Tools
    from tests.e2e.exchange.conftest import MakeDatabases
    from tests.e2e.world import Scene, World
    from tests.fediverse import Origin

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

KEY = bytes(range(32))
PICTURE = encode(marker(2601), "PNG")
SHA256 = hashlib.sha256(PICTURE).digest()


@pytest.fixture(autouse=True)
def warnings_are_compared_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.exchange.matching.EVERY", timedelta(milliseconds=100))


def tools_of(scene: Scene) -> Tools:
    tools: Tools = scene.relay.parts.workers._tools  # type: ignore[union-attr]
    return tools


async def wait_for_bytes(scene: Scene) -> Case:
    """Wait until whoever rules on the case of the picture finds its bytes."""

    async def find() -> Case | None:
        async with scene.database.connection() as conn:
            found = await cases.find_case_on(conn, delivery_id=None, sha256=SHA256)
        return found if tools_of(scene).spool.find(SHA256) == PICTURE else None

    return await wait_until(find, "the bytes of the case")


async def test_a_warning_reaches_what_another_instance_has_let_go_long_ago(
    world: World, make_databases: MakeDatabases
) -> None:
    async with open_instances(world, await make_databases(2)) as (a, b):
        await befriend(a, b)
        await a.trust(b)
        await b.trust(a)
        for one, other in ((a, b), (b, a)):
            await set_alerts(
                one.scene.database,
                other.actor,
                categories=["spam"],
                key=KEY,
                by=ADMIN,
                now=one.clock.now(),
            )
        url = a.serve("harmless.png", PICTURE)
        activity = a.create(url)
        assert (await b.receive_activity(a, activity)).state is State.FORWARDED

        async with a.scene.database.transaction() as conn:
            assert await warn_of_ruling(conn, SHA256, category="spam", basis="human", now=a.clock.now()) == 1

        case = await wait_for_bytes(b.scene)
        assert (case.state, case.basis, case.category) == (CaseState.OPEN, "peer", "spam")
        places = await list_places(b.scene.database, case.id, acting=b.tools.acting)
        note = activity["object"]
        assert isinstance(note, dict)
        assert [(one["post"], one["errand"]) for one in places] == [(note["id"], None)]
        # Whoever points at it from now on waits for the ruling, too.
        assert (await b.receive(a, url)).state is State.HELD


async def test_nothing_is_reported_on_a_warning_until_a_person_upholds_it(
    world: World, dsn: str, origin: Origin
) -> None:
    async with (
        MastodonServer.open() as server,
        open_inside(world, dsn=dsn, **settings_of(server)) as scene,
    ):
        actor = origin.create_actor("alice")
        activity = shapes.mastodon_create(actor, [origin.serve_media("/a.png", PICTURE)])
        note = activity["object"]
        assert isinstance(note, dict)
        server.knows_elsewhere(Post(uri=str(note["id"]), author=actor.id, number=77, author_number=5))
        await scene.deliver(actor, activity)
        assert (await scene.wait_for_state(activity)).state is State.FORWARDED

        now = tools_of(scene).clock.now()
        await know(scene.database, PEER, tier=Tier.TRUSTED)
        mac = seal_digest(SHA256, key=KEY)
        async with scene.database.connection() as conn:
            await peering.set_alerts(conn, PEER.actor, categories=("spam",), key=KEY, now=now)
            await alerts.put_alert(conn, Alert(issuer=PEER.actor, mac=mac, category="spam", received_at=now))
        case = await wait_for_bytes(scene)
        assert await list_errands(scene) == ()
        assert server.reports == []

        await rule_inside(scene, case.id, CaseState.UPHELD)
        done = await wait_for_errand(scene, ErrandKind.REPORT, ErrandState.DONE)
        assert (done.case_id, [one.post for one in server.reports]) == (case.id, [77])
