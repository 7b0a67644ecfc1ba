"""What others may try, to have something let go unseen, to censor, or to learn what our people look at.

The rows of the table of attacks; those that other tests hold in full are only touched here: answers that tell
nothing, and media that not everybody may see, in `test_secrets`; a stolen key in `test_taking_back`; relays
that sign without looking in `test_lazy_signers`.
"""

from __future__ import annotations

import hashlib
import io
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from db import alerts
from db.cases import CaseState
from db.peers import Peer, Tier
from relay.cli.peers_view import export_evidence
from relay.exchange.alerts import warn_of_ruling
from relay.exchange.intake import Rejected, admit
from relay.exchange.standings import MAX_STATE_AGE, Word, count_groups
from relay.exchange.tiers import set_alerts
from relay.lifecycle import State
from relay.trust import Audited, Standing, is_relied_on, weigh
from scanner.perceptual import hash_picture
from signatures.alert import seal_digest
from signatures.digests import digest_multibase
from signatures.fields import ATTESTATION_HEADER, build_attestation_field
from signatures.objects import build_signed_object
from signatures.times import format_json_time, parse_json_time
from tests.e2e.acting import rule_inside
from tests.e2e.exchange.instance import ADMIN, befriend, open_instances, put_inline
from tests.e2e.world import wait_until
from tests.fediverse import behaviours as do
from tests.fediverse import shapes
from tests.fediverse.clock import START
from tests.images import encode, marker, reference_rgb

if TYPE_CHECKING:
    from tests.e2e.exchange.conftest import MakeDatabases, Trio
    from tests.e2e.exchange.instance import Instance
    from tests.e2e.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

_ALERT_KEY = bytes(range(32))


def draw(number: int) -> bytes:
    return encode(marker(number), "PNG")


def sign_anew(signer: Instance, members: dict[str, Any]) -> bytes:
    """Sign whatever one likes with a relay's own key, as a relay that lies does."""
    return build_signed_object(
        members,
        key=signer.identity.signing_key,
        verification_method=signer.identity.verification_method,
        created=parse_json_time(members["published"]),
    )


async def read_members(signer: Instance, name: str, picture: bytes) -> dict[str, Any]:
    """Have a picture attested, and return what stands in the attestation."""
    await signer.attest(name, picture)
    stored = await signer.scene.find_attestation(picture)
    assert stored is not None
    document = json.loads(stored.object)
    return {name: value for name, value in document.items() if name not in {"@context", "proof"}}


async def show(sender: Instance, to: Instance, picture: bytes, attestation: bytes) -> None:
    """Let a post arrive that carries a picture, and an attestation beside it."""
    digest = hashlib.sha256(picture).hexdigest()
    kind = Image.MIME[Image.open(io.BytesIO(picture)).format or ""]
    url = sender.server.serve_media(f"/raw/{digest}", picture, kind)
    activity = shapes.create(sender.alice, shapes.mastodon_note(sender.alice, [url], media_type=kind))
    put_inline(activity, attestation)
    assert (await to.receive_activity(sender, activity)).state is State.FORWARDED


def copy_same_looks(picture: bytes) -> bytes:
    return encode(Image.open(io.BytesIO(picture)), "PNG", compress_level=1)


def copy_as_jpeg(picture: bytes) -> bytes:
    return encode(Image.open(io.BytesIO(picture)), "JPEG", quality=90)


