"""Find a model in the cache that the hub's own tools fill; nothing is ever fetched."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from scanner.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PREFIX: Final = "hub:"
DEFAULT_REVISION: Final = "main"
_PART: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_NAME: Final = re.compile(rf"({_PART})/({_PART})(?:@({_PART}))?\Z")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}\Z")
_MAX_REF_BYTES: Final = 64


def find_cache(environ: Mapping[str, str], home: Path) -> Path:
    """Return where the hub's tools keep models. Source: huggingface_hub, environment variables."""
    if cache := environ.get("HF_HUB_CACHE"):
        return Path(cache)
    if hf_home := environ.get("HF_HOME"):
        return Path(hf_home) / "hub"
    return Path(environ.get("XDG_CACHE_HOME") or home / ".cache") / "huggingface" / "hub"


def find_snapshot(name: str, cache: Path) -> Path:
    """Find the directory of a model that was downloaded before.

    Args:
        name: `owner/model`, with `@` and a branch, tag or commit where it is not the main one.
        cache: From `find_cache`.

    Raises:
        MalformedError: the name is none, or the model is not in the cache.
    """
    found = _NAME.match(name)
    if found is None:
        raise MalformedError(f"{name!r} names no model; write owner/model or owner/model@revision")
    owner, model, revision = found.groups()
    repository = cache / f"models--{owner}--{model}"
    commit = _read_ref(repository, revision or DEFAULT_REVISION)
    folder = repository / "snapshots" / commit
    if not _COMMIT.match(commit) or not folder.is_dir():
        raise MalformedError(
            f"{owner}/{model} is not in the hub's cache at {cache}; download it first: "
            f"hf download {owner}/{model}"
        )
    return folder


def copy_snapshot(folder: Path, target: Path, files: Sequence[str]) -> None:
    """Copy files of a snapshot, which are links into the cache, to where they stay.

    Raises:
        MalformedError: they cannot be copied.
    """
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name in files:
            shutil.copyfile(folder / name, target / name)
    except OSError as error:
        raise MalformedError(f"the model cannot be copied to {target}") from error


def _read_ref(repository: Path, revision: str) -> str:
    if _COMMIT.match(revision):
        return revision
    try:
        with (repository / "refs" / revision).open("rb") as file:
            return file.read(_MAX_REF_BYTES).decode("ascii", "replace").strip()
    except OSError:
        return ""
