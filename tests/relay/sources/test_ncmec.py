"""NCMEC Hash Sharing, version 2, against a server that answers as NCMEC's do."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import hashlists
from relay.sources.model import FailureKind, SourceKind
from relay.sources.run import SyncOptions
from tests.fediverse.clock import START
from tests.lists_servers import Entry, Fault
from tests.lists_servers.ncmec import LOGIN
from tests.relay.sources.parts import NAME, md5, pdq

if TYPE_CHECKING:
    from datetime import datetime

    from relay.sources.run import Synced
    from tests.lists_servers import NcmecServer
    from tests.relay.sources.parts import Fetching

HOUR = timedelta(hours=1)
BEFORE = START - 30 * HOUR


def entry(name: str, at: datetime = BEFORE, **hashes: str) -> Entry:
    return Entry(id=name, at=at, hashes=hashes or {"md5": md5(name).hex()})


async def add(fetching: Fetching, ncmec: NcmecServer) -> int:
    return await fetching.add(SourceKind.NCMEC, ncmec.root, credentials=fetching.write(LOGIN))


def listed(*names: str) -> set[tuple[str, bytes]]:
    return {("md5", md5(name)) for name in names}


async def sync_until_done(fetching: Fetching) -> Synced:
    synced = await fetching.sync()
    assert synced.failure is None
    assert synced.is_complete
    return synced


async def test_all_pages_are_taken_and_what_cannot_be_used_is_counted(
    fetching: Fetching, ncmec: NcmecServer
) -> None:
    await add(fetching, ncmec)
    ncmec.put(
        entry("a", md5=md5("a").hex(), sha1=(md5("a") + b"1234").hex(), pdna="1,2,3"),
        entry("b", pdq=pdq("b").hex()),
        entry("c", pdna="1,2,3", pdq="0" * 64),
        Entry(id="v", at=BEFORE, kind="video", hashes={"md5": md5("v").hex(), "videntifier": ""}),
        entry("e"),
    )
    synced = await sync_until_done(fetching)
    assert await fetching.listed() == {
        *listed("a", "v", "e"),
        ("sha1", md5("a") + b"1234"),
        ("pdq", pdq("b")),
    }
    assert (synced.pages, synced.records, synced.changed.added) == (3, 5, 5)
    # A PDQ hash without a bit set is a placeholder, and no picture has it.
    assert (await fetching.source()).unusable == {"pdna": 2, "unreadable": 1, "videntifier": 1}


async def test_a_round_begins_where_the_newest_entry_of_the_last_one_was(
    fetching: Fetching, ncmec: NcmecServer
) -> None:
    await add(fetching, ncmec)
    # The newest stands on the first page, because pages are not in the order of time.
    ncmec.put(entry("a", START - HOUR), entry("b", START - 9 * HOUR), entry("c", START - 5 * HOUR))
    await sync_until_done(fetching)
    assert {asked.query["to"] for asked in ncmec.asked} == {"2026-11-22T12:00:00Z"}
    assert ncmec.asked[0].query["from"] == "1970-01-01T00:00:00Z"
    fetching.clock.advance(HOUR)
    ncmec.put(entry("d", START + HOUR / 2))
    before = len(ncmec.asked)
    synced = await sync_until_done(fetching)
    # Ten minutes are asked for again, for what was being written then.
    assert ncmec.asked[before].query["from"] == "2026-11-22T10:50:00Z"
    assert (synced.records, synced.changed.added) == (2, 1)
    assert await fetching.listed() == listed("a", "b", "c", "d")


async def test_a_fetch_that_breaks_off_goes_on_at_its_page_and_skips_nothing(
    fetching: Fetching, ncmec: NcmecServer
) -> None:
    await add(fetching, ncmec)
    ncmec.put(*(entry(name) for name in "abcdefg"))
    # Three tries of the second page fail.
    ncmec.faults.extend([None, *[Fault(status=503, body=b"<html>")] * 3])
    synced = await fetching.sync()
    assert synced.failure is not None
    assert synced.failure.kind is FailureKind.UNAVAILABLE
    # What came before is in use already.
    assert await fetching.listed() == listed("a", "b")
    source = await fetching.source()
    assert (source.tries, source.error_kind, source.synced_at) == (1, "unavailable", None)
    assert timedelta() < source.due_at - fetching.clock.now() <= timedelta(minutes=1)
    before = len(ncmec.asked)
    fetching.clock.advance(HOUR)
    ncmec.put(entry("late", START + HOUR / 2))
    await sync_until_done(fetching)
    assert ncmec.asked[before].query["start"] == "2"
    # The interrupted round ends at the time for which it was begun.
    assert {asked.query["to"] for asked in ncmec.asked} == {"2026-11-22T12:00:00Z"}
    assert await fetching.listed() == listed(*"abcdefg")
    await sync_until_done(fetching)
    assert await fetching.listed() == listed(*"abcdefg", "late")


async def test_one_refusal_in_passing_is_asked_again_at_once(fetching: Fetching, ncmec: NcmecServer) -> None:
    await add(fetching, ncmec)
    ncmec.put(*(entry(name) for name in "abc"))
    ncmec.faults.extend([Fault(status=502), None, Fault(breaks_off=True)])
    await sync_until_done(fetching)
    assert await fetching.listed() == listed(*"abc")


async def test_a_stop_between_two_pages_loses_nothing(fetching: Fetching, ncmec: NcmecServer) -> None:
    await add(fetching, ncmec)
    ncmec.put(*(entry(name) for name in "abcde"))
    stop = asyncio.Event()

    def stop_now(_records: int, _total: int | None) -> None:
        stop.set()

    synced = await fetching.sync(stop=stop, options=SyncOptions(on_page=stop_now))
    assert (synced.pages, synced.is_complete, synced.failure) == (1, False, None)
    assert await fetching.listed() == listed("a", "b")
    source = await fetching.source()
    assert (source.synced_at, source.due_at) == (None, fetching.clock.now())
    await sync_until_done(fetching)
    assert ncmec.asked[1].query["start"] == "2"
    assert await fetching.listed() == listed(*"abcde")


async def test_an_entry_that_is_taken_back_is_gone_with_the_next_fetch(
    fetching: Fetching, ncmec: NcmecServer
) -> None:
    await add(fetching, ncmec)
    shared = md5("shared").hex()
    ncmec.put(entry("a", md5=shared), entry("b", md5=shared), entry("c"))
    await sync_until_done(fetching)
    fetching.clock.advance(HOUR)
    # A tombstone has no hashes: which they were, only we can know.
    now = fetching.clock.now()
    ncmec.put(Entry(id="c", at=now, is_deleted=True), Entry(id="a", at=now, is_deleted=True))
    synced = await sync_until_done(fetching)
    assert synced.changed.removed == 1
    assert await fetching.listed() == listed("shared")


async def test_an_entry_that_changed_has_only_its_new_hashes(fetching: Fetching, ncmec: NcmecServer) -> None:
    await add(fetching, ncmec)
    ncmec.put(entry("a", md5=md5("old").hex()))
    await sync_until_done(fetching)
    fetching.clock.advance(HOUR)
    ncmec.put(entry("a", fetching.clock.now(), md5=md5("new").hex()))
    await sync_until_done(fetching)
    assert await fetching.listed() == listed("new")


async def test_a_cursor_that_was_forgotten_begins_the_round_again(
    fetching: Fetching, ncmec: NcmecServer
) -> None:
    await add(fetching, ncmec)
    ncmec.put(*(entry(name) for name in "abc"))
    ncmec.faults.extend([None, *[Fault(status=503)] * 3])
    await fetching.sync()
    ncmec.forgets = True
    ncmec.page_size = 10
    await sync_until_done(fetching)
    assert await fetching.listed() == listed(*"abc")


async def test_pages_that_go_round_in_a_circle_come_to_an_end(fetching: Fetching, ncmec: NcmecServer) -> None:
    await add(fetching, ncmec)
    page = (
        '<queryResult xmlns="https://hashsharing.ncmec.org/hashsharing/v2">'
        "<paging><next>/v2/entries?from=a&amp;to=b&amp;start=2&amp;size=2&amp;max=9</next></paging></queryResult>"
    )
    ncmec.faults.extend([Fault(body=page.encode())] * 2)
    synced = await fetching.sync()
    assert synced.failure is not None
    assert synced.failure.kind is FailureKind.LOOP
    # The next run does not go on in the circle.
    ncmec.put(entry("a"))
    await sync_until_done(fetching)
    assert await fetching.listed() == listed("a")


@pytest.mark.parametrize(
    "following",
    [
        "https://elsewhere.example/v2/entries?start=2",
        "//elsewhere.example/v2/entries?start=2",
        "/v2/entries/../../admin",
        "/v2/members?start=2",
        "@elsewhere.example/v2/entries",
        "/v2/entries?start=" + "9" * 3_000,
    ],
)
async def test_credentials_follow_no_page_that_lies_elsewhere(
    fetching: Fetching, ncmec: NcmecServer, following: str
) -> None:
    await add(fetching, ncmec)
    page = f"<queryResult><paging><next>{following}</next></paging></queryResult>"
    ncmec.faults.append(Fault(body=page.encode()))
    synced = await fetching.sync()
    assert synced.failure is not None
    assert synced.failure.kind is FailureKind.MALFORMED
    assert len(ncmec.asked) == 1


async def test_a_redirect_is_not_followed(fetching: Fetching, ncmec: NcmecServer) -> None:
    await add(fetching, ncmec)
    ncmec.faults.append(Fault(status=302, headers={"Location": f"{ncmec.origin}/elsewhere"}))
    synced = await fetching.sync()
    assert synced.failure is not None
    assert synced.failure.kind is FailureKind.REFUSED
    assert len(ncmec.asked) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not xml",
        b"<queryResult><images>",
        b"<other/>",
        b'<!DOCTYPE q [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><queryResult>&b;</queryResult>',
        b'<!DOCTYPE q SYSTEM "file:///etc/passwd"><queryResult/>',
        b"<queryResult>" + b"<a>" * 40 + b"</a>" * 40 + b"</queryResult>",
        b"<queryResult><images><image><id>x</id></image></images></queryResult>",
        b"<queryResult><images><sound/></images></queryResult>",
        b"\xff\xfe<\x00q\x00/\x00",
        b"<queryResult><images/>" + b"<a/>" * 200_001 + b"</queryResult>",
    ],
    ids=["nothing", "text", "torn", "other", "entities", "external", "deep", "bare", "kind", "utf16", "many"],
)
async def test_what_is_no_answer_changes_nothing(fetching: Fetching, ncmec: NcmecServer, body: bytes) -> None:
    await add(fetching, ncmec)
    ncmec.put(entry("a"))
    await sync_until_done(fetching)
    before = (await fetching.source()).checkpoint
    ncmec.faults.append(Fault(body=body))
    synced = await fetching.sync()
    assert synced.failure is not None
    assert synced.failure.kind is FailureKind.MALFORMED
    assert "passwd" not in synced.failure.detail
    assert await fetching.listed() == listed("a")
    assert (await fetching.source()).checkpoint == before


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(status=401), FailureKind.UNAUTHORIZED),
        (Fault(status=403), FailureKind.FORBIDDEN),
        (Fault(status=404), FailureKind.NOT_FOUND),
        (Fault(status=429, headers={"Retry-After": "7200"}), FailureKind.RATE_LIMITED),
        (Fault(body=b"<q/>", headers={"Content-Encoding": "gzip"}), FailureKind.MALFORMED),
    ],
)
async def test_a_refusal_is_said_in_words_and_asked_again_later(
    fetching: Fetching, ncmec: NcmecServer, fault: Fault, kind: FailureKind
) -> None:
    await add(fetching, ncmec)
    ncmec.faults.append(fault)
    synced = await fetching.sync()
    assert synced.failure is not None
    assert synced.failure.kind is kind
    assert len(ncmec.asked) == 1
    source = await fetching.source()
    assert source.error_kind == kind.value
    assert source.error is not None
    assert "secret" not in source.error
    wait = source.due_at - fetching.clock.now()
    assert wait >= timedelta(hours=2 if kind is FailureKind.RATE_LIMITED else 1)


async def test_wrong_credentials_are_recognised_by_an_empty_401(
    fetching: Fetching, ncmec: NcmecServer
) -> None:
    await fetching.add(SourceKind.NCMEC, ncmec.root, credentials=fetching.write("member:wrong"))
    synced = await fetching.sync()
    assert synced.failure is not None
    assert synced.failure.kind is FailureKind.UNAUTHORIZED


async def test_the_classification_stays_with_the_hash(fetching: Fetching, ncmec: NcmecServer) -> None:
    list_id = await add(fetching, ncmec)
    ncmec.put(Entry(id="one", at=BEFORE, hashes={"md5": md5("one").hex()}, classification="B2"))
    await sync_until_done(fetching)
    async with fetching.database.connection() as conn:
        assert await hashlists.find_label(conn, list_id, "md5", md5("one")) == "B2 42:one"


async def test_a_list_of_abuse_material_waits_for_the_answers(fetching: Fetching, ncmec: NcmecServer) -> None:
    await fetching.add(SourceKind.NCMEC, ncmec.root, credentials=fetching.write(LOGIN), category="csam-known")
    tools = fetching.tools(legal_problems=("legal.jurisdiction is not set: say the country.",))
    synced = await fetching.sync(tools=tools)
    assert synced.failure is not None
    assert synced.failure.kind is FailureKind.LEGAL
    assert "legal.jurisdiction" in synced.failure.detail
    assert ncmec.asked == []


async def test_all_relays_are_told_once_when_a_fetch_changed_a_list(
    fetching: Fetching, ncmec: NcmecServer
) -> None:
    await add(fetching, ncmec)
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        listening = group.create_task(fetching.database.listen(hashlists.CHANNEL, heard.put_nowait))
        assert await heard.get() == ""  # Said when listening begins, for what came before.
        ncmec.put(*(entry(name) for name in "abcde"))
        await sync_until_done(fetching)
        await sync_until_done(fetching)
        async with fetching.database.transaction() as conn:
            await hashlists.withdraw_list(conn, NAME, at=START)
        assert [await heard.get(), await heard.get()] == [NAME, NAME]
        assert heard.empty()
        listening.cancel()
