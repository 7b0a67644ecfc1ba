"""The line asks peers about what everybody may see, and about nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from db import delivery_lists
from relay.model import DeliveryDecision, Door, EvidenceBasis, Location, MediaReference
from relay.pipeline import Accepted, examine, examine_bytes, vouch
from tests.fediverse import shapes
from tests.images import encode, marker
from tests.relay.exchange.issuer import Issuer, trusted
from tests.relay.exchange.trusting import COSTLY, Answering, open_costly_scanner
from tests.relay.line import Line, open_line
from tests.relay.stages.parts import media as build_media

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from db.delivery_rows import StoredDelivery
    from relay.pipeline import Tools
    from tests.fediverse import Actor

PNG = encode(marker(5, width=96, height=96), "PNG")
RESTRICTED = {"legal_scan_restricted": "true", "legal_scan_restricted_basis": "our terms, section 4"}


@pytest.fixture
async def line(dsn: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Line]:
    """A line whose scanner has a costly detector, and which examines what is not public, too."""
    with open_costly_scanner(monkeypatch):
        async with open_line(dsn, **RESTRICTED) as opened:
            yield opened


@pytest.fixture
def alice(line: Line) -> Actor:
    return line.origin.create_actor("alice")


@pytest.fixture
async def relay(line: Line, alice: Actor) -> Issuer:
    """The relay of alice's server, which has earned its trust."""
    issuer = Issuer(server=urlsplit(alice.id).netloc)
    await issuer.introduce(line.database)
    await issuer.stand(line.database, trusted())
    return issuer


def _asking(line: Line, answering: Answering) -> Tools:
    assert line.tools.peers is not None
    assert line.tools.peers.costly == {COSTLY}
    # No coin shows an audit.
    return replace(line.tools, peers=replace(line.tools.peers, asker=answering, chance=lambda: 0.99))


async def _deliver(line: Line, alice: Actor, *, is_public: bool) -> StoredDelivery:
    activity = shapes.mastodon_create(alice, [line.origin.serve_media("/p.png", PNG)])
    if not is_public:
        followers = [f"{alice.id}/followers"]
        note = shapes.mastodon_note(alice, [line.origin.serve_media("/p.png", PNG)], to=followers)
        activity = shapes.create(alice, note)
        activity["to"], activity["cc"] = followers, []
    assert isinstance(await line.receive(alice, activity), Accepted)
    async with line.database.connection() as conn:
        stored = await delivery_lists.find_by_activity(conn, str(activity["id"]))
    assert stored is not None
    return stored


async def test_a_public_picture_that_its_origins_relay_attests_is_let_go_and_attested_by_nobody_else(
    line: Line, alice: Actor, relay: Issuer
) -> None:
    answering = Answering(words={relay.server: [relay.attest(PNG)]})
    tools = _asking(line, answering)
    stored = await _deliver(line, alice, is_public=True)

    decision = await examine(stored, tools=tools)

    assert decision.delivery is DeliveryDecision.FORWARD
    assert [one.evidence.basis for one in decision.outcomes] == [EvidenceBasis.PEER]
    assert answering.asked == [("lookup", relay.server)]
    await vouch(stored, decision, tools=tools)
    async with line.database.connection() as conn:
        assert await conn.fetchval("SELECT count(*) FROM attestations") == 0
        assert await conn.fetchval("SELECT count(*) FROM verdicts") == 0


async def test_about_a_picture_that_not_everybody_may_see_nobody_is_asked(
    line: Line, alice: Actor, relay: Issuer
) -> None:
    answering = Answering(words={relay.server: [relay.attest(PNG)]})

    decision = await examine(await _deliver(line, alice, is_public=False), tools=_asking(line, answering))

    assert [one.evidence.basis for one in decision.outcomes] == [EvidenceBasis.SCAN]
    assert answering.asked == []


@pytest.mark.parametrize(
    ("door", "basis"),
    [
        (Door.GATEWAY, EvidenceBasis.PEER),
        (Door.VALIDATOR, EvidenceBasis.SCAN),
        (Door.UPLOADS, EvidenceBasis.SCAN),
        (Door.SWEEP, EvidenceBasis.SCAN),
    ],
)
async def test_a_word_that_comes_with_the_bytes_counts_only_for_what_comes_from_elsewhere(
    door: Door, basis: EvidenceBasis, line: Line, relay: Issuer
) -> None:
    answering = Answering()
    given = replace(build_media(PNG), attestation=relay.attest(PNG))
    reference = MediaReference(url="", location=Location.BACKEND_FETCH)

    outcome = await examine_bytes(given, reference, door=door, tools=_asking(line, answering))

    assert outcome.evidence.basis is basis
    assert answering.asked == []
