"""The embedded PostgreSQL: starting, dying and coming back with everything that was committed."""

# ruff: noqa: ASYNC220, ASYNC240 (a test may wait for the disk and for a process)

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from db import deliveries, embedded, installation
from db.embedded import open_postgres
from db.errors import DatabaseError, EmbeddedPostgresError
from db.installation import Identity
from db.migrate import migrate
from db.pool import open_database
from db.postmaster import MAX_LOG_BYTES, Postmaster
from tests.db.builders import new_delivery

if TYPE_CHECKING:
    from collections.abc import Iterator

IS_ROOT = os.geteuid() == 0
NOBODY = 65534
ROOT_DIR = Path(__file__).parents[2]
as_root = pytest.mark.skipif(not IS_ROOT, reason="needs root, who must drop to an ordinary user")


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data directory that an unprivileged user can enter, which pytest's own are not."""
    parent = Path(tempfile.mkdtemp(prefix="breakwater-embedded-"))
    parent.chmod(0o711)
    (parent / "data").mkdir(mode=0o711)
    yield parent / "data"
    shutil.rmtree(parent)


class Host:
    """A relay's stand-in in a process of its own."""

    def __init__(self, data_dir: Path, prefix: tuple[str, ...] = ()) -> None:
        self.data_dir = data_dir
        command = [*prefix, sys.executable, "-m", "tests.db.embedded_host", str(data_dir)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT_DIR, text=True
        )
        assert self.process.stdout is not None
        self.dsn = self.process.stdout.readline().strip()
        assert self.dsn.startswith("postgresql://")

    def kill(self) -> None:
        self.process.kill()
        self._close()

    def stop(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self._close()

    def _close(self) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        status = self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        return status


def cluster_of(data_dir: Path) -> Path:
    return Path((data_dir / "postgres" / "location").read_text(encoding="utf-8"))


def processes_of(data_dir: Path) -> list[int]:
    """Return the processes of a cluster; every one works in its directory."""
    cluster = cluster_of(data_dir)
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cwd").readlink() == cluster:
                    found.append(int(entry.name))
            except OSError:
                continue
    return sorted(found)


def kill_all(data_dir: Path) -> None:
    """Kill the server first and then whatever it left, so that nothing can be shut down in order."""
    for pid in processes_of(data_dir):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


async def store(dsn: str, first: int, count: int) -> None:
    async with open_database(dsn, max_size=4) as database:
        async with database.connection() as conn:
            await migrate(conn)

        async def store_one(number: int) -> None:
            async with database.connection() as conn:
                assert await deliveries.insert_delivery(conn, new_delivery(number)) is not None

        await asyncio.gather(*(store_one(number) for number in range(first, first + count)))


async def count_stored(dsn: str) -> int:
    async with open_database(dsn) as database, database.connection() as conn:
        return sum((await deliveries.count_by_state(conn)).values())


async def test_a_server_starts_stops_and_keeps_what_was_stored(data_dir: Path) -> None:
    mode = data_dir.stat().st_mode
    async with open_postgres(data_dir) as dsn:
        await store(dsn, 0, 5)
        assert processes_of(data_dir) != []
    assert processes_of(data_dir) == []
    async with open_postgres(data_dir) as again:
        assert again == dsn
        assert await count_stored(again) == 5
    assert data_dir.stat().st_mode == mode


async def test_the_server_is_durable_private_and_discreet(data_dir: Path) -> None:
    secret = "https://a.example/secret.png"

    async def provoke(sql: str, *arguments: object) -> None:
        async with open_database(dsn) as database, database.connection() as conn:
            await conn.execute(sql, *arguments)

    async with open_postgres(data_dir) as dsn:
        async with open_database(dsn) as database, database.connection() as conn:
            for name, value in {
                "fsync": "on",
                "synchronous_commit": "on",
                "full_page_writes": "on",
                "listen_addresses": "",
                "server_encoding": "UTF8",
                "password_encryption": "scram-sha-256",
                "TimeZone": "UTC",
            }.items():
                assert await conn.fetchval("SELECT current_setting($1)", name) == value
            await conn.execute("CREATE TABLE seen (url text PRIMARY KEY, CHECK (url <> 'x'))")
            await conn.execute("INSERT INTO seen VALUES ($1)", secret)
        for sql, arguments in (
            ("INSERT INTO seen VALUES ($1)", (secret,)),
            ("INSERT INTO seen VALUES ('https://a.example/secret.png'), (1/0)", ()),
            ("SELECT 'https://a.example/secret.png' FROM nowhere", ()),
        ):
            with pytest.raises(DatabaseError):
                await provoke(sql, *arguments)
        with pytest.raises(DatabaseError):
            async with open_database(dsn.replace("breakwater:", "breakwater:x")):
                pytest.fail("a wrong password was taken")
    home = data_dir / "postgres"
    log = (home / "server.log").read_text(encoding="utf-8")
    assert "seen_pkey" in log
    assert secret not in log
    for private in (home / "password", home / "server.log", home / "lock"):
        assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "run").stat().st_mode) == 0o700
    assert stat.S_IMODE(cluster_of(data_dir).stat().st_mode) == 0o700


