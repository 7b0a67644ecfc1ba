"""`breakwater doctor` on the backend: what its token may do, and what the doors cover."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from relay.backends.coverage import GatewayMode
from relay.backends.places import Place
from relay.cli.diagnosis import Diagnosis, Finding
from relay.cli.doctor_backend import check_coverage, check_gateway, check_token, find_open_doors
from relay.config import load_settings
from relay.errors import StartupError
from relay.tools.authority import create_authority, load_or_create_authority
from tests.fediverse.servers import LemmyServer, MastodonServer, MisskeyServer, PictrsServer
from tests.relay.cli.commands import answer

if TYPE_CHECKING:
    from pathlib import Path

    from relay.config import Settings
    from tests.fediverse.servers import ApiServer

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)


def settings_of(data_dir: Path, **given: Any) -> Settings:
    return load_settings(
        None, {}, {"server.data_dir": data_dir, **{name.replace("__", "."): given[name] for name in given}}
    )


def for_server(data_dir: Path, server: ApiServer, software: str, **given: Any) -> Settings:
    backend = {
        "backend__url": server.url,
        "backend__software": software,
        "backend__token": server.token,
        "backend__hosts": [server.host],
    }
    return settings_of(data_dir, **{**backend, **given})


def said(found: list[Diagnosis]) -> str:
    return "\n".join(f"{one.finding.value}: {one.detail} / {one.remedy}" for one in found)


async def test_without_a_token_nothing_is_asked_and_nothing_is_wrong(tmp_path: Path) -> None:
    (one,) = await check_token(settings_of(tmp_path, backend__software="mastodon"))
    assert one.finding is Finding.NOTE
    assert "only withholds" in one.detail


async def test_a_token_for_a_server_whose_api_is_not_known_is_of_no_use(tmp_path: Path) -> None:
    (one,) = await check_token(settings_of(tmp_path, backend__software="snac", backend__token="t"))
    assert one.finding is Finding.NOTE
    assert "snac" in one.detail


async def test_a_token_that_works_is_described(tmp_path: Path) -> None:
    async with MastodonServer.open() as server:
        found = await check_token(for_server(tmp_path, server, "mastodon"))
    assert found[0].finding is Finding.OK
    assert found[0].detail.startswith("that of bot; with it the relay can fetch a post from its origin")
    assert Finding.PROBLEM not in {one.finding for one in found}
    # What no token could do is said with its reason.
    assert "the relay cannot take posts down: its API takes down no posts from other servers" in said(found)


async def test_a_missing_scope_is_said_with_what_does_not_work(tmp_path: Path) -> None:
    async with MastodonServer.open(scopes=("read:accounts", "read:search")) as server:
        found = said(await check_token(for_server(tmp_path, server, "mastodon")))
    assert "the relay cannot report to your moderators: the token lacks the scope write:reports" in found
    assert "the relay cannot act on accounts: the token lacks the scope admin:write:accounts" in found


async def test_a_token_that_may_do_nothing_is_a_problem(tmp_path: Path) -> None:
    async with MisskeyServer.open(permissions=()) as server:
        found = await check_token(for_server(tmp_path, server, "misskey"))
    assert found[0].finding is Finding.PROBLEM
    assert "lets the relay do nothing" in found[0].detail


async def test_a_token_that_is_refused_is_a_problem(tmp_path: Path) -> None:
    async with LemmyServer.open() as server:
        (one,) = await check_token(for_server(tmp_path, server, "lemmy", backend__token="another-token"))
    assert one.finding is Finding.PROBLEM
    assert "does not accept backend.token" in one.detail
    assert "another-token" not in said([one])


async def test_a_server_that_cannot_be_asked_is_a_problem(tmp_path: Path) -> None:
    async with LemmyServer.open() as server:
        server.break_next(web.Response(status=503))
        (one,) = await check_token(for_server(tmp_path, server, "lemmy"))
    assert one.finding is Finding.PROBLEM


async def test_what_comes_of_acting_is_said_beforehand(tmp_path: Path) -> None:
    async with LemmyServer.open() as server:
        found = said(await check_token(for_server(tmp_path, server, "lemmy")))
    assert "before the relay is to report to your moderators: Lemmy sends every report on" in found
    assert "before the relay is to take posts down: Lemmy's public log" in found


async def test_the_key_of_the_pictrs_is_checked_as_well(tmp_path: Path) -> None:
    async with PictrsServer.open() as pictrs, LemmyServer.open() as server:
        keys = {"backend__pictrs_url": pictrs.url, "backend__pictrs_key": "another"}
        found = said(await check_token(for_server(tmp_path, server, "lemmy", **keys)))
    assert "the relay cannot delete stored files for good: pict-rs does not accept" in found


async def test_every_place_has_a_line(tmp_path: Path) -> None:
    found = await check_coverage(settings_of(tmp_path, backend__software="lemmy"))
    for place in Place:
        assert sum(one.detail.startswith(f"{place.value}: ") for one in found) == 1
    assert all(one.check == "coverage" for one in found)
    assert Finding.PROBLEM not in {one.finding for one in found}


async def test_a_gateway_without_its_authority_is_a_tunnel(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, gateway__enabled=True, backend__software="mastodon")
    assert (await find_open_doors(settings)).gateway is GatewayMode.TUNNEL
    assert "avatars and headers: NOT covered" in said(await check_coverage(settings))

    _make_authority(tmp_path)
    assert (await find_open_doors(settings)).gateway is GatewayMode.OPEN
    assert "avatars and headers: covered by gateway" in said(await check_coverage(settings))

    closed = settings_of(tmp_path, gateway__enabled=True, gateway__opens_tls=False)
    assert (await find_open_doors(closed)).gateway is GatewayMode.TUNNEL
    assert (await find_open_doors(settings_of(tmp_path))).gateway is GatewayMode.CLOSED


@pytest.mark.parametrize(
    ("given", "is_known"),
    [
        ({}, False),
        ({"storage__path": "/srv/media"}, True),
        ({"storage__s3_bucket": "media"}, True),
        ({"backend__pictrs_url": "http://127.0.0.1:9"}, False),
        ({"backend__pictrs_url": "http://127.0.0.1:9", "backend__pictrs_key": "k"}, True),
    ],
)
async def test_a_sweep_needs_a_place(tmp_path: Path, given: dict[str, Any], *, is_known: bool) -> None:
    assert (await find_open_doors(settings_of(tmp_path, **given))).sweep is is_known


async def test_to_pass_posts_on_without_a_door_that_withholds_is_a_problem(tmp_path: Path) -> None:
    given = {"backend__software": "lemmy", "backend__enforces_media": True}
    problems = [
        one for one in await check_coverage(settings_of(tmp_path, **given)) if one.finding is Finding.PROBLEM
    ]
    assert len(problems) == 1
    assert "backend.enforces_media" in problems[0].detail

    opened = settings_of(tmp_path, **given, doors__validator=True)
    assert Finding.PROBLEM not in {one.finding for one in await check_coverage(opened)}


async def test_doctor_says_all_of_it_as_json(tmp_path: Path) -> None:
    async with MastodonServer.open(scopes=("read:search", "write:reports")) as server:
        config = tmp_path / "breakwater.toml"
        config.write_text(
            f'[backend]\nurl = "{server.url}"\nsoftware = "mastodon"\ntoken = "{server.token}"\n'
            f'hosts = ["{server.host}"]\n[scanner]\nclassifier = "none"\nworkers = 1\n',
            encoding="utf-8",
        )
        checks = (
            await asyncio.to_thread(
                answer, "doctor", "--config", config, "--port", "1", data_dir=tmp_path / "data"
            )
        )["checks"]
    assert {check["finding"] for check in checks if check["check"] == "backend token"} == {"ok", "note"}
    details = [check["detail"] for check in checks if check["check"] in {"backend token", "coverage"}]
    assert any("the token lacks the scope admin:write:accounts" in detail for detail in details)
    assert any(detail.startswith("what is stored already: NOT covered") for detail in details)
    assert server.token not in str(checks)


async def test_a_gateway_that_could_not_open_says_how_to_mend_it(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, gateway__enabled=True)
    with pytest.raises(StartupError, match="breakwater keys ca"):
        await check_gateway(settings, now=NOW)
    assert await check_gateway(settings_of(tmp_path), now=NOW) == []
    (tunnel,) = await check_gateway(
        settings_of(tmp_path, gateway__enabled=True, gateway__opens_tls=False), now=NOW
    )
    assert tunnel.finding is Finding.NOTE

    _make_authority(tmp_path)
    (good,) = await check_gateway(settings, now=NOW)
    assert good.finding is Finding.OK
    (old,) = await check_gateway(settings, now=NOW + timedelta(days=20 * 365))
    assert old.finding is Finding.PROBLEM
    assert "--renew" in old.remedy


def _make_authority(data_dir: Path) -> None:
    load_or_create_authority(data_dir, create_authority(domain="instance.example", now=NOW))
