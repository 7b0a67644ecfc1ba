"""Keep a table of hashes and its PDQ index in files, mapped into memory and shared by all processes.

A directory is a cache, never the truth: it is named by the digest of its contents, written beside its final
place, renamed, and never changed afterwards. When it is opened, everything about it is verified, from the
owner to the SHA-256 of every file, and what does not fit is as if it were not there: whoever can change these
files decides what matches. Verifying costs half a second a gigabyte.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self

import numpy as np

from scanner.hashtable import EMPTY_TABLE, HashKind, HashTable
from scanner.index import PdqIndex

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from types import TracebackType

    from numpy.typing import NDArray

BASE_PREFIX: Final = "base3-"
"""Part of the directory's name; changes with the layout."""
_SCRATCH_PREFIX: Final = ".new-"
_MANIFEST: Final = "manifest"
_MAX_MANIFEST_BYTES: Final = 64 * 1024
"""A name, a size and a digest for each of nine files take less than two kilobytes."""
_CHUNK_BYTES: Final = 1 << 20
_HASHING_THREADS: Final = 4
"""Hashing leaves the interpreter's lock; more threads than this wait for the disk."""
_ROWS_SUFFIX: Final = ".rows"
MIN_INDEXED_ROWS: Final = 4_097
"""Smaller tables are compared row by row."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Base:
    """A table with what was made of it once.

    Attributes:
        table: The hashes.
        digest: Of the table.
        index: Of its PDQ hashes; None where there are so few that none is needed.
    """

    table: HashTable
    digest: bytes
    index: PdqIndex | None = None

    @classmethod
    def in_memory(cls, table: HashTable) -> Self:
        """Make the same of a table without any file."""
        rows = table.get_rows(HashKind.PDQ)
        index = PdqIndex.build(rows) if len(rows) >= MIN_INDEXED_ROWS else None
        return cls(table=table, digest=table.digest(), index=index)


class BaseWriter:
    """Write a base from sorted pieces, without holding it in memory; a context manager.

    What was not finished is removed.
    """

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._root = root
        self._scratch = _make_scratch(root)
        self._last: dict[HashKind, bytes] = {}
        self._counts: dict[HashKind, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)

    def write(self, kind: HashKind, rows: NDArray[np.uint8]) -> None:
        """Append hashes of a kind, uint8 [N, width], sorted bytewise and above all that came before.

        Raises:
            ValueError: They are not: a binary search would miss some of them.
            OSError: They could not be written.
        """
        if not len(rows):
            return
        rows = np.ascontiguousarray(rows)
        names = rows.view(f"S{kind.width}").ravel()
        # numpy ignores zeros at the end of such strings when it compares, so equal ones are looked at twice.
        doubtful = np.flatnonzero(names[1:] <= names[:-1])
        is_rising = all(rows[place].tobytes() < rows[place + 1].tobytes() for place in doubtful.tolist())
        if not is_rising or rows[0].tobytes() <= self._last.get(kind, b""):
            raise ValueError("hashes must be sorted before they are kept")
        self._last[kind] = rows[-1].tobytes()
        self._counts[kind] = self._counts.get(kind, 0) + len(rows)
        with _open_private(self._scratch / f"{kind}{_ROWS_SUFFIX}") as file:
            file.write(rows.data)

    def finish(self) -> Base:
        """Index what was written and put it in its place.

        Raises:
            OSError: It could not be written, or not read back.
        """
        table = HashTable(rows=_map_rows(self._scratch, self._counts))
        if {kind: len(rows) for kind, rows in table.rows.items()} != self._counts:
            raise OSError("what was written to the directory of the hash lists is no longer there")
        digest = table.digest()
        pdq = table.get_rows(HashKind.PDQ)
        if len(pdq) >= MIN_INDEXED_ROWS:
            PdqIndex.build(pdq, self._allocate)
        _seal(self._scratch, digest)
        place = self._root / f"{BASE_PREFIX}{digest.hex()}"
        # A rename replaces no directory that holds files, so a damaged one is moved away first. Another
        # process may do the same at the same time; whichever comes last uses what the other wrote.
        displaced = _make_scratch(self._root)
        try:
            with contextlib.suppress(FileNotFoundError):
                place.rename(displaced)
            with contextlib.suppress(FileExistsError):
                self._scratch.rename(place)
        finally:
            shutil.rmtree(displaced, ignore_errors=True)
        _sync_directory(self._root)
        found = find_base(self._root, digest)
        if found is None:
            raise OSError("what was written to the directory of the hash lists cannot be read back")
        return found

    def _allocate(self, name: str, size: int, dtype: type[np.generic]) -> NDArray[Any]:
        path = self._scratch / name
        with _open_private(path) as file:
            file.truncate(size * np.dtype(dtype).itemsize)
        return np.memmap(path, dtype=dtype, mode="r+", shape=(size,))


def find_base(root: Path, digest: bytes) -> Base | None:
    """Map a base that was kept; None where there is none or anything about it is wrong."""
    place = root / f"{BASE_PREFIX}{digest.hex()}"
    try:
        _check_private(place, stat.S_ISDIR)
        manifest = _read_manifest(place)
        if manifest["digest"] != digest.hex():
            return None
        with ThreadPoolExecutor(_HASHING_THREADS) as pool:
            names = [path.name for path in place.iterdir() if path.name != _MANIFEST]
            seen = dict(zip(names, pool.map(lambda name: _describe(place / name), names), strict=True))
        if seen != manifest["files"]:
            return None
        kinds = [kind for kind in HashKind if f"{kind}{_ROWS_SUFFIX}" in seen]
        table = HashTable(rows=_map_rows(place, kinds))
        return Base(table=table, digest=digest, index=_map_index(place, table))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def prune_bases(root: Path, keep: Collection[bytes]) -> int:
    """Remove the bases that are no longer used, and what processes left that ended while they wrote.

    What is mapped lives on until it is closed.

    Returns:
        How many were removed.
    """
    wanted = {f"{BASE_PREFIX}{digest.hex()}" for digest in keep}
    stale = [place for place in root.glob("base*-*") if place.name not in wanted]
    abandoned = [place for place in root.glob(f"{_SCRATCH_PREFIX}*") if not _is_running(place)]
    for place in (*stale, *abandoned):
        if place.is_dir():
            shutil.rmtree(place, ignore_errors=True)
        else:
            place.unlink(missing_ok=True)
    return len(stale)


def write_base(root: Path, parts: Iterable[tuple[HashKind, NDArray[np.uint8]]]) -> Base:
    """Write a base from pieces in order.

    Raises:
        ValueError: They are not in order.
        OSError: They could not be written.
    """
    with BaseWriter(root) as writer:
        for kind, rows in parts:
            writer.write(kind, rows)
        return writer.finish()


def _make_scratch(root: Path) -> Path:
    """Make a directory that says who writes in it."""
    return Path(tempfile.mkdtemp(dir=root, prefix=f"{_SCRATCH_PREFIX}{os.getpid()}-"))


def _is_running(scratch: Path) -> bool:
    """Tell whether the process that made a directory still runs; a number used again only delays us."""
    number = scratch.name.removeprefix(_SCRATCH_PREFIX).partition("-")[0]
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True


def _map_rows(place: Path, kinds: Iterable[HashKind]) -> dict[HashKind, NDArray[np.uint8]]:
    """Map the hashes of these kinds.

    Raises:
        OSError: One is not there: another process may have removed it since it was written, or verified.
        ValueError: One is empty, or holds half a hash.
    """
    rows: dict[HashKind, NDArray[np.uint8]] = {}
    for kind in kinds:
        # As a plain array: a memmap is subclassed, and every slice of it costs a microsecond more.
        mapped = np.asarray(np.memmap(place / f"{kind}{_ROWS_SUFFIX}", dtype=np.uint8, mode="r"))
        rows[kind] = mapped.reshape(-1, kind.width)
    return rows


def _map_index(place: Path, table: HashTable) -> PdqIndex | None:
    rows = table.get_rows(HashKind.PDQ)
    if len(rows) < MIN_INDEXED_ROWS:
        return None
    arrays = {
        name: np.asarray(np.memmap(place / name, dtype=dtype, mode="r", shape=(size,)))
        for name, (size, dtype) in PdqIndex.sizes(len(rows)).items()
    }
    return PdqIndex(rows=rows, **arrays)


def _seal(place: Path, digest: bytes) -> None:
    """Write the manifest, and everything through to the disk."""
    names = sorted(path.name for path in place.iterdir())
    for name in names:
        with (place / name).open("rb") as file:
            os.fsync(file.fileno())
    with ThreadPoolExecutor(_HASHING_THREADS) as pool:
        files = dict(zip(names, pool.map(lambda name: _describe(place / name), names), strict=True))
    body = json.dumps({"digest": digest.hex(), "files": files}, sort_keys=True).encode()
    write_checked(place / _MANIFEST, body)
    _sync_directory(place)


def _read_manifest(place: Path) -> dict[str, Any]:
    document = json.loads(read_checked(place / _MANIFEST, max_bytes=_MAX_MANIFEST_BYTES))
    if not isinstance(document, dict):
        raise TypeError("a manifest is an object")
    return document


def _describe(path: Path) -> dict[str, object]:
    """Say how long a file is and what its SHA-256 is, without mapping it."""
    with _open_checked(path) as file:
        state = hashlib.sha256()
        size = 0
        while chunk := file.read(_CHUNK_BYTES):
            state.update(chunk)
            size += len(chunk)
    return {"bytes": size, "sha256": state.hexdigest()}


def write_checked(path: Path, body: bytes) -> None:
    """Write a small private file that says its own SHA-256; readers see all of it or the one before.

    Raises:
        OSError: It could not be written.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{_SCRATCH_PREFIX}{os.getpid()}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def read_checked(path: Path, *, max_bytes: int) -> bytes:
    """Read a file that `write_checked` wrote.

    Raises:
        OSError: It cannot be read, or others may have written it.
        ValueError: It is not what was written.
    """
    with _open_checked(path) as file:
        data = file.read(max_bytes + 1)
    digest, _, body = data.partition(b"\n")
    if len(data) > max_bytes or digest.decode("ascii") != hashlib.sha256(body).hexdigest():
        raise ValueError("the file is not what was written")
    return body


def _open_private(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600), "wb")


def _open_checked(path: Path) -> BinaryIO:
    _check_private(path, stat.S_ISREG)
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")


def _check_private(path: Path, is_kind: Callable[[int], bool]) -> None:
    """Refuse what others own or may write.

    Raises:
        OSError: They do, or it is of another kind, a link for example.
    """
    found = path.lstat()
    if not is_kind(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise PermissionError("a file of the hash lists is not ours alone")


def _sync_directory(place: Path) -> None:
    handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


EMPTY_BASE: Final = Base(table=EMPTY_TABLE, digest=EMPTY_TABLE.digest())