async def test_a_relay_that_is_restarted_waits_for_the_one_before(data_dir: Path) -> None:
    async with open_postgres(data_dir) as dsn:
        await store(dsn, 0, 1)
        starting = asyncio.Event()

        async def start_next() -> int:
            starting.set()
            async with open_postgres(data_dir) as again:
                return await count_stored(again)

        following = asyncio.ensure_future(start_next())
        await starting.wait()
    assert await following == 1


async def test_a_second_relay_on_the_same_directory_is_refused_in_words(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_postgres(data_dir) as dsn:
        monkeypatch.setattr(embedded, "LOCK_SECONDS", 0.05)
        with pytest.raises(EmbeddedPostgresError) as caught:
            async with open_postgres(data_dir):
                pytest.fail("two relays share a database")
        assert "already using" in caught.value.what
        assert caught.value.meaning
        assert caught.value.remedy
        async with open_database(dsn) as database, database.connection() as conn:
            assert await conn.fetchval("SELECT 1") == 1


async def test_a_killed_relay_takes_its_server_along_and_the_next_one_loses_nothing(data_dir: Path) -> None:
    for turn in range(2):
        host = Host(data_dir)
        await store(host.dsn, turn * 10, 10)
        host.kill()
    async with open_postgres(data_dir) as dsn:
        assert await count_stored(dsn) == 20


async def test_a_killed_relay_leaves_no_server_behind(data_dir: Path) -> None:
    host = Host(data_dir)
    assert processes_of(data_dir) != []
    host.kill()
    while processes_of(data_dir):  # noqa: ASYNC110 (a process sets no event)
        await asyncio.sleep(0)
    assert not (cluster_of(data_dir) / "postmaster.pid").exists()


async def test_relay_and_server_killed_at_once_lose_nothing_committed(data_dir: Path) -> None:
    host = Host(data_dir)
    await store(host.dsn, 0, 50)
    os.kill(host.process.pid, signal.SIGSTOP)
    kill_all(data_dir)
    host.kill()
    assert (cluster_of(data_dir) / "postmaster.pid").exists()
    async with open_postgres(data_dir) as dsn:
        assert await count_stored(dsn) == 50


async def test_a_killed_server_is_started_anew_and_loses_nothing_committed(data_dir: Path) -> None:
    async with open_postgres(data_dir) as dsn:
        await store(dsn, 0, 50)
        before = processes_of(data_dir)
        kill_all(data_dir)
        # Opening waits for a server that is starting.
        assert await count_stored(dsn) == 50
        assert not set(before) & set(processes_of(data_dir))


async def test_a_stale_pid_file_whose_number_was_given_away_does_not_bar_the_start(data_dir: Path) -> None:
    async with open_postgres(data_dir) as dsn:
        await store(dsn, 0, 1)
    cluster = cluster_of(data_dir)
    owner = cluster.stat()
    stranger = subprocess.Popen(
        ["sleep", "1000"],
        **({"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if IS_ROOT else {}),
    )
    try:
        stale = cluster / "postmaster.pid"
        stale.write_text(f"{stranger.pid}\n{cluster}\n1\n5432\n/nowhere\n\n  1  1\nready\n")
        os.chown(stale, owner.st_uid, owner.st_gid)
        async with open_postgres(data_dir) as dsn:
            assert await count_stored(dsn) == 1
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_an_unfinished_cluster_is_made_anew(data_dir: Path) -> None:
    async with open_postgres(data_dir):
        pass
    cluster = cluster_of(data_dir)
    cluster.rename(cluster.with_suffix(".unfinished"))
    async with open_postgres(data_dir) as dsn:
        await store(dsn, 0, 1)
    assert not cluster.with_suffix(".unfinished").exists()


async def test_a_cluster_of_a_version_that_is_not_packaged_is_refused(data_dir: Path) -> None:
    async with open_postgres(data_dir):
        pass
    (cluster_of(data_dir) / "PG_VERSION").write_text("9\n")
    with pytest.raises(EmbeddedPostgresError, match="PostgreSQL 9 is not packaged"):
        async with open_postgres(data_dir):
            pytest.fail("it was opened")


async def test_a_place_that_cannot_be_used_is_refused_in_words(data_dir: Path) -> None:
    file = data_dir / "file"
    file.write_text("")
    with pytest.raises(EmbeddedPostgresError, match="cannot use"):
        async with open_postgres(file / "data"):
            pytest.fail("it was opened")


async def test_a_broken_setting_is_refused_in_words(data_dir: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="while starting"):
        async with open_postgres(data_dir, settings={"shared_buffers": "nonsense"}):
            pytest.fail("it was opened")
    async with open_postgres(data_dir) as dsn:
        await store(dsn, 0, 1)


async def test_a_path_too_long_for_a_socket_gets_a_short_private_one(data_dir: Path) -> None:
    long = data_dir / ("x" * 100)
    async with open_postgres(long) as dsn:
        await store(dsn, 0, 1)
        assert not (long / "postgres" / "run").exists()
        (short,) = [path for path in _short_dirs() if path.name in dsn]
        assert stat.S_IMODE(short.stat().st_mode) == 0o700
    shutil.rmtree(short)


async def test_a_socket_directory_that_others_can_change_is_refused(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "MAX_SOCKET_PATH_BYTES", 1)
    before = set(_short_dirs())
    async with open_postgres(data_dir):
        pass
    (short,) = set(_short_dirs()) - before
    short.chmod(0o777)
    with pytest.raises(EmbeddedPostgresError, match="not a private directory"):
        async with open_postgres(data_dir):
            pytest.fail("it was opened")
    shutil.rmtree(short)


def _short_dirs() -> list[Path]:
    return list(Path("/run" if IS_ROOT else "/tmp").glob("breakwater-" + "[0-9a-f]" * 16))


@as_root
async def test_root_hands_the_server_to_an_ordinary_user(data_dir: Path) -> None:
    async with open_postgres(data_dir):
        owner = cluster_of(data_dir).stat().st_uid
        assert owner != 0
        assert {Path(f"/proc/{pid}").stat().st_uid for pid in processes_of(data_dir)} == {owner}
    assert (data_dir / "postgres" / "password").stat().st_uid == 0


@as_root
async def test_a_directory_that_bars_the_way_keeps_its_mode_and_the_cluster_lies_elsewhere(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = data_dir.parent / "elsewhere" / "clusters"
    monkeypatch.setattr(installation, "_CLUSTER_ROOTS", (elsewhere,))
    data_dir.chmod(0o700)
    with caplog.at_level(logging.WARNING):
        async with open_postgres(data_dir) as dsn:
            await store(dsn, 0, 3)
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
    cluster = cluster_of(data_dir)
    assert cluster.is_relative_to(elsewhere)
    assert str(cluster) in caplog.text
    # Where the cluster lies was decided once: opening the way later must not begin an empty one.
    data_dir.chmod(0o711)
    async with open_postgres(data_dir) as dsn:
        assert await count_stored(dsn) == 3


@as_root
async def test_an_ordinary_user_runs_the_server_directly(data_dir: Path) -> None:
    os.chown(data_dir, NOBODY, NOBODY)
    data_dir.chmod(0o700)
    # The capability only lets the user reach an interpreter that may lie in root's home.
    host = Host(
        data_dir,
        (
            *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
            *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
        ),
    )
    try:
        await store(host.dsn, 0, 3)
        assert {Path(f"/proc/{pid}").stat().st_uid for pid in processes_of(data_dir)} == {NOBODY}
    finally:
        assert host.stop() == 0
    assert processes_of(data_dir) == []
    assert {path.stat().st_uid for path in (data_dir / "postgres").iterdir()} == {NOBODY}
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700


def test_the_log_is_bounded(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    server = Postmaster(
        program=tmp_path,
        cluster=tmp_path,
        socket_dir=tmp_path,
        identity=Identity(uid=0, gid=0, is_own=True),
        log_file=log,
        settings={},
    )
    server.bound_log()
    log.write_bytes(b"x" * MAX_LOG_BYTES)
    server.bound_log()
    assert log.stat().st_size == MAX_LOG_BYTES
    log.write_bytes(b"x" * 10 * MAX_LOG_BYTES + b"end")
    server.bound_log()
    assert log.stat().st_size == 0
    kept = (tmp_path / "server.log.1").read_bytes()
    assert len(kept) == MAX_LOG_BYTES
    assert kept.endswith(b"end")
