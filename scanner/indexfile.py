"""Keep built PDQ indexes on disk, mapped into memory and shared by all processes.

A directory is a cache, never the truth: it is named by the digest of the list, written beside its final place
and renamed, and whatever about it does not fit is built anew. Whoever may write to the cache directory
decides what matches, so it belongs into the relay's data directory.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from scanner.index import PDQ_BYTES, SLOT_VALUES, SLOTS, PdqIndex

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

FORMAT: Final = "pdq2"
"""Part of the directory's name; changes with the layout."""
_FILES: Final = ("first.npy", "last.npy", "order.npy", "following.npy", "starts.npy")


def open_pdq_index(hashes: NDArray[np.uint8], *, digest: bytes, cache_dir: Path | None = None) -> PdqIndex:
    """Load the index of `hashes` from the cache, or build it and keep it there.

    Args:
        hashes: uint8 [N, 32].
        digest: Names the cached files; must change whenever `hashes` changes (`HashList.digest` does).
        cache_dir: Where built indexes are kept; None builds in memory.

    Raises:
        ValueError: `hashes` has another shape or type.
    """
    if cache_dir is None:
        return PdqIndex.build(hashes)
    place = cache_dir / f"{FORMAT}-{digest.hex()}"
    found = find_saved(place, hashes)
    if found is not None:
        return found
    built = PdqIndex.build(hashes)
    try:
        save(built, place)
    except OSError:
        # A full or read-only disk costs the sharing of memory, not the matching.
        return built
    # What was written is read back mapped, so that its pages are shared and may be dropped under pressure.
    return find_saved(place, hashes) or built


def save(index: PdqIndex, place: Path) -> None:
    """Write an index as .npy files; readers see all of it or nothing.

    Raises:
        OSError: the directory cannot be written.
    """
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = Path(tempfile.mkdtemp(dir=place.parent, prefix=".new-"))
    try:
        arrays: tuple[NDArray[Any], ...] = (*index.halves, index.order, index.following, index.starts)
        for name, array in zip(_FILES, arrays, strict=True):
            with (scratch / name).open("wb") as file:
                np.save(file, array)
                file.flush()
                os.fsync(file.fileno())
        # A rename replaces no directory that holds files, so a damaged one is moved away first. Another
        # process may do the same at the same time; whichever comes last fails here and uses what the other
        # wrote.
        with contextlib.suppress(FileNotFoundError):
            place.rename(Path(tempfile.mkdtemp(dir=place.parent, prefix=".old-")))
        scratch.rename(place)
    finally:
        for leftover in (scratch, *place.parent.glob(".old-*")):
            shutil.rmtree(leftover, ignore_errors=True)


def prune(cache_dir: Path, keep: Collection[bytes]) -> int:
    """Remove the indexes of lists that are no longer used; mapped ones live on until they are closed.

    Args:
        cache_dir: As for `open_pdq_index`.
        keep: The digests of the lists in use.

    Returns:
        How many were removed.
    """
    wanted = {f"{FORMAT}-{digest.hex()}" for digest in keep}
    stale = [place for place in cache_dir.glob("pdq*-*") if place.name not in wanted]
    for place in stale:
        shutil.rmtree(place, ignore_errors=True)
    return len(stale)


def find_saved(place: Path, hashes: NDArray[np.uint8]) -> PdqIndex | None:
    """Map a saved index; None where there is none or it does not belong to `hashes`."""
    try:
        first, last, order, following, starts = (
            np.load(place / name, mmap_mode="r", allow_pickle=False) for name in _FILES
        )
    except (OSError, ValueError, EOFError):
        return None
    rows = len(hashes)
    expected = (
        (first, (rows, 2), np.uint64),
        (last, (rows, 2), np.uint64),
        (order, (SLOTS * rows,), np.uint32),
        (following, (SLOTS * rows,), np.uint16),
        (starts, (SLOTS * SLOT_VALUES + 1,), np.uint32),
    )
    if any(array.shape != shape or array.dtype != dtype for array, shape, dtype in expected):
        return None
    # Comparing the hashes costs some milliseconds a million and catches a cache of another list. What is
    # derived from them is checked by its sums: every slot orders all rows and repeats all values of the next
    # slot.
    words = np.ascontiguousarray(hashes).view(np.uint64).reshape(rows, PDQ_BYTES // 8)
    is_same = np.array_equal(words[:, :2], first) and np.array_equal(words[:, 2:], last)
    total = rows * (rows - 1) // 2
    has_all = all(int(part.sum(dtype=np.uint64)) == total for part in np.split(order, SLOTS))
    slots = np.ascontiguousarray(hashes).view(np.uint16).sum(axis=0, dtype=np.uint64)
    has_all = has_all and all(
        int(part.sum(dtype=np.uint64)) == int(slots[(slot + 1) % SLOTS])
        for slot, part in enumerate(np.split(following, SLOTS))
    )
    is_rising = (
        int(starts[0]) == 0 and int(starts[-1]) == SLOTS * rows and bool(np.all(starts[1:] >= starts[:-1]))
    )
    if not (is_same and has_all and is_rising):
        return None
    return PdqIndex(halves=(first, last), order=order, following=following, starts=starts)
