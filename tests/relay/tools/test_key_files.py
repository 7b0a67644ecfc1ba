from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from relay.errors import StartupError
from relay.tools.key_files import (
    RETIREMENT,
    find_keys,
    load_or_create_keys,
    rotate_api_key,
    rotate_signing_key,
)
from signatures.keys import KeyAlgorithm

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 22, 2, 30, tzinfo=UTC)


def test_keys_are_made_once_and_stay(tmp_path: Path) -> None:
    assert find_keys(tmp_path) is None
    keys = load_or_create_keys(tmp_path)
    assert keys.http_key.public.algorithm is KeyAlgorithm.RSA
    assert keys.signing_key.public.algorithm is KeyAlgorithm.ED25519
    assert len(keys.secret) == 32
    assert load_or_create_keys(tmp_path) == find_keys(tmp_path) == keys


def test_nobody_else_can_read_them(tmp_path: Path) -> None:
    load_or_create_keys(tmp_path)
    directory = tmp_path / "keys"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    names = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert names == {"http.pem": 0o600, "signing.pem": 0o600, "api.pem": 0o600, "secret": 0o600}


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    load_or_create_keys(tmp_path)
    (tmp_path / "keys" / "signing.pem").chmod(0o640)
    with pytest.raises(StartupError, match="chmod 600"):
        load_or_create_keys(tmp_path)


@pytest.mark.parametrize("name", ["http.pem", "signing.pem", "api.pem", "secret"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    load_or_create_keys(tmp_path)
    (tmp_path / "keys" / name).write_bytes(b"nonsense")
    with pytest.raises(StartupError, match=f"{name} is damaged"):
        load_or_create_keys(tmp_path)


def test_a_key_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    load_or_create_keys(tmp_path)
    directory = tmp_path / "keys"
    (directory / "signing.pem").write_bytes((directory / "http.pem").read_bytes())
    with pytest.raises(StartupError, match="damaged"):
        find_keys(tmp_path)


def test_two_processes_that_start_together_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: load_or_create_keys(tmp_path), range(4)))
    assert all(keys == made[0] for keys in made)
    assert not [path for path in (tmp_path / "keys").iterdir() if path.name.startswith(".")]


def test_rotation_keeps_the_old_public_key_until_its_attestations_are_over(tmp_path: Path) -> None:
    before = load_or_create_keys(tmp_path)
    after = rotate_signing_key(tmp_path, now=NOW)
    assert after.signing_key != before.signing_key
    assert after.http_key == before.http_key
    assert after.secret == before.secret
    assert [(one.key, one.expires) for one in after.retired] == [
        (before.signing_key.public, NOW + RETIREMENT)
    ]
    again = rotate_signing_key(tmp_path, now=NOW)
    assert len(again.retired) == 2
    assert find_keys(tmp_path) == again


def test_an_install_from_before_there_was_a_key_for_peers_gets_one_and_keeps_the_rest(tmp_path: Path) -> None:
    made = load_or_create_keys(tmp_path)
    (tmp_path / "keys" / "api.pem").unlink()
    found = find_keys(tmp_path)
    assert found is not None
    assert found.api_key is None
    assert not (tmp_path / "keys" / "api.pem").exists()
    completed = load_or_create_keys(tmp_path)
    assert completed.api_key not in {None, made.api_key}
    assert (completed.http_key, completed.signing_key, completed.secret) == (
        made.http_key,
        made.signing_key,
        made.secret,
    )


def test_rotating_the_key_for_peers_leaves_the_others(tmp_path: Path) -> None:
    before = load_or_create_keys(tmp_path)
    after = rotate_api_key(tmp_path)
    assert after.api_key not in {None, before.api_key}
    assert (after.signing_key, after.http_key, after.retired) == (before.signing_key, before.http_key, ())
    assert find_keys(tmp_path) == after


def test_a_damaged_list_of_retired_keys_is_named(tmp_path: Path) -> None:
    load_or_create_keys(tmp_path)
    path = tmp_path / "keys" / "retired.json"
    path.write_text('[{"publicKeyMultibase": "z6Mk", "expires": "soon"}]', encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(StartupError, match=r"retired\.json is damaged"):
        find_keys(tmp_path)


def test_a_place_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StartupError, match="--data-dir"):
        load_or_create_keys(tmp_path / "file")
