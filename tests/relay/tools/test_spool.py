"""Withheld bytes: sealed, bounded, and gone when their time is over."""

from __future__ import annotations

import hashlib
import os
import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from relay.tools.spool import SpoolFullError, open_spool

if TYPE_CHECKING:
    from pathlib import Path

DATA = b"drawn marker " * 1000
DIGEST = hashlib.sha256(DATA).digest()
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def test_what_is_kept_comes_back_and_lies_encrypted(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool", max_bytes=1_000_000)
    spool.keep(DIGEST, DATA)
    assert spool.find(DIGEST) == DATA
    for path in (tmp_path / "spool").rglob("*"):
        if path.is_file():
            assert b"drawn marker" not in path.read_bytes()
            assert DIGEST.hex() not in path.name


def test_the_key_survives_a_restart_and_only_we_can_read_it(tmp_path: Path) -> None:
    open_spool(tmp_path / "spool", max_bytes=1_000_000).keep(DIGEST, DATA)
    assert open_spool(tmp_path / "spool", max_bytes=1_000_000).find(DIGEST) == DATA
    assert stat.S_IMODE((tmp_path / "spool" / "spool.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "spool" / "sealed").stat().st_mode) == 0o700


def test_an_altered_file_is_not_given_out(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool", max_bytes=1_000_000)
    spool.keep(DIGEST, DATA)
    (path,) = spool.directory.iterdir()
    sealed = bytearray(path.read_bytes())
    sealed[100] ^= 1
    path.write_bytes(bytes(sealed))
    assert spool.find(DIGEST) is None


def test_a_file_under_another_digest_is_not_given_out(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool", max_bytes=1_000_000)
    spool.keep(DIGEST, DATA)
    (path,) = spool.directory.iterdir()
    other = hashlib.sha256(b"other").digest()
    path.rename(spool._path(other))
    assert spool.find(other) is None


def test_a_full_spool_refuses_and_loses_nothing(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool", max_bytes=len(DATA) + 100)
    spool.keep(DIGEST, DATA)
    with pytest.raises(SpoolFullError, match="full"):
        spool.keep(hashlib.sha256(b"more").digest(), b"more" * 100)
    assert spool.find(DIGEST) == DATA


def test_keeping_twice_is_one_file(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool", max_bytes=1_000_000)
    spool.keep(DIGEST, DATA)
    size = spool.size_bytes()
    spool.keep(DIGEST, DATA)
    assert spool.size_bytes() == size


def test_what_is_purged_or_expired_is_gone(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool", max_bytes=1_000_000)
    spool.keep(DIGEST, DATA)
    (path,) = spool.directory.iterdir()
    os.utime(path, (NOW.timestamp(), NOW.timestamp()))
    assert spool.purge_expired(now=NOW + timedelta(hours=71), max_age=timedelta(hours=72)) == 0
    assert spool.purge_expired(now=NOW + timedelta(hours=73), max_age=timedelta(hours=72)) == 1
    assert spool.find(DIGEST) is None
    spool.keep(DIGEST, DATA)
    spool.purge(DIGEST)
    spool.purge(DIGEST)
    assert spool.find(DIGEST) is None
