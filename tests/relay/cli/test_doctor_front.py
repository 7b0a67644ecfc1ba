"""`breakwater doctor` finds out whether the world that asks for the server's media asks the front."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from relay.cli.diagnosis import Diagnosis, Finding
from relay.cli.doctor_front import check_front
from relay.config import load_settings
from relay.tools.key_files import load_or_create_keys
from relay.tools.own_media import name_front
from tests.e2e.process import free_ports
from tests.relay.line import open_line
from tests.relay.web.front.scene import PATHS, Scene, open_scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.config import Settings


@pytest.fixture
async def front(dsn: str, tmp_path: Path) -> AsyncIterator[Scene]:
    """A front that runs, with its server behind it."""
    via = name_front(load_or_create_keys(tmp_path).secret)
    async with open_line(dsn) as line, open_scene(line.tools, tmp_path, via=via) as opened:
        yield opened


def settings_of(front: Scene, **given: Any) -> Settings:
    usual = {
        "server.data_dir": front.folder,
        "server.host": "127.0.0.1",
        "identity.base_url": f"{front.url}/breakwater",
        "exchange.media_front": True,
        "exchange.media_upstream": front.server.url(""),
        "exchange.media_paths": PATHS,
        "exchange.front_port": front.port,
    }
    return load_settings(None, {}, {**usual, **{name.replace("__", "."): given[name] for name in given}})


def said(found: list[Diagnosis], finding: Finding) -> str:
    return "\n".join(f"{one.detail} / {one.remedy}" for one in found if one.finding is finding)


async def test_a_front_that_is_switched_off_is_not_checked(front: Scene) -> None:
    assert await check_front(settings_of(front, exchange__media_front=False)) == []


async def test_a_front_that_stands_before_the_media_is_found_without_asking_for_anybodys_file(
    front: Scene,
) -> None:
    found = await check_front(settings_of(front))
    assert {one.finding for one in found} == {Finding.OK}
    assert "sends /system/, /pictrs/ through it" in said(found, Finding.OK)


async def test_a_place_that_serves_media_past_the_front_is_a_problem(front: Scene) -> None:
    past = front.server.url("").rstrip("/")
    found = await check_front(settings_of(front, identity__base_url=f"{past}/breakwater"))
    assert said(found, Finding.PROBLEM).startswith(f"{past} serves media past the front")
    assert "deploy/nginx" in said(found, Finding.PROBLEM)


async def test_every_host_of_media_is_looked_at(front: Scene) -> None:
    hosts = [f"127.0.0.1:{front.port}", f"127.0.0.1:{front.server.port}"]
    found = await check_front(settings_of(front, uploads__media_hosts=hosts))
    assert f"http://{hosts[0]} sends" in said(found, Finding.OK)
    assert f"http://{hosts[1]} serves media past the front" in said(found, Finding.PROBLEM)


async def test_a_place_that_cannot_be_asked_from_here_is_only_noted(front: Scene) -> None:
    (port,) = free_ports(1)
    found = await check_front(settings_of(front, identity__base_url=f"http://127.0.0.1:{port}/breakwater"))
    assert "Repr-Digest" in said(found, Finding.NOTE)
    assert said(found, Finding.PROBLEM) == ""


async def test_a_front_that_does_not_run_a_server_that_is_away_and_a_loop_are_problems(front: Scene) -> None:
    (port,) = free_ports(1)
    away = await check_front(settings_of(front, exchange__front_port=port))
    assert "does not answer" in said(away, Finding.PROBLEM)
    behind = f"http://127.0.0.1:{port}"
    no_server = await check_front(settings_of(front, exchange__media_upstream=behind))
    assert f"{behind}, does not answer" in said(no_server, Finding.PROBLEM)
    loop = await check_front(settings_of(front, exchange__media_upstream=front.url))
    assert "leads back to the front" in said(loop, Finding.PROBLEM)
