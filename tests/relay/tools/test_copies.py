"""Copies of bytes on their way through: whole, private, and gone with their block."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import random
from typing import TYPE_CHECKING, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.tools import copies
from relay.tools.copies import (
    BLOCK_BYTES,
    MAX_BYTES_IN_MEMORY,
    Copy,
    CopyStorageError,
    CopyTooLargeError,
    open_copy,
)

if TYPE_CHECKING:
    from pathlib import Path

MANY = 64 * 1024 * 1024
LONG = MAX_BYTES_IN_MEMORY + 3 * BLOCK_BYTES + 12_345


def draw_bytes(size: int, *, seed: int = 7) -> bytes:
    return random.Random(seed).randbytes(size)


async def write_in_pieces(copy: Copy, data: bytes, *, piece: int = 70_001) -> None:
    for begin in range(0, len(data), piece):
        await copy.write(data[begin : begin + piece])


async def collect(copy: Copy, start: int = 0, stop: int | None = None) -> bytes:
    return b"".join([piece async for piece in copy.chunks(start, stop)])


def find_descriptor(copy: Copy) -> int:
    assert copy._blocks is not None
    descriptor = copy._blocks._descriptor
    assert descriptor is not None
    return descriptor


@pytest.mark.parametrize(
    "size",
    [0, 1, BLOCK_BYTES, MAX_BYTES_IN_MEMORY, MAX_BYTES_IN_MEMORY + 1, 8 * BLOCK_BYTES, LONG],
)
async def test_what_was_written_comes_back_whole_and_in_parts(tmp_path: Path, size: int) -> None:
    data = draw_bytes(size)
    async with open_copy(tmp_path, max_bytes=MANY) as copy:
        await write_in_pieces(copy, data)
        assert (copy.size, copy.sha256) == (size, hashlib.sha256(data).digest())
        assert await copy.read() == data
        assert await collect(copy) == data


@settings(max_examples=60, deadline=None)
@given(
    size=st.sampled_from([10, MAX_BYTES_IN_MEMORY, LONG]),
    piece=st.integers(min_value=30_000, max_value=3_000_000),
    begin=st.floats(0, 1),
    end=st.floats(0, 1.1),
)
def test_any_range_of_a_copy_is_that_range_of_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, size: int, piece: int, begin: float, end: float
) -> None:
    data = draw_bytes(size)

    async def run() -> None:
        async with open_copy(tmp_path_factory.getbasetemp(), max_bytes=MANY) as copy:
            await write_in_pieces(copy, data, piece=piece)
            start, stop = int(size * begin), int(size * end)
            assert await collect(copy, start, stop) == data[start:stop]

    asyncio.run(run())


async def test_reading_goes_on_beside_writing(tmp_path: Path) -> None:
    data = draw_bytes(LONG)
    async with open_copy(tmp_path, max_bytes=MANY) as copy:
        await write_in_pieces(copy, data)

        async def read_before(stop: int) -> bytes:
            return await collect(copy, 0, stop)

        async with asyncio.TaskGroup() as group:
            readers = [group.create_task(read_before(stop)) for stop in (1, 999_999, LONG)]
            group.create_task(write_in_pieces(copy, data))
        assert [await reader for reader in readers] == [data[:1], data[:999_999], data]
        assert await copy.read() == data + data


async def test_a_copy_holds_no_more_than_its_bound(tmp_path: Path) -> None:
    async with open_copy(tmp_path, max_bytes=1000) as copy:
        await copy.write(bytes(1000))
        with pytest.raises(CopyTooLargeError):
            await copy.write(b"1")
        assert (copy.size, await copy.read()) == (1000, bytes(1000))


async def test_what_is_said_to_be_long_never_grows_in_memory(tmp_path: Path) -> None:
    data = draw_bytes(LONG)
    async with open_copy(tmp_path, max_bytes=MANY, expected_bytes=LONG) as copy:
        for begin in range(0, LONG, 50_000):
            await copy.write(data[begin : begin + 50_000])
            assert len(copy._tail) < BLOCK_BYTES
        assert await copy.read() == data
        assert await collect(copy, 5, LONG - 5) == data[5:-5]


async def test_what_is_said_to_be_long_and_is_not_needs_no_file(tmp_path: Path) -> None:
    async with open_copy(tmp_path / "not there", max_bytes=MANY, expected_bytes=LONG) as copy:
        await copy.write(b"short")
        assert (await copy.read(), await collect(copy)) == (b"short", b"short")


async def test_a_copy_that_is_gone_says_so(tmp_path: Path) -> None:
    async with open_copy(tmp_path, max_bytes=MANY) as copy:
        await copy.write(b"short")
        pieces = copy.chunks()
    with pytest.raises(CopyStorageError):
        await copy.read()
    with pytest.raises(CopyStorageError):
        await anext(pieces)


async def test_a_short_copy_needs_no_file(tmp_path: Path) -> None:
    async with open_copy(tmp_path / "not there", max_bytes=MANY) as copy:
        await copy.write(draw_bytes(MAX_BYTES_IN_MEMORY))
        assert await copy.read() == draw_bytes(MAX_BYTES_IN_MEMORY)


@pytest.mark.parametrize("has_unnamed_files", [True, False])
async def test_what_lies_on_the_disk_has_no_name_and_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_unnamed_files: bool
) -> None:
    if not has_unnamed_files:
        open_file = os.open

        def refuse(path: object, flags: int, *arguments: int) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(errno.EOPNOTSUPP, "no such files here")
            return open_file(str(path), flags, *arguments)

        monkeypatch.setattr(copies.os, "open", refuse)
    data = b"drawn marker " * 200_000
    async with open_copy(tmp_path, max_bytes=MANY) as copy:
        await copy.write(data)
        assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240 (a test may wait for its own directory)
        descriptor = find_descriptor(copy)
        stored = os.pread(descriptor, len(data), 0)
        assert len(stored) > MAX_BYTES_IN_MEMORY
        assert b"drawn marker" not in stored
        assert os.fstat(descriptor).st_mode & 0o077 == 0
        assert await copy.read() == data


async def test_two_copies_of_the_same_bytes_do_not_look_alike_on_the_disk(tmp_path: Path) -> None:
    async with open_copy(tmp_path, max_bytes=MANY) as one, open_copy(tmp_path, max_bytes=MANY) as other:
        for copy in (one, other):
            await copy.write(bytes(LONG))
        first, second = (os.pread(find_descriptor(copy), BLOCK_BYTES, 0) for copy in (one, other))
        assert first != second


async def test_nothing_stays_open_after_the_block(tmp_path: Path) -> None:
    async with open_copy(tmp_path, max_bytes=MANY) as copy:
        await copy.write(bytes(LONG))
        descriptor = find_descriptor(copy)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    with pytest.raises(CopyStorageError):
        await copy.read()


@pytest.mark.parametrize("position", [0, BLOCK_BYTES + 16, 3 * (BLOCK_BYTES + 16) + 5])
async def test_an_altered_block_is_never_given_out(tmp_path: Path, position: int) -> None:
    data = draw_bytes(LONG)
    async with open_copy(tmp_path, max_bytes=MANY) as copy:
        await write_in_pieces(copy, data)
        descriptor = find_descriptor(copy)
        octet = os.pread(descriptor, 1, position)
        os.pwrite(descriptor, bytes((octet[0] ^ 1,)), position)
        with pytest.raises(CopyStorageError):
            await copy.read()
        pieces = copy.chunks()
        given = [await anext(pieces) for _ in range(position // BLOCK_BYTES)]
        with pytest.raises(CopyStorageError):
            await anext(pieces)
        assert data.startswith(b"".join(given))


async def test_blocks_cannot_change_places(tmp_path: Path) -> None:
    async with open_copy(tmp_path, max_bytes=MANY) as copy:
        await copy.write(draw_bytes(LONG))
        descriptor = find_descriptor(copy)
        sealed = BLOCK_BYTES + 16
        first, second = os.pread(descriptor, sealed, 0), os.pread(descriptor, sealed, sealed)
        os.pwrite(descriptor, second + first, 0)
        with pytest.raises(CopyStorageError):
            await copy.read()


async def test_a_full_disk_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(copies.os, "pwrite", refuse)
    async with open_copy(tmp_path, max_bytes=MANY) as copy:
        with pytest.raises(CopyStorageError, match=r"ENOSPC.*Make room there"):
            await copy.write(bytes(LONG))


async def test_a_directory_that_is_not_there_is_a_failure_of_the_storage(tmp_path: Path) -> None:
    async with open_copy(tmp_path / "not there", max_bytes=MANY) as copy:
        with pytest.raises(CopyStorageError):
            await copy.write(bytes(LONG))