def copy_smaller(picture: bytes) -> bytes:
    image = Image.open(io.BytesIO(picture))
    return encode(image.resize((image.width // 2, image.height // 2)), "PNG")


@pytest.mark.parametrize("copy", [copy_same_looks, copy_as_jpeg, copy_smaller])
async def test_what_looks_like_attested_media_inherits_nothing_from_it(copy: Any, trio: Trio) -> None:
    a, b, _ = trio
    original = draw(2001)
    copied = copy(original)
    assert copied != original
    if copy is copy_same_looks:
        assert hash_picture(reference_rgb(original)) == hash_picture(reference_rgb(copied))
    await a.attest("original.png", original)
    stored = await a.scene.find_attestation(original)
    assert stored is not None

    await show(a, b, copied, stored.object)

    assert b.model.count(copied) == 1


async def test_other_bytes_than_were_attested_are_scanned_and_accuse_nobody(trio: Trio) -> None:
    a, b, _ = trio
    shown, others_see = draw(2011), draw(2012)
    await a.attest("shown.png", shown)
    stored = await a.scene.find_attestation(shown)
    assert stored is not None
    headers = {ATTESTATION_HEADER: build_attestation_field(stored.object)}
    url = a.server.on(
        "/raw/cloaked.png",
        do.by_user_agent(
            "breakwater", do.serve(others_see, "image/png", headers=headers), do.serve(shown, "image/png")
        ),
    )
    before = await b.find_standing(a)

    await b.receive(a, url)

    fetched = [one for one in (shown, others_see) if b.model.count(one)]
    assert fetched == [others_see]
    assert await b.find_standing(a) == before


# What an attestation of the sender's own, truly signed, says in each case, given the time.
UNTENABLE: dict[str, Any] = {
    "copied_and_not_scanned": lambda _now: {"basis": "copied"},
    "something_else_than_no_match": lambda _now: {"verdict": "clean"},
    "looked_at_in_part": lambda _now: {"coverage": "sampled"},
    "ended": lambda now: {
        "published": format_json_time(now - timedelta(days=2)),
        "endTime": format_json_time(now - timedelta(days=1)),
    },
    "not_issued_yet": lambda now: {
        "published": format_json_time(now + timedelta(hours=1)),
        "endTime": format_json_time(now + timedelta(days=1)),
    },
    "for_ever": lambda now: {"endTime": format_json_time(now + timedelta(days=365))},
    "by_lists_of_last_season": lambda now: {"stale": now - MAX_STATE_AGE - timedelta(days=1)},
    "about_another_policy": lambda _now: {"profile": "another"},
    "of_another_size": lambda _now: {"size": 1},
    "of_another_type": lambda _now: {"mediaType": "image/jpeg"},
}


@pytest.mark.parametrize("name", ["as_it_is", *UNTENABLE])
async def test_a_word_spares_a_scan_only_if_all_of_it_holds(name: str, trio: Trio) -> None:
    a, b, _ = trio
    number = 2100 + ["as_it_is", *UNTENABLE].index(name)
    picture = draw(number)
    members = await read_members(a, f"base-{name}.png", draw(number + 100))
    members["id"] += "X"
    members["media"] |= {"digestMultibase": digest_multibase(hashlib.sha256(picture).digest())}
    members["media"]["size"] = len(picture)
    changes = {} if name == "as_it_is" else UNTENABLE[name](a.clock.now().replace(microsecond=0))
    for member, value in changes.items():
        if member in {"size", "mediaType"}:
            members["media"][member] = value
        elif member == "stale":
            members["state"]["asOf"] = format_json_time(value)
        elif member == "profile":
            members["profile"] = f"{members['profile']}-{value}"
        else:
            members[member] = value

    await show(a, b, picture, sign_anew(a, members))

    assert b.model.count(picture) == (0 if name == "as_it_is" else 1)


async def test_nobody_speaks_in_the_name_of_another(trio: Trio) -> None:
    a, b, c = trio
    picture = draw(2301)
    members = await read_members(a, "whose.png", draw(2302))
    members["id"] += "X"
    members["media"] |= {
        "digestMultibase": digest_multibase(hashlib.sha256(picture).digest()),
        "size": len(picture),
    }
    # C signs; first as A with its own key, then all in its own name, which B never approved.
    forged = sign_anew(c, members)
    own = sign_anew(c, {**members, "attributedTo": c.actor, "id": f"{c.identity.base_url}/attestations/1"})
    for attestation in (forged, own):
        found = await admit(attestation, database=b.scene.database, now=b.clock.now(), allow_http=True)
        assert isinstance(found, Rejected)

    await show(a, b, picture, forged)

    assert b.model.count(picture) == 1


async def test_of_two_stories_about_the_same_bytes_both_are_kept_as_they_were_signed(trio: Trio) -> None:
    a, b, _ = trio
    picture = draw(2401)
    members = await read_members(a, "stories.png", picture)
    await b.receive(a, a.url_of("stories.png"))
    other = sign_anew(a, {**members, "id": f"{members['id']}X", "salt": "u" + "A" * 22})
    await show(a, b, picture, other)
    stored = await a.scene.find_attestation(picture)
    assert stored is not None

    kept = {one.object for one in await b.list_mirrored(picture)}
    assert kept == {stored.object, other}


async def test_two_stories_under_one_name_are_kept_as_proof_and_end_all_trust(
    world: World, make_databases: MakeDatabases
) -> None:
    async with open_instances(world, await make_databases(2)) as (a, b):
        await befriend(b, a)
        await b.trust(a)
        picture = draw(2411)
        members = await read_members(a, "stories.png", picture)
        stored = await a.scene.find_attestation(picture)
        assert stored is not None
        await show(a, b, picture, stored.object)
        assert b.model.count(picture) == 0

        # What it tells another under the same name.
        changed = sign_anew(a, {**members, "salt": "u" + "B" * 21 + "A"})
        await show(a, b, picture, changed)

        assert (await b.find_peer(a)).tier is Tier.QUARANTINED
        async with b.scene.database.connection() as conn:
            evidence = await export_evidence(conn, await b.find_peer(a))
        (pair,) = evidence["pairs"]
        assert (pair["first"].encode(), pair["second"].encode()) == (stored.object, changed)
        # What was let go on its word is looked at after all.
        await wait_until(lambda: _is_counted(b, picture), "a scan of its own")


async def _is_counted(instance: Instance, picture: bytes) -> bool | None:
    return True if instance.model.count(picture) else None


async def test_a_false_alert_hides_media_only_until_our_own_moderator_has_ruled(
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
                key=_ALERT_KEY,
                by=ADMIN,
                now=one.clock.now(),
            )
        picture = draw(2501)
        digest = hashlib.sha256(picture).digest()
        async with a.scene.database.transaction() as conn:
            told = await warn_of_ruling(conn, digest, category="spam", basis="human", now=a.clock.now())
        assert told == 1
        await _wait_for_alert(b, seal_digest(digest, key=_ALERT_KEY))

        stored = await b.receive(a, a.serve("harmless.png", picture))

        assert stored.state is State.HELD
        # It was scanned here all the same, and the person who rules is told on what the case rests.
        assert b.model.count(picture) == 1
        (case,) = await b.scene.cases_of(stored)
        assert (case.basis, case.category) == ("peer", "spam")
        await rule_inside(b.scene, case.id, CaseState.RELEASED)
        activity = json.loads(stored.body)
        assert (await b.scene.wait_for_state(activity, State.FORWARDED)).state is State.FORWARDED
        # The ruling stands for good, whatever they say.
        assert (await b.receive(a, a.url_of("harmless.png"))).state is State.FORWARDED


async def _wait_for_alert(instance: Instance, mac: bytes) -> None:
    async def find() -> bool | None:
        async with instance.scene.database.connection() as conn:
            return True if await alerts.find_alerts(conn, [mac]) else None

    await wait_until(find, "an alert")


async def test_peers_that_have_earned_nothing_spare_nothing_however_many_they_are(
    world: World, make_databases: MakeDatabases
) -> None:
    async with open_instances(world, await make_databases(3)) as (a, b, c):
        for one in (a, b):
            await befriend(c, one)
        picture = draw(2601)
        first, second = await a.attest("x.png", picture), await b.attest("x.png", picture)

        for sender, url in ((a, first), (b, second)):
            assert (await c.receive(sender, url)).state is State.FORWARDED

        assert c.model.count(picture) == 1
        # What its own scan confirms is how they begin to earn it.
        assert (await c.find_standing(a)).agreements == 1
        assert (await c.find_peer(a)).tier is Tier.PROBATION


async def test_a_hundred_audits_have_to_hold_before_a_word_counts() -> None:
    now = START
    standing = Standing(tier=Tier.PROBATION, updated_at=now)
    earned_after = 0
    while not is_relied_on(standing, now=now):
        standing = weigh(standing, Audited.AGREES, now=now)
        earned_after += 1
    assert earned_after == 100


async def test_relays_of_one_operator_are_one_voice() -> None:
    now = START
    trusted = Standing(tier=Tier.TRUSTED, updated_at=now, credit=200.0)
    groups = ("one.example", "one.example", "one.example", "two.example")
    words = [
        Word(
            attestation=None,  # type: ignore[arg-type]  # only who speaks is counted
            peer=Peer(
                actor=f"https://{number}.{group}/actor",
                domain=f"{number}.{group}",
                tier=Tier.TRUSTED,
                added_at=now,
                updated_at=now,
                trust_group=group,
            ),
            standing=trusted,
        )
        for number, group in enumerate(groups)
    ]
    assert count_groups(words) == 2
