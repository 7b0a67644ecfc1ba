"""`breakwater classifier calibrate`: propose thresholds, by harmless pictures or by moderators' rulings."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import numpy as np
from rich.console import Console
from rich.progress import Progress

from db.detector_statistics import list_ruled
from relay.assembly import build_scanner_settings
from relay.cli.options import config_options, explained, json_option, print_json, read_settings, run
from relay.cli.options import with_database as on_database
from relay.errors import BreakwaterError
from scanner.calibration import MILLION, PERMILLE
from scanner.classifier import ClassifierDetector, model_of
from scanner.classifier_directory import open_directory_classifier
from scanner.classifier_draft import write_rules
from scanner.classifier_measure import score_files
from scanner.classifier_thresholds import BINS, histogram, propose_by_benign, propose_by_rulings
from scanner.model_files import read_calibration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from db.detector_statistics import RuledScan
    from db.pool import Database
    from relay.config import Settings
    from scanner.calibration import Calibration, LabelRule
    from scanner.classifier import Classifier
    from scanner.classifier_thresholds import Proposal

_FALSE_RATE: Final = 0.001
_RELEASED_RATE: Final = 0.1
_MAX_FILES: Final = 1_000_000
_MAX_RULINGS: Final = 100_000
_BARS: Final = " ▁▂▃▄▅▆▇█"


class CalibrationRefusedError(BreakwaterError):
    """There is nothing to measure by."""


@click.command("calibrate")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--benign", type=click.Path(path_type=Path), help="A folder of harmless pictures such as your users post."
)
@click.option("--from-rulings", is_flag=True, help="Measure by what moderators released and upheld.")
@click.option(
    "--rate",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="The share of harmless pictures (0.001 unless told), or of released cases (0.1 unless told), above "
    "the threshold that you accept at most.",
)
@click.option("--version", help="The version to write; by default the present one with a number behind it.")
@click.option("--write", is_flag=True, help="Write the thresholds; else they are only shown.")
@config_options
@json_option
def calibrate_command(
    *,
    directory: Path,
    benign: Path | None,
    from_rulings: bool,
    rate: float | None,
    version: str | None,
    write: bool,
    as_json: bool,
    **place: Any,
) -> None:
    """Propose thresholds for the labels of the classifier in DIRECTORY that have a meaning.

    Pictures are decoded in the sandbox and nothing of them is kept. Thresholds move only with --write, and
    the arithmetic with which they were measured is fixed with them.
    """
    with explained():
        settings = read_settings(**place)
        if (benign is None) is not from_rulings:
            raise CalibrationRefusedError(
                "Say by what to measure: --benign FOLDER, or --from-rulings, and not both. Nothing was "
                "changed."
            )
        folder = directory.absolute()
        calibration = read_calibration(folder)
        classifier = open_directory_classifier(folder, calibration)
        if benign is not None:
            shown, rules = _by_benign(settings, calibration, classifier, benign, rate=rate or _FALSE_RATE)
        else:
            shown, rules = _by_rulings(settings, calibration, classifier, rate=rate or _RELEASED_RATE)
        shown["written"] = write and bool(rules)
        if shown["written"]:
            told = version or _next_version(calibration.version)
            write_rules(folder, rules, precision=classifier.precision, version=told)
    if as_json:
        print_json(shown)
    else:
        _print(shown)


def _by_benign(
    settings: Settings, calibration: Calibration, classifier: Classifier, folder: Path, *, rate: float
) -> tuple[dict[str, Any], dict[str, LabelRule]]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())[:_MAX_FILES]
    if not paths:
        raise CalibrationRefusedError(f"{folder} holds no files to measure by. Nothing was changed.")
    scored = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("scoring", total=len(paths))
        for one in score_files(paths, classifier, build_scanner_settings(settings)):
            progress.advance(task)
            scored.append(one)
    rows = [one.scores for one in scored if one.scores]
    scores = np.array(rows, dtype=np.int64).reshape(len(rows), len(classifier.labels))
    labels: dict[str, Any] = {}
    rules: dict[str, LabelRule] = {}
    for column, name in enumerate(classifier.labels):
        rule = calibration.labels[name]
        proposal = propose_by_benign(scores[:, column], rate=rate) if rule is not None else None
        labels[name] = _describe(rule, proposal, histogram(scores[:, column]))
        if rule is not None and proposal is not None and proposal.threshold_permille is not None:
            rules[name] = replace(
                rule,
                threshold_permille=proposal.threshold_permille,
                false_positives_per_million=round(proposal.wrong.count / proposal.wrong.total * MILLION),
                measured_on=proposal.wrong.total,
            )
    skipped = [one.reason for one in scored if not one.scores]
    shown = {
        "by": "benign",
        "rate": rate,
        "pictures": len(rows),
        "skipped": {reason: skipped.count(reason) for reason in sorted(set(skipped))},
        "precision": str(classifier.precision),
        "labels": labels,
    }
    return shown, rules


def _by_rulings(
    settings: Settings, calibration: Calibration, classifier: Classifier, *, rate: float
) -> tuple[dict[str, Any], dict[str, LabelRule]]:
    async def work(database: Database) -> tuple[RuledScan, ...]:
        async with database.connection() as conn:
            return await list_ruled(conn, limit=_MAX_RULINGS)

    ruled = run(on_database(settings, work))
    model = model_of(ClassifierDetector(classifier, calibration).version)
    labels: dict[str, Any] = {}
    rules: dict[str, LabelRule] = {}
    pictures = 0
    for name in classifier.labels:
        rule = calibration.labels[name]
        if rule is None:
            continue
        rulings = [
            (score, one.was_upheld)
            for one in ruled
            if one.category == rule.category
            and (score := find_score(one, detector=calibration.name, model=model, label=name)) is not None
        ]
        pictures = max(pictures, len(rulings))
        proposal = propose_by_rulings(rulings, rate=rate, at_least=rule.threshold_permille)
        scores = np.array([score for score, _ in rulings], dtype=np.int64)
        labels[name] = _describe(rule, proposal, histogram(scores))
        if proposal.threshold_permille is not None:
            # What was measured on harmless pictures was measured at the old threshold.
            rules[name] = replace(
                rule,
                threshold_permille=proposal.threshold_permille,
                false_positives_per_million=None,
                measured_on=None,
            )
    shown = {
        "by": "rulings",
        "rate": rate,
        "pictures": pictures,
        "skipped": {},
        "precision": str(classifier.precision),
        "labels": labels,
    }
    return shown, rules


def find_score(scan: RuledScan, *, detector: str, model: str, label: str) -> int | None:
    """Find what a model made of ruled media, in shadow or not; None if it did not look.

    Args:
        scan: Of bytes that a person ruled on.
        detector: The name of the classifier.
        model: The same weights in the same arithmetic: others' scores mean something else.
        label: Of the model.
    """
    for one in (*scan.detectors, *(shadow["run"] for shadow in scan.shadow)):
        if one["name"] == detector and model_of(one["version"]) == model:
            scores: Mapping[str, int] = dict(one.get("scores", ()))
            return scores.get(label)
    return None


def _describe(rule: LabelRule | None, proposal: Proposal | None, bins: list[int]) -> dict[str, Any]:
    return {
        "category": None if rule is None else str(rule.category),
        "threshold": None if rule is None else rule.threshold_permille / PERMILLE,
        "proposed": None
        if proposal is None or proposal.threshold_permille is None
        else proposal.threshold_permille / PERMILLE,
        "wrong": None if proposal is None else asdict(proposal.wrong),
        "kept": None if proposal is None or proposal.kept is None else asdict(proposal.kept),
        "needed": None if proposal is None else proposal.needed,
        "histogram": bins,
    }


def _next_version(version: str) -> str:
    stem, dot, number = version.rpartition(".r")
    if dot and number.isdecimal():
        return f"{stem}.r{int(number) + 1}"
    return f"{version[:56]}.r1"


def _print(shown: dict[str, Any]) -> None:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    what = "harmless pictures" if shown["by"] == "benign" else "rulings"
    console.print(f"{shown['pictures']:,} {what}, scored in {shown['precision']}.")
    for reason, count in shown["skipped"].items():
        console.print(f"{count:,} files were left out: {reason.replace('_', ' ')}")
    for name, one in shown["labels"].items():
        console.print(f"\n{name}: {one['category'] or 'without a meaning'}")
        console.print(f"  scores 0 {_draw(one['histogram'])} 1")
        if one["category"] is not None:
            console.print(f"  {_advise(one, shown)}")
    if shown["written"]:
        console.print("\nThe thresholds are written. They hold when the relay is restarted.")
    else:
        console.print("\nNothing was changed; --write writes what is proposed.")


def _draw(bins: list[int]) -> str:
    """Draw counts as bars; any count at all shows, on a logarithmic scale."""
    most = max(bins)
    if most == 0:
        return " " * BINS
    steps = [0 if count == 0 else 1 + round(np.log1p(count) / np.log1p(most) * 7) for count in bins]
    return "".join(_BARS[min(step, len(_BARS) - 1)] for step in steps)


def _advise(one: dict[str, Any], shown: dict[str, Any]) -> str:
    wrong = one["wrong"]
    found = (
        f"{wrong['count']:,} of {wrong['total']:,} {'above it' if shown['by'] == 'benign' else 'released'}"
    )
    if one["proposed"] is None:
        return (
            f"now {one['threshold']:.3f}; no threshold keeps the share below {shown['rate']:g} for certain "
            f"({found}). It takes {one['needed']:,} at least, none of them at fault."
        )
    bounds = f"really {wrong['low']:.5f} to {wrong['high']:.5f}"
    kept = one["kept"]
    lost = (
        ""
        if kept is None
        else f"; {kept['total'] - kept['count']:,} of {kept['total']:,} upheld would be lost"
    )
    return f"now {one['threshold']:.3f}, proposed {one['proposed']:.3f}: {found}, {bounds}{lost}"
