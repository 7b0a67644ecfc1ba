"""A directory is listed in an order that stays, and nothing outside it is ever read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from relay.sweep.local import LocalSource
from relay.sweep.source import (
    FileUnreadableError,
    FileVanishedError,
    PassedOver,
    SourceError,
    StoredFile,
    Trouble,
)
from tests.relay.sweep.parts import list_all, read, write_tree

if TYPE_CHECKING:
    from pathlib import Path

TREE = {"b.png": b"b", "a/z.png": b"z", "a/a/deep.png": b"deep", "a.png": b"a", "c/1": b"1", "c/2": b"2"}
ORDER = ["a/a/deep.png", "a/z.png", "a.png", "b.png", "c/1", "c/2"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "media", TREE)


async def test_files_come_in_the_order_of_their_names_directory_by_directory(root: Path) -> None:
    source = LocalSource(root)
    assert [entry.name for entry in await list_all(source)] == ORDER
    assert [await read(source, entry) for entry in await list_all(source)] == [TREE[name] for name in ORDER]
    assert await source.count() == len(ORDER)


async def test_behind_any_place_comes_exactly_the_rest(root: Path) -> None:
    source = LocalSource(root)
    entries = await list_all(source)
    for number, entry in enumerate(entries, start=1):
        assert await list_all(source, entry.cursor) == entries[number:]


async def test_a_place_holds_when_its_file_and_directory_are_gone(root: Path) -> None:
    source = LocalSource(root)
    (root / "a/z.png").unlink()
    assert [entry.name for entry in await list_all(source, b"a/z.png")] == ORDER[2:]
    (root / "c/1").unlink()
    (root / "c/2").unlink()
    (root / "c").rmdir()
    assert await list_all(source, b"c/1") == []
    # What was a directory may be a file by now, which nobody has looked at.
    (root / "c").write_bytes(b"new")
    assert [entry.name for entry in await list_all(source, b"c/1")] == ["c"]


async def test_links_hidden_and_temporary_files_are_left_out_and_counted(root: Path, tmp_path: Path) -> None:
    write_tree(root, {".hidden": b"h", ".dir/x.png": b"x", "a.png.part": b"p", "b.TMP": b"t"})
    write_tree(tmp_path / "outside", {"secret.png": b"secret"})
    (root / "link.png").symlink_to(tmp_path / "outside" / "secret.png")
    (root / "linked").symlink_to(tmp_path / "outside")
    (root / "a" / "loop").symlink_to(root)
    os.mkfifo(root / "pipe")
    entries = await list_all(LocalSource(root))
    assert [entry.name for entry in entries if isinstance(entry, StoredFile)] == ORDER
    left_out = [entry for entry in entries if isinstance(entry, PassedOver)]
    assert {entry.name for entry in left_out} == {
        *(".hidden", ".dir", "a.png.part", "b.TMP", "link.png", "linked", "a/loop", "pipe")
    }
    assert all(entry.trouble is None and not entry.is_gone for entry in left_out)


async def test_what_took_the_place_of_a_file_is_not_read(root: Path, tmp_path: Path) -> None:
    source = LocalSource(root)
    by_name = {entry.name: entry for entry in await list_all(source)}
    secret = write_tree(tmp_path, {"secret": b"secret"}) / "secret"
    for name in ("a.png", "b.png", "c/1", "c/2"):
        (root / name).unlink()
    (root / "b.png").symlink_to(secret)
    os.mkfifo(root / "c/1")
    (root / "c/2").mkdir()
    for name in ("a.png", "b.png", "c/1", "c/2"):
        with pytest.raises(FileVanishedError):
            await read(source, by_name[name])


async def test_a_name_in_no_encoding_is_listed_read_and_shown_harmlessly(root: Path) -> None:
    odd = os.fsencode(root) + b"/\xff\x1b[2J.png"
    with open(odd, "wb") as file:  # noqa: ASYNC230, PTH123 (a name that is no text)
        file.write(b"odd")
    source = LocalSource(root)
    entry = (await list_all(source))[-1]
    assert await read(source, entry) == b"odd"
    assert entry.name.isprintable()
    assert await list_all(source, entry.cursor) == []


async def test_what_may_not_be_read_is_reported(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, "scandir", root / "a")
    refuse(monkeypatch, "open", root / "b.png")
    source = LocalSource(root)
    entries = await list_all(source)
    assert [entry.name for entry in entries] == ["a", *ORDER[2:]]
    first = entries[0]
    assert isinstance(first, PassedOver)
    assert first.trouble is Trouble.PERMISSION_DENIED
    assert [entry.name for entry in await list_all(source, first.cursor)] == ORDER[2:]
    with pytest.raises(FileUnreadableError) as caught:
        await read(source, entries[2])
    assert caught.value.trouble is Trouble.PERMISSION_DENIED


async def test_a_directory_that_cannot_be_listed_is_explained(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, "scandir", root)
    for path, why in (
        (tmp_path / "missing", "No such file or directory"),
        (root / "b.png", "Not a directory"),
        (root, "Permission denied"),
    ):
        with pytest.raises(SourceError, match=f"{why}.*Nothing was examined.*Check the path"):
            await LocalSource(path).check()


def refuse(monkeypatch: pytest.MonkeyPatch, call: str, path: Path) -> None:
    """Let a call of the system refuse one path, as it does to users who are not root."""
    real = getattr(os, call)

    def refusing(given: Any, *rest: Any, **named: Any) -> Any:
        if os.path.normpath(os.fsencode(given)) == os.fsencode(path):
            raise PermissionError(13, "Permission denied")
        return real(given, *rest, **named)

    monkeypatch.setattr(f"relay.sweep.local.os.{call}", refusing)
