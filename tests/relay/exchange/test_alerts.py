"""A warning withholds exactly what it means until our own moderator rules; ours name nothing to others."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import alert_hits, alert_letters, alerts, audit, cases, known, media, peering, peers, rulings
from db.alerts import Alert
from db.cases import CaseState
from db.deliveries import insert_delivery
from db.hashlists import NewHashList, import_list
from db.media import DeliveryMedia, put_delivery_media
from db.peers import Tier
from db.rulings import Ruling, RulingKind
from relay.cli.cases import rule as rule_on
from relay.exchange.alert_courier import AlertCourier, CourierTools
from relay.exchange.alert_intake import LONGEST_AGE, MAX_A_DAY, AlertReceipt, receive_alert
from relay.exchange.alerts import LEAST_RULED, find_warning, is_suspended, warn_of_match, warn_of_ruling
from relay.exchange.client import PeerFailure, PeerFailureReason
from relay.exchange.matching import SETTLED_AFTER, AlertMatcher
from relay.stages.act import Acting
from signatures.alert import AlertBody, build_alert, parse_alert, seal_digest
from tests.db.builders import new_delivery
from tests.fediverse.clock import START, FrozenClock
from tests.relay.exchange.pair import OTHER, PEER, US, know, rely

if TYPE_CHECKING:
    from datetime import datetime

    from db.peers import Peer
    from db.pool import Database
    from relay.tools.identity import Identity

KEY = bytes([3] * 32)
OTHER_KEY = bytes([4] * 32)
SEEN = bytes([1] * 32)
MAC = seal_digest(SEEN, key=KEY)


async def agree(
    database: Database,
    identity: Identity = PEER,
    *,
    key: bytes = KEY,
    categories: tuple[str, ...] = ("spam",),
    tier: Tier = Tier.TRUSTED,
) -> Peer:
    await know(database, identity, tier=tier)
    async with database.connection() as conn:
        await peering.set_alerts(conn, identity.actor, categories=categories, key=key, now=START)
        found = await peers.find_peer(conn, identity.actor)
    assert found is not None
    return found


def alert(*, mac: bytes = MAC, by: Identity = PEER, **changes: object) -> bytes:
    body = AlertBody(
        id=f"{by.base_url}/alerts/1",
        issuer=by.actor,
        recipient=US.actor,
        published=START,
        mac=mac,
        category="spam",
    )
    return build_alert(
        replace(body, **changes),  # type: ignore[arg-type]  # one test names one field
        key=by.signing_key,
        verification_method=by.verification_method,
    )


async def receive(database: Database, peer: Peer, raw: bytes, *, now: datetime = START) -> AlertReceipt:
    return await receive_alert(raw, peer=peer, recipient=US.actor, database=database, now=now)


async def see(database: Database, sha256: bytes = SEEN) -> None:
    async with database.connection() as conn:
        await media.record_media(conn, sha256=sha256, size=1, media_type="image/png", now=START)


async def warned(database: Database, sha256: bytes = SEEN) -> str | None:
    """What the line asks when bytes come of which there is a verdict."""
    async with database.connection() as conn:
        return (await known.find_known(conn, sha256, bytes(32))).warning


async def ask(database: Database, sha256: bytes = SEEN) -> str | None:
    """What the line asks when bytes come of which there is none."""
    async with database.transaction() as conn:
        return await find_warning(conn, sha256, now=START)


async def rule(database: Database, issuer: str, count: int, to: CaseState) -> None:
    """Let moderators rule on cases that a peer's warnings led to."""
    async with database.connection() as conn:
        for number in range(count):
            sha256 = bytes([number, to is CaseState.UPHELD] * 16)
            mac = seal_digest(sha256, key=KEY)
            await alerts.put_alert(
                conn, Alert(issuer=issuer, mac=mac, category="spam", received_at=START - timedelta(days=2))
            )
            case_id = await cases.open_case(
                conn, category="spam", delivery_id=None, sha256=sha256, basis="peer", now=START
            )
            assert case_id is not None
            await alerts.set_case(conn, issuer, mac, case_id=case_id)
            await cases.rule_case(conn, case_id, to=to, ruled_by="mod", now=START)


async def test_a_warning_withholds_what_was_seen_before_and_opens_one_case(database: Database) -> None:
    peer = await agree(database)
    await see(database)
    await see(database, bytes([2] * 32))
    clock = FrozenClock()
    matcher = AlertMatcher(database=database, clock=clock)

    assert await receive(database, peer, alert()) is AlertReceipt.TAKEN
    assert await matcher.compare() == 1

    assert await warned(database) == "spam"
    assert await warned(database, bytes([2] * 32)) is None
    async with database.connection() as conn:
        (case,) = await cases.list_cases(conn, limit=10)
        assert await alerts.count_rulings(conn, PEER.actor) == {"open": 1}
        assert await rulings.find_ruling(conn, SEEN) is None
        entries = await audit.list_entries(conn, limit=5)
    assert (case.sha256, case.category, case.basis) == (SEEN, "spam", "peer")
    assert [(entry.event, entry.detail) for entry in entries] == [("case_opened", {"case": case.id})]


