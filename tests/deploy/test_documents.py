"""What the pages say exists: commands, options, settings, variables, files and other pages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import click
import pytest

from relay.cli import main
from relay.config import Settings, load_settings
from relay.config.keys import list_keys, list_sections
from relay.config.loading import CONFIG_VARIABLE
from tests.deploy.documents import (
    PAGES,
    ROOT,
    find_anchors,
    find_blocks,
    find_commands,
    find_inline_code,
    find_links,
    find_variables,
    read,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SECTIONS: Final = frozenset(section for section, _, _ in list_sections())
_KEYS: Final = frozenset(key.path for key in list_keys())

# `section.key` or `section.key = value`.
_SETTING: Final = re.compile(r"^([a-z_]+(?:\.[a-z_-]+)*\.[a-z0-9_]+)(?: = .+)?$")
# Settings of other programs that happen to look like ours.
_OTHERS: Final = frozenset({"server.api_key"})
_TITLES: Final = (
    "What is covered",
    "Ten minutes to the first green self-test",
    "Switching it off again",
    "When the relay is down",
    "Acting on your server",
    "What is already stored",
)


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(params=PAGES, ids=_name)
def page(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_every_link_leads_somewhere(page: Path) -> None:
    for link in find_links(read(page)):
        place, _, anchor = link.partition("#")
        if "://" in place or place.startswith("mailto:"):
            continue
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), f"{link} of {_name(page)}"
        assert not anchor or anchor in find_anchors(read(target)), f"{link} of {_name(page)}"


def test_every_file_of_the_project_that_is_named_is_there(page: Path) -> None:
    for code in find_inline_code(read(page)):
        place = code.removeprefix("/opt/breakwater/")
        if re.fullmatch(r"(?:deploy|docs|relay|scanner|signatures|db|tests)/[\w./-]+", place):
            assert (ROOT / place).exists() or "tiny" in place, f"`{code}` of {_name(page)}"


def test_every_command_is_one_of_the_program_and_has_the_options_it_is_given(page: Path) -> None:
    for words in find_commands(read(page)):
        _check_command(words)


def test_every_setting_that_is_named_is_one(page: Path) -> None:
    for code in find_inline_code(read(page)):
        found = _SETTING.fullmatch(code)
        if found is None or found.group(1).split(".")[0] not in _SECTIONS or code in _OTHERS:
            continue
        assert found.group(1) in _KEYS or _is_of_some_category(found.group(1)), f"`{code}` of {_name(page)}"


def test_every_configuration_that_is_shown_can_be_used(page: Path, tmp_path: Path) -> None:
    for number, block in enumerate(find_blocks(read(page))):
        if block.language != "toml":
            continue
        path = tmp_path / f"{number}.toml"
        # A file with a secret is made by a step of the page; here none is there to be read. Those with
        # credentials are read when their service is opened.
        text = re.sub(
            r"^((?!credentials)\w+)_file = .*$", rf'\1 = "{"s" * 32}"', block.text, flags=re.MULTILINE
        )
        # So is the directory of a model.
        (tmp_path / "model.safetensors").touch()
        text = text.replace('"/srv/models/nsfw"', f'"{tmp_path}"')
        path.write_text(text, encoding="utf-8")
        assert isinstance(load_settings(path, {"HOME": "/root"}), Settings)


@pytest.mark.parametrize("folder", ["deploy", "docs"])
def test_every_variable_of_the_relay_is_that_of_a_setting(folder: str) -> None:
    known = {key.variable for key in list_keys()} | {CONFIG_VARIABLE}
    named = {
        (variable, str(path.relative_to(ROOT)))
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix not in {".cjs", ".pyc"}
        for variable in find_variables(path.read_text(encoding="utf-8"))
    }

    assert {one for one in named if one[0] not in known} == set()


def test_the_pages_of_all_servers_answer_the_same_questions_in_the_same_order() -> None:
    pages = [path for path in sorted((ROOT / "docs" / "servers").glob("*.md")) if path.stem != "others"]

    assert pages
    for path in pages:
        titles = re.findall(r"^## (.+)$", read(path), re.MULTILINE)
        assert tuple(titles[: len(_TITLES)]) == _TITLES, _name(path)


def test_a_command_that_is_not_there_would_be_noticed() -> None:
    assert find_commands("```sh\nsudo breakwater sink --fast\n```\nor `breakwater float`") == [
        ["float"],
        ["sink", "--fast"],
    ]
    for words in (["float"], ["keys", "lose"], ["serve", "--fast"]):
        with pytest.raises(AssertionError):
            _check_command(words)


def _is_of_some_category(path: str) -> bool:
    """Tell whether it is a key of the policy of each category: `policy.<category>.act`."""
    return any(re.fullmatch(rf"policy\.[a-z-]+\.{path.rpartition('.')[2]}", key) for key in _KEYS)


def _check_command(words: Sequence[str]) -> None:
    line = " ".join(["breakwater", *words])
    command: click.Command = main
    context = click.Context(main)
    pending = [word for word in words if word != "…"]
    while isinstance(command, click.Group) and pending and not pending[0].startswith("-"):
        found = command.get_command(context, pending.pop(0))
        assert found is not None, line
        command = found
    known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
    for word in pending:
        if word.startswith("-") and word not in {"-", "--help", "-h", "--version"}:
            assert word.partition("=")[0] in known, line
