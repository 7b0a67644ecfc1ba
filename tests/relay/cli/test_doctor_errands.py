"""`breakwater doctor` on what is done on the server, and on the uploads door."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from db import errands
from db.errands import ErrandKind, ErrandState
from relay.cli import doctor_errands
from relay.cli.diagnosis import Diagnosis, Finding
from relay.cli.doctor_errands import check_acting, check_errands, check_uploads
from relay.config import load_settings
from tests.db.builders import LEASE, NOW

if TYPE_CHECKING:
    from db.pool import Database
    from relay.config import Settings


def settings_of(**given: Any) -> Settings:
    return load_settings(None, {}, {name.replace("__", "."): value for name, value in given.items()})


def with_uploads(**given: Any) -> Settings:
    usual = {
        "uploads__enabled": True,
        "uploads__secret": "s",
        "backend__url": "http://127.0.0.1:3000",
        "backend__software": "mastodon",
    }
    return settings_of(**{**usual, **given})


def said(found: list[Diagnosis]) -> str:
    return "\n".join(f"{one.finding.value}: {one.detail} / {one.remedy}" for one in found)


async def test_what_failed_is_counted_and_nothing_is_said_of_what_did_not(database: Database) -> None:
    async with database.connection() as conn:
        for number in range(2):
            await errands.add(conn, kind=ErrandKind.REPORT, subject=str(number), now=NOW)
        claimed = await errands.claim(conn, worker="w", lease=LEASE, now=NOW)
        assert claimed is not None
        assert await check_errands(conn) == []
        await errands.finish(conn, claimed.id, worker="w", to=ErrandState.FAILED, now=NOW)
        (one,) = await check_errands(conn)
    assert one.finding is Finding.PROBLEM
    assert one.detail.startswith("1 errands failed")
    assert "breakwater errands" in one.remedy


ACTS = {"policy__spam__act": "remove"}
TOKEN = {"backend__url": "http://127.0.0.1:3000", "backend__token": "t"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ""),
        (ACTS, "no API to act through"),
        ({**ACTS, **TOKEN, "backend__software": "mastodon"}, "posts are reported"),
        ({**ACTS, **TOKEN, "backend__software": "lemmy"}, ""),
        ({**ACTS, **TOKEN, "backend__software": "snac"}, "no API to act through"),
        ({**ACTS, **TOKEN, "backend__software": "lemmy", "policy__spam__media": "release"}, "is released"),
    ],
    ids=["nothing wanted", "no token", "no removal there", "all is well", "an unknown API", "released"],
)
async def test_what_the_policy_wants_and_nobody_does_is_named(given: dict[str, Any], expected: str) -> None:
    text = said(await check_acting(settings_of(**given)))
    assert bool(text) is bool(expected)
    assert expected in text


async def test_a_closed_door_is_not_checked() -> None:
    assert await check_uploads(settings_of()) == []


async def test_an_open_door_says_where_mastodon_posts_and_what_it_cannot_do() -> None:
    settings = with_uploads(
        identity__base_url="https://social.example/breakwater", uploads__media_hosts=["93.184.215.14"]
    )
    text = said(await check_uploads(settings))
    assert "https://social.example/breakwater/webhooks/mastodon" in text
    assert "cannot be held back" in text
    assert "ok: media are fetched from 93.184.215.14" in text
    assert Finding.PROBLEM.value not in text


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"uploads__media_hosts": ["10.0.0.5"]}, "Name `10.0.0.5:443` in fetch.allow_private"),
        ({"identity__domain": "127.0.0.1"}, "Name `127.0.0.1:443` in fetch.allow_private"),
        ({"uploads__media_hosts": ["a b"]}, "is no name of a host"),
        ({"uploads__media_hosts": ["files.invalid"]}, "has no address"),
        (
            {"uploads__media_hosts": ["93.184.215.14"], "backend__software": "lemmy"},
            "only Mastodon has this webhook",
        ),
    ],
    ids=["private", "the domain itself", "malformed", "unknown", "another server"],
)
async def test_what_keeps_uploads_from_being_examined_is_named_with_its_remedy(
    given: dict[str, Any], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(host: str) -> list[str]:
        return [] if host == "files.invalid" else [host]

    monkeypatch.setattr(doctor_errands, "_resolve", resolve)
    text = said(await check_uploads(with_uploads(**given)))
    assert "problem: " in text
    assert expected in text


async def test_a_private_host_that_the_admin_named_may_be_fetched_from() -> None:
    settings = with_uploads(uploads__media_hosts=["10.0.0.5"], fetch__allow_private=["10.0.0.5:443"])
    assert "ok: media are fetched from 10.0.0.5" in said(await check_uploads(settings))
