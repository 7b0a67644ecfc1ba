"""An admin takes on another relay, sees where it stands and why, and takes leave of it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from db import peer_outbox, peers, reliance, standings
from db.migrate import migrate
from db.peer_outbox import Letter
from db.peers import Following, Peer, Tier
from db.pool import open_database
from db.standings import StoredStanding
from relay.cli import peers_work
from relay.cli.peers_tools import AlertKeyError, PeerTools
from relay.cli.peers_view import NoSuchPeerError, list_rows
from relay.cli.peers_words import (
    count_missing_agreements,
    explain_discovery,
    explain_fetch,
    explain_follow,
    explain_reliance,
    explain_standing,
    explain_tier,
)
from relay.cli.peers_work import PeerError
from relay.errors import StartupError
from relay.exchange.actors import DiscoveryFailure, DiscoveryReason
from relay.exchange.equivocators import hold_against_issuers
from relay.exchange.follows import ask_to_follow
from relay.exchange.intake import admit_page
from relay.model import FetchFailure
from relay.trust import Audited, Standing, weigh
from tests.fediverse import Fediverse, FrozenClock
from tests.fediverse import behaviours as do
from tests.fediverse.clock import START
from tests.relay.cli.commands import answer, breakwater
from tests.relay.exchange.doors import open_own_side
from tests.relay.exchange.issuer import Issuer
from tests.relay.exchange.neighbours import Neighbour

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from db.pool import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Two:
    """Two relays, each with its admin."""

    ours: PeerTools
    theirs: PeerTools
    clock: FrozenClock

    @property
    def their_place(self) -> str:
        return place_of(self.theirs)

    @property
    def their_domain(self) -> str:
        return urlsplit(self.their_place).netloc


def place_of(tools: PeerTools) -> str:
    return tools.identity.base_url.removesuffix("/breakwater")


def domain_of(tools: PeerTools) -> str:
    return urlsplit(tools.identity.base_url).netloc


@pytest.fixture
async def two(database: Database, empty_dsn: str) -> AsyncIterator[Two]:
    clock = FrozenClock()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        other = await enter(open_database(empty_dsn, min_size=1, max_size=4))
        async with other.connection() as conn:
            await migrate(conn)
        ours = await enter(open_own_side(database, clock, number=1))
        theirs = await enter(open_own_side(other, clock, number=2))
        yield Two(ours=ours, theirs=theirs, clock=clock)


async def add(tools: PeerTools, name: str, **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"group": None, "note": "", "follows": True, "by": "mo", **more}
    return await peers_work.add(tools, name, **given)


async def approve(tools: PeerTools, name: str) -> dict[str, Any]:
    return await peers_work.approve(tools, name, is_ally=False, follows_back=True, by="mo")


async def get(tools: PeerTools, other: PeerTools) -> Peer:
    async with tools.database.connection() as conn:
        found = await peers.find_peer(conn, other.identity.actor)
    assert found is not None
    return found


async def test_two_admins_make_their_relays_peers(two: Two) -> None:
    added = await add(two.ours, two.their_place, note="met at the fair")
    assert added["sent"] == ["Follow: delivered"]
    assert (added["tier"], added["we read it"]) == ("unknown", "asked, waits for its admin")
    assert added["software"] == "Breakwater"
    assert two.theirs.identity.api_key is not None
    assert [(key["signs"], key["fingerprint"]) for key in added["keys"]] == [
        ("requests and answers", two.theirs.identity.api_key.public.fingerprint),
        ("attestations", two.theirs.identity.signing_key.public.fingerprint),
    ]

    [row] = await list_rows(two.theirs.database)
    assert (row["domain"], row["reads us"]) == (domain_of(two.ours), "asked, waits for you")
    approved = await approve(two.theirs, domain_of(two.ours))
    assert approved["sent"] == ["Accept: delivered", "Follow: delivered"]

    assert (await get(two.ours, two.theirs)).we_follow is Following.ACCEPTED
    assert (await get(two.theirs, two.ours)).they_follow is Following.ACCEPTED
    # Ours has not approved theirs yet, which waits in turn.
    assert (await get(two.ours, two.theirs)).they_follow is Following.ASKED
    await approve(two.ours, two.their_domain)
    ours, theirs = await get(two.ours, two.theirs), await get(two.theirs, two.ours)
    assert (ours.they_follow, ours.we_follow, ours.tier) == (
        Following.ACCEPTED,
        Following.ACCEPTED,
        Tier.PROBATION,
    )
    assert (theirs.they_follow, theirs.we_follow) == (Following.ACCEPTED, Following.ACCEPTED)
    assert ours.note == "met at the fair"


async def test_one_takes_leave_and_the_other_hears_of_it(two: Two) -> None:
    await add(two.ours, two.their_place)
    await approve(two.theirs, domain_of(two.ours))
    await approve(two.ours, two.their_domain)
    removed = await peers_work.remove(two.ours, two.their_domain, by="mo")
    assert removed["sent"] == ["Undo: delivered", "Reject: delivered"]
    theirs = await get(two.theirs, two.ours)
    assert (theirs.they_follow, theirs.we_follow) == (Following.NO, Following.NO)
    with pytest.raises(NoSuchPeerError, match="breakwater peers add"):
        await peers_work.show(two.ours.database, two.their_domain, now=START)


async def test_what_the_running_relay_is_just_delivering_is_not_sent_twice(two: Two) -> None:
    await add(two.ours, two.their_place, follows=False)
    peer = await get(two.ours, two.theirs)
    async with two.ours.database.transaction() as conn:
        await ask_to_follow(conn, peer, identity=two.ours.identity, now=START)
        again_at = START + timedelta(minutes=2)
        assert await peer_outbox.claim_letter(conn, now=START, again_at=again_at) is not None
    approved = await approve(two.ours, two.their_domain)
    assert (approved["sent"], approved["on its way"]) == ([], ["Follow is on its way"])
    assert await list_rows(two.theirs.database) == []


async def test_a_relay_is_no_peer_of_itself(two: Two) -> None:
    with pytest.raises(PeerError, match="this relay itself"):
        await add(two.ours, place_of(two.ours))
    assert await list_rows(two.ours.database) == []


async def test_a_relay_that_is_added_without_following_hears_nothing(two: Two) -> None:
    added = await add(two.ours, two.their_place, follows=False, group="friends")
    assert (added["sent"], added["we read it"], added["trust group"]) == ([], "no", "friends")
    assert await list_rows(two.theirs.database) == []


async def test_a_follow_that_cannot_be_delivered_says_so_and_stays(two: Two) -> None:
    async with Fediverse(two.clock) as world:
        neighbour = Neighbour(await world.open_origin(), number=3)
        neighbour.origin.on(neighbour.inbox_path, do.refuse(503))
        added = await add(two.ours, neighbour.origin.url(""))
    assert added["sent"] == ["Follow: refused with status 503; the running relay tries again"]
    [row] = await list_rows(two.ours.database)
    assert row["we read it"].startswith("Follow was not delivered: refused with status 503; try 2 is at")


async def test_what_is_no_relay_is_not_stored(two: Two) -> None:
    async with Fediverse(two.clock) as world:
        origin = await world.open_origin()
        with pytest.raises(PeerError, match="names no relay"):
            await add(two.ours, origin.url(""))
    assert await list_rows(two.ours.database) == []


async def test_a_peer_is_named_by_its_domain_its_host_or_its_actor(two: Two) -> None:
    await add(two.ours, two.their_place)
    actor = two.theirs.identity.actor
    for name in (two.their_domain, two.their_domain.upper(), actor, f" {actor} "):
        assert (await peers_work.show(two.ours.database, name, now=START))["actor"] == actor
    twin = replace(await get(two.ours, two.theirs), actor=f"{actor}/2")
    async with two.ours.database.connection() as conn:
        await peers.put_peer(conn, twin)
    with pytest.raises(NoSuchPeerError, match="several"):
        await peers_work.show(two.ours.database, two.their_domain, now=START)
    assert (await peers_work.show(two.ours.database, actor, now=START))["actor"] == actor


async def test_a_peer_is_shown_with_its_standing_and_why(two: Two) -> None:
    await add(two.ours, two.their_place)
    await approve(two.ours, two.their_domain)
    peer = await get(two.ours, two.theirs)
    standing = agreed(63)
    async with two.ours.database.connection() as conn:
        await standings.put_standing(
            conn,
            StoredStanding(
                actor=peer.actor,
                profile=two.theirs.identity.profile("image-1"),
                key_id=two.theirs.identity.verification_method,
                tier=standing.tier,
                log_ratio=standing.log_ratio,
                credit=standing.credit,
                audits=standing.audits,
                agreements=standing.agreements,
                scrutiny=0,
                updated_at=START,
            ),
        )
        await reliance.note_reliance(
            conn,
            sha256=bytes(32),
            issuer=peer.actor,
            profile="p",
            key_id="k",
            attestation_id="a",
            url="https://media.example/secret.png",
            audit_rate=0.1,
            due_at=None,
            now=START,
        )
    await peers_work.quarantine(
        two.ours.database, two.their_domain, reason="it lied about one", by="ada", now=START
    )
    shown = await peers_work.show(two.ours.database, two.their_domain, now=START)
    assert shown["standing"].startswith("In quarantine: nothing of it counts")
    assert shown["why"] == "it lied about one (ada, 2026-11-22T12:00:00+00:00)"
    [profile] = shown["profiles"]
    assert (profile["tier"], profile["audits"], profile["agreements"]) == ("quarantined", 63, 63)
    assert profile["agrees at least"] == pytest.approx(0.9588, abs=0.001)
    assert shown["relied on"]["in words"] == "1 let go on its word: 1 due for an audit."
    newest = shown["history"][0]
    assert (newest["by"], newest["what"], newest["reason"]) == (
        "ada",
        "peer_quarantined",
        "it lied about one",
    )
    assert "secret" not in str(shown)
    again = await peers_work.reinstate(two.ours.database, two.their_domain, by="ada", now=START)
    assert again["tier"] == "probation"
    assert (await peers_work.show(two.ours.database, two.their_domain, now=START))["why"] is None


async def test_alerts_take_a_key_that_both_sides_share(two: Two, tmp_path: Path) -> None:
    await add(two.ours, two.their_place)
    file = tmp_path / "alerts.key"

    async def alerts(tools: PeerTools, name: str, *categories: str, **keys: Path) -> dict[str, Any]:
        given: dict[str, Any] = {"new_key": None, "key_file": None, **keys}
        return await peers_work.set_alerts(
            tools.database, name, categories=categories, by="mo", now=START, **given
        )

    with pytest.raises(PeerError, match="--new-key"):
        await alerts(two.ours, two.their_domain, "spam")
    assert await alerts(two.ours, two.their_domain, "spam", new_key=file) == {
        "domain": two.their_domain,
        "alerts for": ["spam"],
    }
    assert file.stat().st_mode & 0o077 == 0
    await alerts(two.theirs, domain_of(two.ours), "spam", key_file=file)
    mine, theirs = await get(two.ours, two.theirs), await get(two.theirs, two.ours)
    assert mine.alert_key == theirs.alert_key
    assert mine.alert_key is not None
    with pytest.raises(AlertKeyError, match="not replaced"):
        await alerts(two.ours, two.their_domain, "spam", new_key=file)
    # The key stays for other categories, and goes with the last one.
    await alerts(two.ours, two.their_domain, "malware")
    assert (await get(two.ours, two.theirs)).alerts == ("malware",)
    await alerts(two.ours, two.their_domain)
    assert (await get(two.ours, two.theirs)).alert_key is None


async def test_who_said_two_things_under_one_name_is_shown_with_what_proves_it(database: Database) -> None:
    liar = Issuer()
    await liar.introduce(database, tier=Tier.TRUSTED)
    assert (await peers_work.show(database, liar.domain, now=START))["evidence"] is None
    assert (await peers_work.show_evidence(database, liar.domain))["pairs"] == []
    body = liar.body(b"some bytes")
    first, second = liar.sign(body), liar.sign(replace(body, size=11))
    await hold_against_issuers(
        await admit_page((first, second), database=database, now=START), database=database, now=START
    )
    shown = await peers_work.show(database, liar.domain, now=START)
    assert (
        shown["why"] == "it signed two different statements under one name (relay, 2026-11-22T12:00:00+00:00)"
    )
    assert shown["evidence"].endswith(f"breakwater peers evidence {liar.domain} --json")
    assert await peers_work.show_evidence(database, liar.domain) == {
        "issuer": liar.actor,
        "keys": [{"actor": liar.actor, "id": liar.key_id, "multikey": liar.key.public.to_multikey()}],
        "pairs": [
            {
                "id": body.id,
                "found at": "2026-11-22T12:00:00+00:00",
                "first": first.decode(),
                "second": second.decode(),
            }
        ],
    }


@pytest.mark.parametrize("content", ["", "zz", "ab" * 31, "ab" * 33])
async def test_a_file_without_a_key_changes_nothing(two: Two, tmp_path: Path, content: str) -> None:
    await add(two.ours, two.their_place)
    file = tmp_path / "alerts.key"
    file.write_text(content, encoding="ascii")
    file.chmod(0o600)
    with pytest.raises(AlertKeyError, match="64 hexadecimal digits"):
        await peers_work.set_alerts(
            two.ours.database,
            two.their_domain,
            categories=["spam"],
            new_key=None,
            key_file=file,
            by="mo",
            now=START,
        )
    file.chmod(0o644)
    with pytest.raises(StartupError, match="Others can read"):
        await peers_work.set_alerts(
            two.ours.database,
            two.their_domain,
            categories=["spam"],
            new_key=None,
            key_file=file,
            by="mo",
            now=START,
        )


def agreed(count: int, standing: Standing | None = None) -> Standing:
    standing = standing or Standing(tier=Tier.PROBATION, updated_at=START)
    for _ in range(count):
        standing = weigh(standing, Audited.AGREES, now=START)
    return standing


def test_probation_is_counted_down_in_words() -> None:
    assert explain_standing(agreed(63), now=START) == (
        "On probation: 63 of about 100 audits agreed; nothing is spared yet."
    )
    assert count_missing_agreements(agreed(99)) == 1
    assert agreed(99).tier is Tier.PROBATION
    assert agreed(100).tier is Tier.TRUSTED


def test_every_standing_is_explained() -> None:
    trusted = agreed(100)
    assert explain_standing(trusted, now=START) == (
        "Trusted: its word spares the costly scans, and one in 10 is scanned here all the same. "
        "100 of 100 audits agreed so far."
    )
    assert "until 10 more audits agree" in explain_standing(replace(trusted, scrutiny=10), now=START)
    assert "nothing is spared now" in explain_standing(trusted, now=START + timedelta(days=365))
    ally = replace(trusted, tier=Tier.ALLIED)
    assert explain_standing(ally, now=START).startswith("An ally: its word spares")
    outcast = replace(trusted, tier=Tier.QUARANTINED)
    assert explain_standing(outcast, now=START) == (
        "In quarantine: nothing of it counts. 100 of 100 audits agreed before that."
    )
    assert explain_standing(replace(trusted, tier=Tier.UNKNOWN), now=START) == (
        "Unknown: nothing of it counts."
    )


@pytest.mark.parametrize("tier", Tier)
def test_every_tier_is_explained_with_the_next_step(tier: Tier) -> None:
    peer = Peer(actor="a", domain="peer.example", tier=tier, added_at=START, updated_at=START)
    told = explain_tier(peer)
    assert told.endswith((".", "peer.example"))
    asking = explain_tier(replace(peer, they_follow=Following.ASKED))
    assert ("Waits for you" in asking) == (tier is Tier.UNKNOWN)


@pytest.mark.parametrize("reason", DiscoveryReason)
@pytest.mark.parametrize("failure", [None, *FetchFailure])
def test_every_failure_to_find_a_relay_is_explained(
    reason: DiscoveryReason, failure: FetchFailure | None
) -> None:
    told = explain_discovery(
        DiscoveryFailure(reason=reason, place="https://{x}.example", detail="why {not}", failure=failure)
    )
    assert "https://{x}.example" in told
    assert told.endswith(".")
    if reason is DiscoveryReason.UNREACHABLE and failure is not None:
        assert explain_fetch(failure) in told


def test_how_far_a_follow_has_come_is_explained() -> None:
    letter = Letter(
        id=1,
        actor="a",
        inbox="i",
        kind="Follow",
        body=b"",
        created_at=START,
        due_at=START,
        tries=0,
        reason=None,
    )
    refused = replace(letter, tries=3, reason="refused with status 503")

    def asked(*letters: Letter) -> str:
        return explain_follow(Following.ASKED, letters, is_ours=True)

    assert asked() == "asked, waits for its admin"
    assert asked(letter) == "Follow is on its way"
    assert asked(refused).endswith("try 4 is at 2026-11-22T12:00+00:00")
    assert asked(replace(refused, due_at=None)) == (
        "Follow was given up after 3 tries: refused with status 503; to ask again: breakwater peers add"
    )


def test_what_was_relied_on_is_counted_in_words() -> None:
    assert explain_reliance({}) == "Nothing has been let go on its word."
    assert explain_reliance({"agrees": 12, "disagrees": 1, "not_audited": 200}) == (
        "213 let go on its word: 12 audited, agreed; 1 audited, disagreed; 200 not audited."
    )


def test_the_commands_run_and_say_what_they_lack(dsn: str, tmp_path: Path) -> None:
    config = tmp_path / "breakwater.toml"
    config.write_text(f'[database]\nurl = "{dsn}"\n[server]\ndata_dir = "{tmp_path}"\n', encoding="utf-8")
    place = ("--config", config)
    assert answer("peers", "list", *place) == []
    for words in (("add", "peer.example"), ("approve", "peer.example"), ("remove", "peer.example", "--yes")):
        unreachable = breakwater("peers", *words, *place)
        assert unreachable.exit_code == 2
        assert "Set identity.base_url" in unreachable.stderr
    with config.open("a", encoding="utf-8") as file:
        file.write('[identity]\nbase_url = "https://us.example/breakwater"\n')
    assert "breakwater peers add" in breakwater("peers", "list", *place).output
    for words in (
        ("show", "peer.example"),
        ("evidence", "peer.example"),
        ("approve", "peer.example"),
        ("quarantine", "peer.example", "--reason", "x"),
        ("reinstate", "peer.example"),
        ("alerts", "peer.example", "--off"),
        ("remove", "peer.example", "--yes"),
    ):
        result = breakwater("peers", *words, *place)
        assert result.exit_code == 2
        assert "There is no peer 'peer.example'" in result.stderr
    failed = breakwater("peers", "add", "not a domain", *place)
    assert failed.exit_code == 2
    assert "neither a domain nor the address of an actor" in failed.stderr
    for wrong in (("alerts", "x"), ("alerts", "x", "--off", "--category", "spam"), ("quarantine", "x")):
        assert breakwater("peers", *wrong, *place).exit_code == 2
    kept = breakwater("peers", "remove", "x", *place, typed="n\n")
    assert kept.exit_code == 1


def test_a_peer_that_is_there_is_shown_to_a_person(dsn: str, tmp_path: Path) -> None:
    actor = "https://peer.example/[bold]actor"

    async def store() -> None:
        async with open_database(dsn, min_size=1, max_size=1) as database, database.connection() as conn:
            peer = Peer(
                actor=actor, domain="peer.example", tier=Tier.UNKNOWN, added_at=START, updated_at=START
            )
            await peers.put_peer(conn, peer)

    asyncio.run(store())
    config = tmp_path / "breakwater.toml"
    config.write_text(f'[database]\nurl = "{dsn}"\n[server]\ndata_dir = "{tmp_path}"\n', encoding="utf-8")
    shown = breakwater("peers", "show", "peer.example", "--config", config).output
    assert "Not approved: nothing of it counts" in shown
    assert actor in shown
    assert actor in breakwater("peers", "list", "--config", config).output
    assert breakwater("peers", "evidence", "peer.example", "--config", config).output.startswith("None.")
    quarantined = answer("peers", "quarantine", "peer.example", "--reason", "it lied", "--config", config)
    assert quarantined == {"domain": "peer.example", "tier": "quarantined", "to be scanned again": 0}
    shown = breakwater("peers", "show", "peer.example", "--config", config).output
    assert "it lied" in shown
