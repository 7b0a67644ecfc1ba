"""An admin draws canaries, watches for them as servers show them, and never takes another picture for one."""

from __future__ import annotations

import asyncio
import hashlib
import io
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from db.canaries import is_canary
from db.migrate import migrate
from db.pool import open_database
from db.rulings import RulingKind, find_ruling
from relay.cli.peers_words import explain_grounds
from relay.exchange.weighing import Ground, explain_demotion
from relay.trust import Audited
from tests.images import encode, marker
from tests.relay.cli.commands import answer, breakwater

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def config(dsn: str, tmp_path: Path) -> Path:
    async def prepare() -> None:
        async with open_database(dsn) as database, database.connection() as conn:
            await migrate(conn)

    asyncio.run(prepare())
    path = tmp_path / "breakwater.toml"
    path.write_text(f'[database]\nurl = "{dsn}"\n[server]\ndata_dir = "{tmp_path}"\n', encoding="utf-8")
    return path


def is_watched_for(dsn: str, data: bytes) -> bool:
    """Tell whether a picture is watched for, and our own server shows it."""
    digest = hashlib.sha256(data).digest()

    async def find() -> bool:
        async with open_database(dsn) as database, database.connection() as conn:
            ruling = await find_ruling(conn, digest)
            is_known = await is_canary(conn, digest)
        assert is_known == (ruling is not None)
        return ruling is not None and ruling.ruling is RulingKind.ALLOW

    return asyncio.run(find())


def test_a_canary_is_drawn_once_and_watched_for(dsn: str, config: Path, tmp_path: Path) -> None:
    place = ("--config", config)
    assert "breakwater peers canary draw" in breakwater("peers", "canary", "list", *place).output
    file = tmp_path / "canary.png"
    said = answer("peers", "canary", "draw", file, "--note", "for alpha", "--by", "mo", *place)
    assert "ordinary account" in said["next"]
    assert is_watched_for(dsn, file.read_bytes())
    again = breakwater("peers", "canary", "draw", file, *place)
    assert again.exit_code == 2
    assert "is there already" in again.stderr
    (row,) = answer("peers", "canary", "list", *place)
    assert (row["by"], row["note"], row["attested by"]) == ("mo", "for alpha", [])
    assert "for alpha" in breakwater("peers", "canary", "list", *place).output


def test_a_canary_that_a_server_encoded_anew_is_watched_for_and_other_pictures_never_are(
    dsn: str, config: Path, tmp_path: Path
) -> None:
    place = ("--config", config)
    drawn, shown, other = tmp_path / "drawn.png", tmp_path / "shown.jpg", tmp_path / "other.png"
    answer("peers", "canary", "draw", drawn, *place)
    anew = io.BytesIO()
    Image.open(drawn).convert("RGB").save(anew, "JPEG", quality=80)
    shown.write_bytes(anew.getvalue())
    other.write_bytes(encode(marker(1), "PNG"))

    coarse = tmp_path / "coarse.jpg"
    Image.open(drawn).convert("RGB").resize((128, 128)).save(coarse, "JPEG", quality=5)

    assert "is watched for" in breakwater("peers", "canary", "watch", shown, *place).output
    # A list that reaches 31 bits finds it here; whether it does with everybody's decoder is another question.
    assert breakwater("peers", "canary", "watch", coarse, *place).exit_code == 2
    refused = breakwater("peers", "canary", "watch", other, *place)

    assert is_watched_for(dsn, shown.read_bytes())
    assert refused.exit_code == 2
    assert "no canary by its looks" in refused.stderr
    assert not is_watched_for(dsn, other.read_bytes())


def test_what_went_against_a_peer_is_said_in_words() -> None:
    assert explain_grounds({}) is None
    said = explain_grounds({ground.value: 2 for ground in Ground})
    assert said is not None
    assert said.count("2 times") == len(Ground)
    assert "a canary of ours" in said


@pytest.mark.parametrize("audited", [Audited.CONTRADICTS, Audited.DISAGREES])
def test_every_way_into_quarantine_has_words_of_its_own(audited: Audited) -> None:
    words = {explain_demotion(audited, ground) for ground in Ground}
    assert len(words) >= 3
    assert all(not one.endswith(".") for one in words)
