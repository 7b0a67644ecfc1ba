"""Keep built PDQ indexes on disk, mapped into memory and shared by all processes.

A directory is a cache, never the truth: it is named by the digest of the list, written beside its final place
and renamed, and whatever about it does not fit is built anew. Whoever may write to the cache directory
decides what matches, so it belongs into the relay's data directory.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from scanner.index import PDQ_BYTES, SLOT_VALUES, SLOTS, PdqIndex

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT: Final = "pdq1"
"""Part of the directory's name; changes with the layout."""
_FILES: Final = ("first.npy", "last.npy", "order.npy", "starts.npy")


def open_pdq_index(hashes: NDArray[np.uint8], *, digest: bytes, cache_dir: Path | None = None) -> PdqIndex:
    """Load the index of `hashes` from the cache, or build it and keep it there.

    Args:
        hashes: uint8 [N, 32].
        digest: Names the cached files; must change whenever `hashes` changes (`HashList.digest` does).
        cache_dir: Where built indexes are kept; None builds in memory.

    Raises:
        ValueError: `hashes` has another shape or type.
        OSError: the cache directory cannot be written.
    """
    if cache_dir is None:
        return PdqIndex.build(hashes)
    place = cache_dir / f"{FORMAT}-{digest.hex()}"
    found = find_saved(place, hashes)
    if found is not None:
        return found
    save(PdqIndex.build(hashes), place)
    # What was written is read back mapped, so that its pages are shared and may be dropped under pressure.
    saved = find_saved(place, hashes)
    return saved if saved is not None else PdqIndex.build(hashes)


def save(index: PdqIndex, place: Path) -> None:
    """Write an index as .npy files; readers see all of it or nothing.

    Raises:
        OSError: the directory cannot be written.
    """
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = Path(tempfile.mkdtemp(dir=place.parent, prefix=".new-"))
    try:
        arrays: tuple[NDArray[Any], ...] = (*index.halves, index.order, index.starts)
        for name, array in zip(_FILES, arrays, strict=True):
            with (scratch / name).open("wb") as file:
                np.save(file, array)
                file.flush()
                os.fsync(file.fileno())
        if place.exists():
            shutil.rmtree(place)
        scratch.rename(place)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def find_saved(place: Path, hashes: NDArray[np.uint8]) -> PdqIndex | None:
    """Map a saved index; None where there is none or it does not belong to `hashes`."""
    try:
        first, last, order, starts = (
            np.load(place / name, mmap_mode="r", allow_pickle=False) for name in _FILES
        )
    except (OSError, ValueError, EOFError):
        return None
    rows = len(hashes)
    expected = (
        (first, (rows, 2), np.uint64),
        (last, (rows, 2), np.uint64),
        (order, (SLOTS * rows,), np.uint32),
        (starts, (SLOTS * SLOT_VALUES + 1,), np.uint32),
    )
    if any(array.shape != shape or array.dtype != dtype for array, shape, dtype in expected):
        return None
    # Comparing the hashes costs some milliseconds a million and catches a cache of another list. The order is
    # checked by its sums: a permutation of all rows in every slot.
    words = np.ascontiguousarray(hashes).view(np.uint64).reshape(rows, PDQ_BYTES // 8)
    is_same = np.array_equal(words[:, :2], first) and np.array_equal(words[:, 2:], last)
    total = rows * (rows - 1) // 2
    has_all = all(int(part.sum(dtype=np.uint64)) == total for part in np.split(order, SLOTS))
    is_rising = (
        int(starts[0]) == 0 and int(starts[-1]) == SLOTS * rows and bool(np.all(starts[1:] >= starts[:-1]))
    )
    if not (is_same and has_all and is_rising):
        return None
    return PdqIndex(halves=(first, last), order=order, starts=starts)
