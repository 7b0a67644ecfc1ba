"""Meta ThreatExchange, against a server that answers as the Graph API does."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from relay.sources.model import FailureKind, SourceKind
from tests.fediverse.clock import START
from tests.lists_servers import Fault, Indicator
from tests.lists_servers.threatexchange import GROUP, TOKEN
from tests.relay.sources.parts import md5, pdq

if TYPE_CHECKING:
    from tests.lists_servers import ThreatExchangeServer
    from tests.relay.sources.parts import Fetching

LONG_AGO = int(START.timestamp()) - 200 * 86_400


def indicator(number: int, **changes: object) -> Indicator:
    fields = {
        "id": str(10_000_000_000_000_000_000 + number),
        "kind": "HASH_PDQ",
        "value": pdq(str(number)).hex(),
        "at": LONG_AGO + number,
    }
    return Indicator(**{**fields, **changes})  # type: ignore[arg-type]


def listed(*numbers: int) -> set[tuple[str, bytes]]:
    return {("pdq", pdq(str(number))) for number in numbers}


async def add(
    fetching: Fetching,
    server: ThreatExchangeServer,
    *,
    token: str = TOKEN,
    group: str = GROUP,
    tags: tuple[str, ...] = (),
) -> None:
    await fetching.add(
        SourceKind.THREATEXCHANGE,
        server.root,
        credentials=fetching.write(token),
        group=group,
        tags=list(tags),
    )


async def sync(fetching: Fetching) -> None:
    synced = await fetching.sync()
    assert synced.failure is None
    assert synced.is_complete


async def test_all_pages_are_taken_and_what_was_removed_goes(
    fetching: Fetching, threatexchange: ThreatExchangeServer
) -> None:
    await add(fetching, threatexchange)
    threatexchange.put(
        *(indicator(number) for number in range(5)),
        indicator(5, kind="HASH_VIDEO_MD5", value=md5("v").hex()),
        indicator(6, kind="HASH_TMK", value="AAAA"),
    )
    await sync(fetching)
    assert await fetching.listed() == {*listed(*range(5)), ("md5", md5("v"))}
    assert (await fetching.source()).unusable == {"hash_tmk": 1}
    now = int(START.timestamp())
    threatexchange.put(indicator(1, at=now, is_deleted=True), indicator(2, at=now, statuses=()))
    before = len(threatexchange.asked)
    await sync(fetching)
    assert threatexchange.asked[before].query["start_time"] == str(LONG_AGO + 6)
    assert await fetching.listed() == {*listed(0, 3, 4), ("md5", md5("v"))}


async def test_what_everybody_disputes_is_not_listed_and_tags_choose(
    fetching: Fetching, threatexchange: ThreatExchangeServer
) -> None:
    await add(fetching, threatexchange, tags=("wanted",))
    threatexchange.put(
        indicator(1, tags=("wanted",)),
        indicator(2, tags=("other",)),
        indicator(3, tags=("wanted",), statuses=("NON_MALICIOUS",)),
        indicator(4, tags=("wanted",), statuses=("NON_MALICIOUS", "MALICIOUS")),
    )
    await sync(fetching)
    assert await fetching.listed() == listed(1, 4)


async def test_the_access_token_is_kept_nowhere(
    fetching: Fetching, threatexchange: ThreatExchangeServer
) -> None:
    await add(fetching, threatexchange)
    threatexchange.put(*(indicator(number) for number in range(5)))
    threatexchange.faults.extend([None, *[Fault(status=500)] * 3])
    assert (await fetching.sync()).failure is not None
    source = await fetching.source()
    assert source.checkpoint is not None
    assert source.checkpoint["after"]
    assert TOKEN.partition("|")[2] not in json.dumps(source.checkpoint) + str(source.error)
    await sync(fetching)
    assert await fetching.listed() == listed(*range(5))


async def test_after_three_months_away_everything_is_fetched_again(
    fetching: Fetching, threatexchange: ThreatExchangeServer
) -> None:
    await add(fetching, threatexchange)
    threatexchange.put(indicator(1), indicator(2))
    await sync(fetching)
    del threatexchange.indicators[indicator(1).id]
    fetching.clock.advance(timedelta(days=86))
    before = len(threatexchange.asked)
    await sync(fetching)
    assert threatexchange.asked[before].query["start_time"] == "0"
    assert await fetching.listed() == listed(2)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (190, FailureKind.UNAUTHORIZED),
        (10, FailureKind.FORBIDDEN),
        (200, FailureKind.FORBIDDEN),
        (2, FailureKind.UNAVAILABLE),
        (17, FailureKind.RATE_LIMITED),
        (100, FailureKind.REFUSED),
    ],
)
async def test_the_servers_own_words_for_a_failure_are_understood(
    fetching: Fetching, threatexchange: ThreatExchangeServer, code: int, kind: FailureKind
) -> None:
    await add(fetching, threatexchange)
    body = json.dumps({"error": {"message": "No", "type": "OAuthException", "code": code}}).encode()
    threatexchange.faults.extend([Fault(status=400, body=body)] * 3)
    synced = await fetching.sync()
    assert synced.failure is not None
    assert synced.failure.kind is kind


async def test_a_group_that_is_not_ours_is_refused_in_words(
    fetching: Fetching, threatexchange: ThreatExchangeServer
) -> None:
    await add(fetching, threatexchange, group="1")
    synced = await fetching.sync()
    assert synced.failure is not None
    assert synced.failure.kind is FailureKind.FORBIDDEN
    assert "privacy group" in synced.failure.detail
