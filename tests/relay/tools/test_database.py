from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from db.pool import ping
from relay.config import Settings, load_settings
from relay.errors import StartupError
from relay.tools.database import open_owned_database, open_relay_database

if TYPE_CHECKING:
    from pathlib import Path


def settings_in(data_dir: Path, **overrides: object) -> Settings:
    return load_settings(None, {}, {"server.data_dir": data_dir, **overrides})


async def test_a_command_uses_the_running_relays_database_and_else_starts_it(tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "data")
    note = tmp_path / "data" / "run" / "dsn"
    async with open_owned_database(settings) as relay:
        assert relay.is_own
        assert stat.S_IMODE(note.stat().st_mode) == 0o600
        async with open_relay_database(settings) as command:
            assert not command.is_own
            async with command.database.connection() as conn:
                await ping(conn)
        with pytest.raises(StartupError, match="already using"):
            async with open_owned_database(settings):
                pass
    assert not note.exists()
    async with open_relay_database(settings) as command:
        assert command.is_own
        async with command.database.connection() as conn:
            await ping(conn)


async def test_a_given_url_is_used_and_its_password_is_not_shown(tmp_path: Path) -> None:
    async with open_owned_database(settings_in(tmp_path / "data")) as relay:
        dsn = (tmp_path / "data" / "run" / "dsn").read_text(encoding="utf-8")
        settings = settings_in(tmp_path / "other", **{"database.url": dsn})
        async with open_relay_database(settings) as opened:
            assert not opened.is_own
            assert opened.place == "the PostgreSQL database postgres on a local socket"
        assert relay.place == f"an embedded PostgreSQL in {tmp_path / 'data'}"
    assert not (tmp_path / "other").exists()


async def test_a_wrong_password_is_explained_without_repeating_it(tmp_path: Path) -> None:
    async with open_owned_database(settings_in(tmp_path / "data")):
        dsn = (tmp_path / "data" / "run" / "dsn").read_text(encoding="utf-8")
        wrong = dsn.replace("breakwater:", "breakwater:hunter2", 1)
        with pytest.raises(StartupError) as caught:
            async with open_relay_database(settings_in(tmp_path / "other", **{"database.url": wrong})):
                pass
    assert "hunter2" not in str(caught.value)
    assert "database.url" in str(caught.value)