async def test_a_warning_is_compared_again_until_what_was_being_scanned_is_known(database: Database) -> None:
    peer = await agree(database)
    clock = FrozenClock()
    matcher = AlertMatcher(database=database, clock=clock)
    await receive(database, peer, alert())
    assert await matcher.compare() == 0

    # Its scan had begun before the warning came, and asked in vain.
    await see(database)
    clock.advance(SETTLED_AFTER)
    assert await matcher.compare() == 1

    await see(database, bytes([2] * 32))
    async with database.connection() as conn:
        assert await alert_hits.list_pending(conn, limit=10) == ()


async def test_what_was_let_go_on_the_word_of_another_is_compared_too(database: Database) -> None:
    peer = await agree(database)
    await rely(database, 1)
    await receive(database, peer, alert())

    assert await AlertMatcher(database=database, clock=FrozenClock()).compare() == 1
    assert await warned(database) == "spam"


async def test_bytes_that_come_after_their_warning_are_known_before_they_are_scanned(
    database: Database,
) -> None:
    peer = await agree(database)
    assert await ask(database) is None
    await receive(database, peer, alert())

    assert await ask(database) == "spam"
    assert await warned(database) == "spam"
    assert await ask(database, bytes([2] * 32)) is None


async def test_a_warning_fits_only_with_the_key_of_whoever_gave_it(database: Database) -> None:
    await agree(database)
    other = await agree(database, OTHER, key=OTHER_KEY)
    await see(database)
    # The other has overheard the first one's warning, and repeats it.
    assert await receive(database, other, alert(by=OTHER)) is AlertReceipt.TAKEN

    assert await ask(database) is None
    assert await AlertMatcher(database=database, clock=FrozenClock()).compare() == 0


async def test_what_our_moderator_ruled_on_stays_as_it_is(database: Database) -> None:
    peer = await agree(database)
    await see(database)
    async with database.connection() as conn:
        await rulings.set_ruling(
            conn, Ruling(sha256=SEEN, ruling=RulingKind.ALLOW, ruled_by="mod", ruled_at=START)
        )
    await receive(database, peer, alert())

    assert await AlertMatcher(database=database, clock=FrozenClock()).compare() == 0
    assert await warned(database) is None


_REFUSED = {
    "of another category": (alert(category="tvec"), AlertReceipt.NOT_AGREED),
    "for somebody else": (alert(recipient=OTHER.actor), AlertReceipt.REFUSED),
    "of another relay": (alert(by=OTHER), AlertReceipt.REFUSED),
    "from long ago": (alert(published=START - LONGEST_AGE), AlertReceipt.REFUSED),
    "signed by nobody": (alert().replace(b"spam", b"tvec"), AlertReceipt.REFUSED),
    "no warning": (b"{}", AlertReceipt.REFUSED),
}


@pytest.mark.parametrize("name", _REFUSED)
async def test_no_warning_is_stored_that_is(name: str, database: Database) -> None:
    peer = await agree(database)
    await know(database, OTHER)
    raw, expected = _REFUSED[name]

    assert await receive(database, peer, raw) is expected
    async with database.connection() as conn:
        assert await alert_hits.list_pending(conn, limit=1) == ()


async def test_who_warns_of_everything_is_stopped(database: Database) -> None:
    peer = await agree(database)
    async with database.connection() as conn:
        await conn.executemany(
            "INSERT INTO alerts (issuer, mac, category, received_at) VALUES ($1, $2, 'spam', $3)",
            [(PEER.actor, number.to_bytes(32, "big"), START) for number in range(MAX_A_DAY)],
        )

    assert await receive(database, peer, alert()) is AlertReceipt.TOO_MANY
    later = START + timedelta(days=1)
    assert await receive(database, peer, alert(), now=later) is AlertReceipt.TAKEN


async def test_a_peer_that_was_mostly_wrong_is_heard_no_more_and_not_told(database: Database) -> None:
    peer = await agree(database)
    await see(database)
    await receive(database, peer, alert())
    await rule(database, PEER.actor, LEAST_RULED, CaseState.RELEASED)

    assert await ask(database) is None
    assert await AlertMatcher(database=database, clock=FrozenClock()).compare() == 0
    assert await receive(database, peer, alert(mac=bytes(32))) is AlertReceipt.TAKEN
    async with database.connection() as conn:
        assert await alerts.find_alerts(conn, [MAC, bytes(32)]) == ()


@pytest.mark.parametrize(
    ("upheld", "released", "expected"),
    [(0, LEAST_RULED, True), (4, 6, True), (5, 5, False), (0, LEAST_RULED - 1, False), (10, 0, False)],
)
def test_it_takes_enough_rulings_to_judge_a_peer(upheld: int, released: int, *, expected: bool) -> None:
    assert is_suspended({"upheld": upheld, "released": released, "open": 50}) is expected


