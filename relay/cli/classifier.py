"""`breakwater classifier`: bring a model, try it, measure it, and see how it agrees with moderators."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console

from relay.cli.classifier_calibrate import calibrate_command
from relay.cli.classifier_status import status_command
from relay.cli.classifier_trial import test_command
from relay.cli.options import config_options, explained, json_option, print_json, print_rows, read_settings
from relay.config import read_environment
from relay.errors import BreakwaterError
from scanner.calibration import CALIBRATION_NAME, PERMILLE
from scanner.classifier_draft import INT8_NAME, build_draft, find_files, quantize_graph, read_labels
from scanner.classifier_hub import PREFIX, copy_snapshot, find_cache, find_snapshot
from scanner.classifier_precision import AUTO, Precision
from scanner.embedded_classifier import get_embedded_calibration
from scanner.errors import MalformedError
from scanner.model_files import ONNX_SUFFIX, read_calibration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from relay.config import Settings
    from scanner.calibration import Calibration

_COPIES: Final = "classifiers"
"""Under the data directory: models out of the hub's cache, which its own tools may empty."""
_MAX_PROMPT_BYTES: Final = 1 << 20
_OUTSIDE: Final = re.compile(r"[^a-z0-9._-]+")
_MAP: Final = re.compile(r"(?P<label>.+)=(?P<category>[a-z-]+):(?P<threshold>0?\.\d{1,3}|1(?:\.0{1,3})?)\Z")


class ClassifierRefusedError(BreakwaterError):
    """A classifier was not added or not removed."""


@click.group("classifier")
def classifier_group() -> None:
    """Bring image classifiers of your own, measure them, and see how they do."""


classifier_group.add_command(test_command)
classifier_group.add_command(calibrate_command)
classifier_group.add_command(status_command)


@classifier_group.command("add")
@click.argument("source")
@click.option("--name", help="How findings name it; by default after the directory.")
@click.option("--version", default="1", show_default=True, help="Of the model and its thresholds.")
@click.option(
    "--map",
    "maps",
    multiple=True,
    metavar="LABEL=CATEGORY:THRESHOLD",
    help="What a label means, for instance nsfw=adult-content:0.9. Repeat it for several.",
)
@click.option(
    "--prompts",
    type=click.Path(path_type=Path),
    help="For a zero-shot model: a JSON file that gives each label its sentences.",
)
@click.option("--onnx", is_flag=True, help="Take the ONNX graph where there are safetensors weights, too.")
@click.option(
    "--precision",
    type=click.Choice([AUTO, *(one.value for one in Precision)]),
    default=AUTO,
    show_default=True,
    help="The arithmetic. With int8 an ONNX graph is rewritten with 8-bit weights.",
)
@config_options
@json_option
def add_command(*, source: str, as_json: bool, **rest: Any) -> None:
    """Pin the files of the model in SOURCE, a directory or hub:OWNER/MODEL, by their digests.

    A model of the hub must have been downloaded before; it is copied out of the cache. Nothing is fetched.
    The calibration.json that is written is yours to edit: labels without a meaning are ignored.
    """
    place = {name: rest.pop(name) for name in ("config_path", "data_dir", "port", "admin_port")}
    with explained():
        settings = read_settings(**place)
        folder, calibration = _add(settings, source, **rest)
    _tell_added(folder, calibration, as_json=as_json)


def _add(
    settings: Settings,
    source: str,
    *,
    name: str | None,
    version: str,
    maps: Sequence[str],
    prompts: Path | None,
    onnx: bool,
    precision: str,
) -> tuple[Path, Calibration]:
    sentences = None if prompts is None else _read_prompts(prompts)
    chosen = None if precision == AUTO else Precision(precision)
    folder = Path(source).absolute()
    plain = folder.name
    if source.startswith(PREFIX):
        snapshot = find_snapshot(source.removeprefix(PREFIX), find_cache(read_environment(), Path.home()))
        files = find_files(snapshot, is_prompted=sentences is not None, prefers_onnx=onnx)
        plain = source.removeprefix(PREFIX).partition("@")[0].rpartition("/")[2]
        folder = settings.server.data_dir / _COPIES / _slug(plain)
        copy_snapshot(snapshot, folder, files)
    files = find_files(folder, is_prompted=sentences is not None, prefers_onnx=onnx)
    if (
        chosen is Precision.INT8
        and any(one.endswith(ONNX_SUFFIX) for one in files)
        and INT8_NAME not in files
    ):
        quantize_graph(folder)
        files = find_files(folder, is_prompted=sentences is not None, prefers_onnx=True)
    labels = tuple(sentences) if sentences is not None else read_labels(folder)
    rules = _read_maps(maps, labels)
    calibration = build_draft(
        folder,
        name=name or _slug(plain),
        version=version,
        files=files,
        labels={label: rules.get(label) for label in labels},
        prompts=sentences,
        precision=chosen,
    )
    # What cannot be loaded later should say so now.
    return folder, read_calibration(folder, is_draft=not any(calibration.labels.values()))


def _slug(name: str) -> str:
    return _OUTSIDE.sub("-", name.lower()).strip("-._")[:64] or "classifier"


def _read_prompts(path: Path) -> dict[str, list[str]]:
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(_MAX_PROMPT_BYTES))
    except (OSError, ValueError) as error:
        raise ClassifierRefusedError(
            f"{path} is no JSON file that can be read; nothing was added."
        ) from error
    if not isinstance(document, dict):
        raise ClassifierRefusedError(
            f'{path} must be an object such as {{"nsfw": ["a photo of …"], "sfw": ["a photo of …"]}}.'
        )
    return document


