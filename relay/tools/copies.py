"""Keep a private copy of bytes on their way through, readable by nobody else and gone with its block.

Small copies stay in memory. Of longer ones only the last block does; the rest lies in a file without a
name, in blocks that are sealed with AES-256-GCM under a key that exists in this process's memory alone. So
nothing unexamined lies readable on a disk or in a backup, and nothing survives a crash, not even
as ciphertext. A block that was altered is noticed when it is read. Reusing a nonce under this key is
impossible: the key belongs to one copy, the nonce is the number of the block, and a block is written once.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import io
import os
import tempfile
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.errors import BreakwaterError, StartupError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

# The same for pictures of ordinary size: a file costs more time than they cost memory.
MAX_BYTES_IN_MEMORY: Final = 1024 * 1024
# What is sealed at once. Of a longer copy a block and a piece lie in memory: long enough that the visits to a
# thread do not count, short enough for hundreds of copies.
BLOCK_BYTES: Final = 128 * 1024
# What is given out at once of what lies in memory.
MAX_PIECE_BYTES: Final = 256 * 1024
_KEY_BITS: Final = 256
_NONCE_BYTES: Final = 12  # Source: NIST SP 800-38D, 5.2.1.1, the recommended IV length of 96 bits.
_TAG_BYTES: Final = 16  # Source: NIST SP 800-38D, 5.2.1.2, the longest tag.
_SEALED_BYTES: Final = BLOCK_BYTES + _TAG_BYTES
# How kernels and file systems say that they know no files without a name. Source: open(2), O_TMPFILE.
_NO_UNNAMED_FILES: Final = frozenset((errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT))


class CopyTooLargeError(BreakwaterError):
    """The copy would become longer than it may; it holds what came before."""


class CopyStorageError(BreakwaterError):
    """The disk does not take the copy or does not give it back: it is full, broken or was tampered with."""


class Copy:
    """The bytes that were written so far, in their order; see `open_copy`.

    One task writes. Reading may go on at the same time and sees what was written before it began.
    """

    def __init__(self, directory: Path, *, max_bytes: int, is_long: bool) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._in_memory_bytes = 0 if is_long else MAX_BYTES_IN_MEMORY
        self._digest = hashlib.sha256()
        self._size = 0
        self._is_closed = False
        self._blocks: _SealedBlocks | None = None
        self._sealed = 0
        # Everything while it is short, then what follows the last sealed block.
        self._tail = bytearray()

    @property
    def size(self) -> int:
        """How many bytes were written."""
        return self._size

    @property
    def sha256(self) -> bytes:
        """The 32 bytes of the digest of what was written."""
        return self._digest.digest()

    async def write(self, chunk: bytes) -> None:
        """Append bytes.

        Raises:
            CopyTooLargeError: They would pass the bound; none of them was taken.
            CopyStorageError: The disk did not take them; the copy is of no more use.
        """
        if self._size + len(chunk) > self._max_bytes:
            raise CopyTooLargeError("The bytes are more than a copy of them may hold.")
        self._digest.update(chunk)
        self._tail += chunk
        self._size += len(chunk)
        if self._size > self._in_memory_bytes and len(self._tail) >= BLOCK_BYTES:
            await self._seal()

    async def read(self) -> bytes:
        """Return everything that was written, checked against its digest.

        The caller accounts for that much memory.

        Raises:
            CopyStorageError: The disk did not give back what was written.
        """
        self._require_open()
        sealed, tail, digest = self._sealed, bytes(self._tail), self._digest.digest()
        if self._blocks is None:
            return tail
        data = await asyncio.to_thread(self._blocks.join, sealed, tail)
        if (await asyncio.to_thread(hashlib.sha256, data)).digest() != digest:
            raise CopyStorageError("A file in the data directory does not hold what was written to it.")
        return data

    async def chunks(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to `stop`, each block checked before it is given out.

        Args:
            start: Where to begin; not negative.
            stop: Where to end; None for the size at the time of the call.

        Raises:
            CopyStorageError: The disk did not give back what was written.
        """
        stop = self._size if stop is None else min(stop, self._size)
        position = start
        while position < stop:
            self._require_open()
            number, offset = divmod(position, BLOCK_BYTES)
            if self._blocks is not None and number < self._sealed:
                block = await asyncio.to_thread(self._blocks.open, number)
                end = min(stop - number * BLOCK_BYTES, BLOCK_BYTES)
                piece = block if end - offset == BLOCK_BYTES else block[offset:end]
            else:
                skip = self._sealed * BLOCK_BYTES
                end = min(stop, position + MAX_PIECE_BYTES)
                piece = bytes(memoryview(self._tail)[position - skip : end - skip])
            yield piece
            position += len(piece)

    async def close(self) -> None:
        """Forget the bytes."""
        self._is_closed = True
        self._tail = bytearray()
        if self._blocks is not None:
            # Giving back a long file's blocks takes the file system its time.
            await asyncio.to_thread(self._blocks.close)

    def _require_open(self) -> None:
        if self._is_closed:
            raise CopyStorageError("The copy is gone, with whoever made it.")

    async def _seal(self) -> None:
        """Move whole blocks from memory to the file."""
        if self._blocks is None:
            self._blocks = _SealedBlocks(self._directory)
        whole = len(self._tail) // BLOCK_BYTES * BLOCK_BYTES
        try:
            # Nobody changes the tail meanwhile, so that the thread may look at it in its place.
            await asyncio.to_thread(self._blocks.put, self._sealed, memoryview(self._tail)[:whole])
        except OSError as error:
            raise CopyStorageError(
                "The disk of the data directory takes no more of what is on its way through "
                f"({errno.errorcode.get(error.errno or 0, 'unknown')}). What does not fit is not delivered. "
                "Make room there."
            ) from error
        # Both at once, so that whoever reads meanwhile finds every byte in one place.
        self._sealed += whole // BLOCK_BYTES
        self._tail = self._tail[whole:]