async def import_listed(database: Database, *, allows: bool) -> None:
    new = NewHashList(
        name="ours", version="1", category="spam", distance=0, min_quality=0, is_dihedral=False, digest=SEEN
    )
    async with database.connection() as conn:
        await import_list(conn, new, {"sha256": SEEN}, now=START)
        if allows:
            assert await alert_hits.set_allowing(conn, "ours", allows=True)


@pytest.mark.parametrize("allows", [True, False])
async def test_peers_are_warned_of_a_match_only_if_the_lists_terms_allow_it(
    allows: bool,  # noqa: FBT001 (pytest passes it by name)
    database: Database,
) -> None:
    await agree(database)
    await import_listed(database, allows=allows)

    async with database.transaction() as conn:
        assert await warn_of_match(conn, SEEN, category="spam", lists=["ours", None], now=START) == allows


async def test_peers_are_warned_of_what_both_sides_agreed_on_and_sealed_for_each(database: Database) -> None:
    await agree(database)
    await agree(database, OTHER, key=OTHER_KEY, categories=("tvec",))

    async with database.transaction() as conn:
        assert await warn_of_ruling(conn, SEEN, category="spam", basis="near_hash", now=START) == 1
        assert await warn_of_ruling(conn, SEEN, category="spam", basis="near_hash", now=START) == 0
        # It was told when the list matched, if the list's terms allow it.
        assert await warn_of_ruling(conn, SEEN, category="tvec", basis="exact_hash", now=START) == 0
        assert await warn_of_ruling(conn, SEEN, category=cases.UNEXAMINED, basis="fetch", now=START) == 0
        letter = await alert_letters.claim_alert_letter(conn, now=START, again_at=START)
    assert letter is not None
    assert (letter.actor, letter.mac, letter.category) == (PEER.actor, MAC, "spam")


class Wire:
    """What takes alerts, once it can be reached."""

    def __init__(self) -> None:
        self.is_reachable = True
        self.sent: list[tuple[str, bytes]] = []

    async def send_alert(self, peer: Peer, alert: bytes) -> PeerFailure | None:
        if not self.is_reachable:
            return PeerFailure(reason=PeerFailureReason.UNREACHABLE)
        self.sent.append((peer.actor, alert))
        return None


async def write(database: Database) -> None:
    async with database.transaction() as conn:
        assert await warn_of_ruling(conn, SEEN, category="spam", basis="near_hash", now=START) == 1


async def test_a_warning_is_sent_signed_to_the_one_it_is_for_until_it_arrives(database: Database) -> None:
    await agree(database)
    await write(database)
    wire, clock = Wire(), FrozenClock()
    courier = AlertCourier(CourierTools(database=database, identity=US, client=wire, clock=clock))

    wire.is_reachable = False
    assert await courier.send_due() == 0
    wire.is_reachable = True
    assert await courier.send_due() == 0
    clock.advance(timedelta(hours=1))
    assert await courier.send_due() == 1
    assert await courier.send_due() == 0

    ((actor, raw),) = wire.sent
    body = parse_alert(raw).body
    assert (actor, body.recipient, body.issuer) == (PEER.actor, PEER.actor, US.actor)
    assert (body.mac, body.category, body.published) == (MAC, "spam", START)
    assert SEEN.hex().encode() not in raw


async def test_a_warning_that_is_not_agreed_on_any_more_is_not_sent(database: Database) -> None:
    await agree(database)
    await write(database)
    async with database.connection() as conn:
        await peering.set_alerts(conn, PEER.actor, categories=(), key=None, now=START)
    wire = Wire()

    tools = CourierTools(database=database, identity=US, client=wire, clock=FrozenClock())
    assert await AlertCourier(tools).send_due() == 0
    assert wire.sent == []
    async with database.connection() as conn:
        assert await alert_letters.next_due(conn) is None


@pytest.mark.parametrize(("audience", "told"), [("public", 1), ("restricted", 0)])
async def test_what_only_some_may_see_is_upheld_without_a_word_to_anybody(
    database: Database, audience: str, told: int
) -> None:
    await agree(database)
    async with database.transaction() as conn:
        stored = await insert_delivery(conn, replace(new_delivery(), audience=audience))
        assert stored is not None
        seen = DeliveryMedia(
            delivery_id=stored,
            ordinal=0,
            url="https://a.example/a.png",
            location="attachment",
            sha256=SEEN,
            verdict="match",
            decision="withhold",
            category="spam",
            failure=None,
        )
        await put_delivery_media(conn, stored, [seen])
        case_id = await cases.open_case(
            conn, category="spam", delivery_id=stored, sha256=SEEN, basis="near_hash", now=START
        )
    assert case_id is not None
    idle = Acting(actions={}, abilities=frozenset(), own_host="home.example")
    await rule_on(database, case_id, to=CaseState.UPHELD, ruled_by="mo", note="", now=START, acting=idle)
    async with database.connection() as conn:
        letter = await alert_letters.claim_alert_letter(conn, now=START, again_at=START)
    assert (letter is not None) == bool(told)