def _read_maps(maps: Sequence[str], labels: Sequence[str]) -> dict[str, dict[str, object]]:
    rules: dict[str, dict[str, object]] = {}
    for text in maps:
        found = _MAP.match(text)
        if found is None:
            raise ClassifierRefusedError(
                f"--map {text} is not understood; write for instance nsfw=adult-content:0.9. Nothing was "
                "added."
            )
        if found["label"] not in labels:
            raise ClassifierRefusedError(
                f"The model has no label {found['label']!r}, only {', '.join(labels[:20])}. Nothing was "
                "added."
            )
        threshold = max(1, round(float(found["threshold"]) * PERMILLE))
        rules[found["label"]] = {"category": found["category"], "threshold_permille": threshold}
    return rules


def _tell_added(folder: Path, calibration: Calibration, *, as_json: bool) -> None:
    unmapped = sorted(name for name, rule in calibration.labels.items() if rule is None)
    shown = {
        "directory": str(folder),
        "name": calibration.name,
        "files": {name: digest.hex() for name, digest in calibration.files.items()},
        "labels": {name: _describe_rule(rule) for name, rule in calibration.labels.items()},
    }
    if as_json:
        print_json(shown)
        return
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(f"{len(calibration.files)} files are pinned in {folder / CALIBRATION_NAME}.")
    if len(unmapped) == len(calibration.labels):
        console.print(
            f"No label means anything yet. Say what they do with --map or in the file: {', '.join(unmapped)}"
        )
    console.print(f"Try it:      breakwater classifier test {folder}")
    console.print(f"Measure it:  breakwater classifier calibrate {folder} --benign FOLDER")
    console.print(
        f'Use it:      classifier = ["embedded", "{folder}"]  in the section [scanner], then restart'
    )
    console.print(f'Try it out:  shadow = ["{calibration.name}"]  beside that: it looks and decides nothing')


@classifier_group.command("list")
@config_options
@json_option
def list_command(*, as_json: bool, **place: Any) -> None:
    """Show the classifiers that are in use, and those that lie ready in the data directory."""
    with explained():
        settings = read_settings(**place)
        rows = list(_list(settings))
    if as_json:
        print_json({"classifiers": rows})
    elif rows:
        print_rows(rows)
    else:
        click.echo("There is none. `breakwater classifier add` brings one.")


def _list(settings: Settings) -> Iterator[dict[str, Any]]:
    used = settings.scanner.classifier_dirs
    if settings.scanner.has_embedded_classifier:
        yield _describe("embedded", get_embedded_calibration(), settings, is_used=True)
    copies = settings.server.data_dir / _COPIES
    ready = sorted(copies.iterdir()) if copies.is_dir() else []
    for folder in dict.fromkeys((*used, *ready)):
        try:
            calibration = read_calibration(folder, is_draft=True)
        except MalformedError as error:
            yield _row(str(folder), name="", state=f"cannot be used: {error}")
            continue
        yield _describe(str(folder), calibration, settings, is_used=folder in used)


def _describe(where: str, calibration: Calibration, settings: Settings, *, is_used: bool) -> dict[str, Any]:
    tried = {"classifier", calibration.name} & set(settings.scanner.shadow)
    state = ("in shadow" if tried else "in use") if is_used else "not in use"
    return _row(
        where,
        name=calibration.name,
        state=state,
        version=calibration.version,
        precision=str(calibration.precision or AUTO),
        labels=", ".join(
            f"{name}: {_describe_rule(rule)}" for name, rule in calibration.labels.items() if rule
        ),
    )


def _row(where: str, **rest: str) -> dict[str, Any]:
    empty = dict.fromkeys(("name", "state", "version", "precision", "labels"), "")
    return {**empty, **rest, "where": where}


def _describe_rule(rule: Any) -> str | None:
    return None if rule is None else f"{rule.category} from {rule.threshold_permille / PERMILLE:.3f}"


@classifier_group.command("remove")
@click.argument("directory", type=click.Path(path_type=Path))
@config_options
@json_option
def remove_command(*, directory: Path, as_json: bool, **place: Any) -> None:
    """Take the pins of the classifier in DIRECTORY away; a copy in the data directory goes wholly.

    What you brought yourself stays where it is, but for its calibration.json.
    """
    with explained():
        settings = read_settings(**place)
        is_copy = _remove(settings, directory.absolute())
    if as_json:
        print_json({"directory": str(directory.absolute()), "deleted": is_copy})
    else:
        what = (
            "The copy is deleted" if is_copy else f"{CALIBRATION_NAME} is deleted, the model is still there"
        )
        click.echo(f"{what}. `breakwater classifier add` brings it back.")


def _remove(settings: Settings, folder: Path) -> bool:
    if folder in {one.absolute() for one in settings.scanner.classifier_dirs}:
        raise ClassifierRefusedError(
            f"{folder} is in use, and the relay would not start without it. Nothing was removed. Take it out "
            "of `classifier` in the section [scanner] first, and restart the relay."
        )
    try:
        if folder.parent == (settings.server.data_dir / _COPIES).absolute():
            shutil.rmtree(folder)
            return True
        (folder / CALIBRATION_NAME).unlink()
    except OSError as error:
        raise ClassifierRefusedError(f"{folder} holds no classifier that was added.") from error
    return False
