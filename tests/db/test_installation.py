"""Where the PostgreSQL programs lie and who can reach them."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from db import installation
from db.errors import EmbeddedPostgresError
from db.installation import Identity, Installation

NOBODY = 65534


def test_programs_out_of_reach_are_copied_once(tmp_path: Path) -> None:
    root = tmp_path / "barred" / "root"
    for name in ("bin/initdb", "bin/postgres", "lib/lib.so", "share/x/y.sql"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
        (root / name).chmod(0o600)
    (root / "bin" / "postgres").chmod(0o700)
    (tmp_path / "barred").chmod(0o700)
    original = Installation(major=18, root=root)
    stranger = Identity(uid=NOBODY - 1, gid=NOBODY - 1, is_own=False)
    copy = installation.place_installation(original, tmp_path, stranger)
    assert copy.root.parent == tmp_path
    assert copy.postgres.read_text() == "bin/postgres"
    assert stat.S_IMODE(copy.postgres.stat().st_mode) == 0o755
    assert stat.S_IMODE((copy.root / "share" / "x" / "y.sql").stat().st_mode) == 0o644
    assert installation.place_installation(original, tmp_path, stranger) == copy
    assert stat.S_IMODE((tmp_path / "barred").stat().st_mode) == 0o700
    own = Identity(uid=os.geteuid(), gid=os.getegid(), is_own=True)
    assert installation.place_installation(original, tmp_path, own) == original


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "can"),
    [
        (0o700, 7, 7, False),
        (0o711, 7, 7, True),
        (0o710, 7, os.getegid(), True),
        (0o701, 7, os.getegid(), False),
        (0o077, os.geteuid(), 7, False),
    ],
)
def test_owner_group_and_others_are_told_apart(mode: int, uid: int, gid: int, *, can: bool) -> None:
    # Not below pytest's own directory, which bars the way to everybody else.
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(mode)
        try:
            assert installation.can_enter(place, Identity(uid=uid, gid=gid, is_own=False)) == can
        finally:
            place.chmod(0o700)


def test_a_version_that_is_not_packaged_is_refused_in_words() -> None:
    with pytest.raises(EmbeddedPostgresError, match="PostgreSQL 9 is not packaged"):
        installation.find_installation(9)


def test_the_newest_version_is_chosen() -> None:
    found = installation.find_installation(None)
    assert found.major == max(installation._FOLDERS)
    assert found.postgres.exists()
    assert found.initdb.exists()
