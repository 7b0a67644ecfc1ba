"""Bytes are kept only where a person has to rule on them, and only sealed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.model import MediaDecision
from relay.stages.preserve import preserve
from relay.tools.spool import Spool, open_spool
from tests.relay.stages.parts import media, outcome

if TYPE_CHECKING:
    from pathlib import Path

DATA = b"bytes that somebody has to rule on" * 100


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return open_spool(tmp_path / "spool", max_bytes=10_000)


async def test_withheld_bytes_that_await_a_ruling_are_kept_sealed(spool: Spool) -> None:
    await preserve(outcome(None, MediaDecision.WITHHOLD, needs_case=True), media(DATA), spool=spool)

    assert spool.find(media(DATA).sha256) == DATA
    (path,) = spool.directory.iterdir()
    assert DATA not in path.read_bytes()
    assert media(DATA).sha256.hex() not in path.name


@pytest.mark.parametrize(
    ("decision", "needs_case"),
    [(MediaDecision.RELEASE, False), (MediaDecision.RELEASE, True), (MediaDecision.WITHHOLD, False)],
)
async def test_nothing_else_is_kept(decision: MediaDecision, *, needs_case: bool, spool: Spool) -> None:
    await preserve(outcome(None, decision, needs_case=needs_case), media(DATA), spool=spool)

    assert not list(spool.directory.iterdir())


async def test_what_must_not_be_kept_is_removed_though_it_was_kept_before(spool: Spool) -> None:
    spool.keep(media(DATA).sha256, DATA)

    await preserve(outcome(None, MediaDecision.BLOCK, needs_case=True, purge=True), media(DATA), spool=spool)

    assert spool.find(media(DATA).sha256) is None
    assert not list(spool.directory.iterdir())


async def test_a_full_spool_loses_the_copy_and_says_so_without_saying_what(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    spool.keep(media(b"other").sha256, bytes(9_000))

    await preserve(outcome(None, MediaDecision.WITHHOLD, needs_case=True), media(DATA), spool=spool)

    assert spool.find(media(DATA).sha256) is None
    assert [record.getMessage() for record in caplog.records] == ["spool_not_kept error=SpoolFullError"]


async def test_a_disk_that_refuses_loses_the_copy_only(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    spool.directory.rmdir()

    await preserve(outcome(None, MediaDecision.WITHHOLD, needs_case=True), media(DATA), spool=spool)

    assert [record.getMessage() for record in caplog.records] == ["spool_not_kept error=FileNotFoundError"]
