"""StopNCII.org, against a server that answers as theirs does."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db import list_videos
from relay.sources import taking
from relay.sources.model import FailureKind, SourceKind
from relay.tools.list_shelf import ListShelf
from tests.fediverse.clock import START
from tests.listed_videos import name_of, write_frames
from tests.lists_servers import Fault, Hash
from tests.lists_servers.stopncii import FUNCTION_KEY, SUBSCRIPTION_KEY
from tests.relay.sources.parts import md5, pdq

if TYPE_CHECKING:
    from tests.lists_servers import StopNciiServer
    from tests.relay.sources.parts import Fetching

KEYS = f"x-functions-key: {FUNCTION_KEY}\nOcp-Apim-Subscription-Key: {SUBSCRIPTION_KEY}\n"
LONG_AGO = int(START.timestamp()) - 90 * 86_400


def picture(name: str, at: int = LONG_AGO, status: str = "Active") -> Hash:
    return Hash(kind="ImagePDQ", value=pdq(name).hex(), at=at, status=status)


def listed(*names: str) -> set[tuple[str, bytes]]:
    return {("pdq", pdq(name)) for name in names}


async def add(fetching: Fetching, stopncii: StopNciiServer, keys: str = KEYS) -> None:
    await fetching.add(SourceKind.STOPNCII, stopncii.root, credentials=fetching.write(keys))


async def sync(fetching: Fetching) -> None:
    synced = await fetching.sync()
    assert synced.failure is None
    assert synced.is_complete


async def test_pictures_and_videos_are_taken_and_the_rest_is_counted(
    fetching: Fetching, stopncii: StopNciiServer
) -> None:
    await add(fetching, stopncii)
    stopncii.put(
        picture("a"),
        Hash(kind="VideoMD5", value=md5("v").hex(), at=LONG_AGO + 1),
        Hash(kind="ImagePhotoDNA", value="AAAA", at=LONG_AGO + 2),
        picture("b", LONG_AGO + 3, "Received"),
        picture("gone", LONG_AGO + 4, "Withdrawn"),
    )
    await sync(fetching)
    assert await fetching.listed() == {*listed("a", "b"), ("md5", md5("v"))}
    assert (await fetching.source()).unusable == {"imagephotodna": 1}


async def test_a_video_by_its_frames_is_taken_and_goes_when_it_is_withdrawn(
    fetching: Fetching, stopncii: StopNciiServer
) -> None:
    await add(fetching, stopncii)
    texts = [json.dumps(write_frames([pdq(f"{name}{place}") for place in range(4)])) for name in "vw"]
    videos = [name_of(text) for text in texts]
    stopncii.put(
        *(Hash(kind="VideoVPDQ", value=text, at=LONG_AGO + place) for place, text in enumerate(texts)),
        Hash(kind="VideoVPDQ", value="no video", at=LONG_AGO + 2),
    )
    await sync(fetching)
    assert await fetching.listed() == {("vpdq", one.name) for one in videos}
    assert (await fetching.source()).unusable == {"unreadable": 1}
    (loaded,) = await ListShelf().load(fetching.database, now=START)
    assert {one.frames.tobytes() for one in loaded.videos} == {one.frames for one in videos}
    stopncii.put(Hash(kind="VideoVPDQ", value=texts[0], at=int(START.timestamp()), status="Withdrawn"))
    await sync(fetching)
    (loaded,) = await ListShelf().load(fetching.database, now=START)
    assert [one.id for one in loaded.videos] == [videos[1].name.hex()]
    async with fetching.database.connection() as conn:
        assert await list_videos.count_frames(conn, (await fetching.source()).list_id) == 4


async def test_videos_beyond_what_memory_holds_are_not_taken(
    fetching: Fetching, stopncii: StopNciiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking, "MAX_LIST_FRAMES", 6)
    await add(fetching, stopncii)
    stopncii.page_size = 1
    for number in range(2):
        text = json.dumps(write_frames([pdq(f"{number}{place}") for place in range(4)]))
        stopncii.put(Hash(kind="VideoVPDQ", value=text, at=LONG_AGO + number))
    synced = await fetching.sync()
    assert synced.failure is not None
    assert synced.failure.kind is FailureKind.TOO_LARGE
    assert len(await fetching.listed()) == 1


async def test_what_somebody_withdraws_is_gone_with_the_next_fetch(
    fetching: Fetching, stopncii: StopNciiServer
) -> None:
    await add(fetching, stopncii)
    stopncii.put(picture("a"), picture("b", LONG_AGO + 1), picture("c", LONG_AGO + 2))
    await sync(fetching)
    now = int(START.timestamp())
    stopncii.put(picture("a", now, "Withdrawn"), picture("b", now, "Deleted"))
    before = len(stopncii.asked)
    await sync(fetching)
    assert await fetching.listed() == listed("c")
    # Asked from where the server said, not from the beginning.
    assert stopncii.asked[before].query["startTimestamp"] == str(LONG_AGO + 2)


async def test_after_a_month_away_everything_is_fetched_again_and_the_forgotten_goes(
    fetching: Fetching, stopncii: StopNciiServer
) -> None:
    await add(fetching, stopncii)
    stopncii.put(picture("a"), picture("b", LONG_AGO + 1), picture("c", LONG_AGO + 2))
    await sync(fetching)
    # It was withdrawn while we were away, and even that is forgotten by now.
    del stopncii.hashes["ImagePDQ", pdq("b").hex()]
    fetching.clock.advance(timedelta(days=29))
    await sync(fetching)
    assert await fetching.listed() == listed("a", "b", "c")
    fetching.clock.advance(timedelta(days=31))
    before = len(stopncii.asked)
    await sync(fetching)
    assert stopncii.asked[before].query["startTimestamp"] == "10"
    assert await fetching.listed() == listed("a", "c")


async def test_a_whole_fetch_that_breaks_off_forgets_nothing_before_its_end(
    fetching: Fetching, stopncii: StopNciiServer
) -> None:
    await add(fetching, stopncii)
    stopncii.put(*(picture(name, LONG_AGO + place) for place, name in enumerate("abcde")))
    await sync(fetching)
    fetching.clock.advance(timedelta(days=40))
    del stopncii.hashes["ImagePDQ", pdq("e").hex()]
    stopncii.faults.extend([None, *[Fault(status=500)] * 3])
    assert (await fetching.sync()).failure is not None
    assert await fetching.listed() == listed(*"abcde")
    await sync(fetching)
    assert await fetching.listed() == listed(*"abcd")


async def test_a_page_token_that_was_forgotten_begins_the_round_again(
    fetching: Fetching, stopncii: StopNciiServer
) -> None:
    await add(fetching, stopncii)
    stopncii.put(*(picture(name, LONG_AGO + place) for place, name in enumerate("abc")))
    stopncii.faults.extend([None, *[Fault(status=500)] * 3])
    assert (await fetching.sync()).failure is not None
    stopncii.forgets, stopncii.page_size = True, 10
    await sync(fetching)
    assert await fetching.listed() == listed(*"abc")


@pytest.mark.parametrize(
    "keys",
    [
        KEYS.replace(FUNCTION_KEY, "wrong"),
        KEYS.replace(SUBSCRIPTION_KEY, "wrong"),
    ],
    ids=["function", "subscription"],
)
async def test_either_wrong_key_is_a_refusal(fetching: Fetching, stopncii: StopNciiServer, keys: str) -> None:
    await add(fetching, stopncii, keys)
    synced = await fetching.sync()
    assert synced.failure is not None
    assert synced.failure.kind is FailureKind.UNAUTHORIZED


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{}",
        b'{"hashRecords": [], "hasMoreRecords": true, "nextPageToken": null}',
        b'{"hashRecords": [], "hasMoreRecords": false}',
        b'{"hashRecords": [{"signalType": "ImagePDQ"}], "hasMoreRecords": false, "nextSetTimestamp": 5}',
        b'{"hashRecords": [], "hasMoreRecords": false, "nextSetTimestamp": "soon"}',
        b'{"hashRecords": [], "hashRecords": [], "hasMoreRecords": false, "nextSetTimestamp": 5}',
    ],
)
async def test_what_is_no_answer_changes_nothing(
    fetching: Fetching, stopncii: StopNciiServer, body: bytes
) -> None:
    await add(fetching, stopncii)
    stopncii.faults.append(Fault(body=body))
    synced = await fetching.sync()
    assert synced.failure is not None
    assert synced.failure.kind is FailureKind.MALFORMED
    assert (await fetching.source()).checkpoint is None