class _SealedBlocks:
    """Whole blocks in a file without a name; everything here blocks, and is called from threads.

    A thread cannot be cancelled with the task that waits for it, so that the file may be closed while one
    still works on it; the lock keeps its descriptor from being somebody else's by then.
    """

    def __init__(self, directory: Path) -> None:
        self._lock = threading.Lock()
        self._directory = directory
        self._cipher = AESGCM(AESGCM.generate_key(bit_length=_KEY_BITS))
        self._descriptor: int | None = None
        self._is_closed = False

    def put(self, number: int, blocks: memoryview) -> None:
        """Seal blocks, the first of them with this number; each number once.

        Raises:
            OSError: The disk did not take them.
        """
        with self._lock:
            descriptor = self._require_file()
            for begin in range(0, len(blocks), BLOCK_BYTES):
                sealed = self._cipher.encrypt(_nonce_of(number), blocks[begin : begin + BLOCK_BYTES], None)
                _write_at(descriptor, sealed, number * _SEALED_BYTES)
                number += 1

    def open(self, number: int) -> bytes:
        """Return one block.

        Raises:
            CopyStorageError: It cannot be read, or is not what was sealed.
        """
        with self._lock:
            try:
                sealed = os.pread(self._require_file(), _SEALED_BYTES, number * _SEALED_BYTES)
                return self._cipher.decrypt(_nonce_of(number), sealed, None)
            except (OSError, InvalidTag) as error:
                raise CopyStorageError(
                    "A file in the data directory cannot be read back, or was altered. What it held is not "
                    "delivered. Look into the system's log for errors of the disk."
                ) from error

    def join(self, count: int, tail: bytes) -> bytes:
        """Return the first blocks and what follows them.

        Raises:
            CopyStorageError: As for `open`.
        """
        # A buffer that gives its own memory away, so that the bytes exist once.
        whole = io.BytesIO()
        for number in range(count):
            whole.write(self.open(number))
        whole.write(tail)
        return whole.getvalue()

    def close(self) -> None:
        """Give the file back to the system, which forgets it."""
        with self._lock:
            self._is_closed = True
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def _require_file(self) -> int:
        if self._is_closed:
            raise OSError(errno.EBADF, "The copy is closed.")
        if self._descriptor is None:
            self._descriptor = _open_unnamed(self._directory)
        return self._descriptor


def make_directory(directory: Path) -> Path:
    """Make the directory in which long copies lie, for nobody else to read, unless it is there.

    Raises:
        StartupError: It cannot be made.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartupError(
            f"The directory {directory} cannot be made ({error.strerror}). Sealed copies of what is examined "
            "on its way through are kept there. Check the owner and the mode of the data directory."
        ) from error
    return directory


@asynccontextmanager
async def open_copy(
    directory: Path, *, max_bytes: int, expected_bytes: int | None = None
) -> AsyncIterator[Copy]:
    """Open an empty copy; it is gone at the end of the block.

    Args:
        directory: Where the file lies if one is needed.
        max_bytes: The most that the copy may hold.
        expected_bytes: How much is said to come, if anybody says so. What is said to be long goes to the disk
            from its first block on.
    """
    is_long = expected_bytes is not None and expected_bytes > MAX_BYTES_IN_MEMORY
    copy = Copy(directory, max_bytes=max_bytes, is_long=is_long)
    try:
        yield copy
    finally:
        await copy.close()


def _open_unnamed(directory: Path) -> int:
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in _NO_UNNAMED_FILES:
            raise
    descriptor, path = tempfile.mkstemp(prefix="copy-", dir=directory)
    try:
        os.unlink(path)  # noqa: PTH108 (what mkstemp gives is text)
    except OSError:
        with contextlib.suppress(OSError):
            os.close(descriptor)
        raise
    return descriptor


def _nonce_of(number: int) -> bytes:
    return number.to_bytes(_NONCE_BYTES, "big")


def _write_at(descriptor: int, data: bytes, position: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, position)
        view, position = view[written:], position + written
