"""What is new about media raises how often it is audited, by a little, and never lowers it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db import acquaintances
from relay.exchange.risk import MAX_RISK, NEW_FOR, Unusual, decide_risk, find_unusual
from tests.fediverse.clock import START

if TYPE_CHECKING:
    from datetime import datetime

    from db.pool import Database

ALICE = "https://social.example/users/alice"
PLACE = "https://files.social.example/1.png"
PEER = "https://relay.alpha.example/actor"


async def _find(
    database: Database,
    *,
    author: str | None = ALICE,
    url: str = PLACE,
    issuer: str = PEER,
    media_type: str = "image/png",
    now: datetime = START,
) -> Unusual:
    async with database.transaction() as conn:
        return await find_unusual(conn, author=author, url=url, issuer=issuer, media_type=media_type, now=now)


@given(author=st.booleans(), domain=st.booleans(), kind=st.booleans())
def test_each_thing_that_is_new_adds_to_the_risk_and_all_together_stay_below_their_bound(
    *, author: bool, domain: bool, kind: bool
) -> None:
    risk = decide_risk(Unusual(author=author, domain=domain, kind=kind))
    assert 0.0 <= risk <= MAX_RISK < 0.5
    assert (risk == 0.0) == (not (author or domain or kind))
    assert decide_risk(Unusual(author=True, domain=domain, kind=kind)) >= risk
    assert decide_risk(Unusual(author=author, domain=True, kind=kind)) >= risk
    assert decide_risk(Unusual(author=author, domain=domain, kind=True)) >= risk


async def test_all_is_new_for_a_day_after_it_was_first_met(database: Database) -> None:
    everything = Unusual(author=True, domain=True, kind=True)
    assert await _find(database) == everything
    assert await _find(database, now=START + NEW_FOR - timedelta(seconds=1)) == everything
    assert await _find(database, now=START + NEW_FOR) == Unusual()


@pytest.mark.parametrize(
    ("change", "unusual"),
    [
        ({"author": "https://social.example/users/bob"}, Unusual(author=True)),
        ({"author": None}, Unusual()),
        ({"url": "https://elsewhere.example/1.png"}, Unusual(domain=True)),
        ({"url": "https://other.social.example/1.png"}, Unusual()),
        ({"url": ""}, Unusual()),
        ({"media_type": "video/mp4"}, Unusual(kind=True)),
        ({"issuer": "https://relay.omega.example/actor"}, Unusual(kind=True)),
    ],
)
async def test_what_is_known_is_told_from_what_is_new(
    change: dict[str, str], unusual: Unusual, database: Database
) -> None:
    await _find(database)
    later = START + NEW_FOR
    assert await _find(database, now=later, **change) == unusual  # type: ignore[arg-type]  # the test names them


async def test_who_stayed_away_for_a_season_is_new_again(database: Database) -> None:
    await _find(database)
    away = START + timedelta(days=90)
    await _find(database, now=away, author=None, url="")
    async with database.connection() as conn:
        assert await acquaintances.purge_acquaintances(conn, before=away, limit=10) == 2
    assert await _find(database, now=away) == Unusual(author=True, domain=True)


async def test_no_name_is_kept_that_anybody_could_read(database: Database) -> None:
    await _find(database)
    async with database.connection() as conn:
        rows = await conn.fetch("SELECT * FROM acquaintances")
    assert len(rows) == 3
    assert not any("alice" in str(dict(row)) or "social" in str(dict(row)) for row in rows)
