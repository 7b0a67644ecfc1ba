"""`breakwater classifier test`: how fast a model is here, and what it says of drawings."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import numpy as np
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table

from relay.cli.options import explained, json_option, print_json
from scanner.canary import draw_canary
from scanner.classifier_directory import open_directory_classifier
from scanner.classifier_measure import score_frames, time_classifier, try_precisions
from scanner.detector import SAMPLE_SIDE
from scanner.embedded_classifier import open_embedded_classifier
from scanner.model_files import ONNX_SUFFIX, read_calibration

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scanner.classifier import Classifier

EMBEDDED: Final = "embedded"
_RUNS: Final = 40
_SEED: Final = 5


@click.command("test")
@click.argument("source")
@click.option(
    "--runs", type=click.IntRange(2, 10_000), default=_RUNS, show_default=True, help="Pictures to time."
)
@click.option(
    "--all-precisions", is_flag=True, help="Measure every arithmetic, not only the one it would use."
)
@json_option
def test_command(*, source: str, runs: int, all_precisions: bool, as_json: bool) -> None:
    """Load the classifier in SOURCE, a directory or `embedded`, time it, and show scores of drawings."""
    with explained():
        shown = _try(source, runs=runs, all_precisions=all_precisions)
    if as_json:
        print_json(shown)
    else:
        _print(shown)


def _try(source: str, *, runs: int, all_precisions: bool) -> dict[str, Any]:
    drawings = draw_test_pictures()
    frames = np.stack(list(drawings.values()))
    trials = []
    classifier: Classifier
    if source == EMBEDDED:
        classifier = open_embedded_classifier(at_once=1)
    else:
        folder = Path(source).absolute()
        calibration = read_calibration(folder, is_draft=True)
        classifier = open_directory_classifier(folder, calibration, at_once=1)
        is_graph = any(name.endswith(ONNX_SUFFIX) for name in calibration.files)
        if all_precisions and not is_graph:
            trials = list(try_precisions(folder, calibration, frames, runs=runs))
    timing = time_classifier(classifier, frames[0], runs=runs)
    return {
        "precision": str(classifier.precision),
        "device": str(classifier.device),
        "runtime": classifier.runtime,
        "p50_ms": round(timing.p50_ms, 1),
        "p95_ms": round(timing.p95_ms, 1),
        "precisions": [
            {
                "precision": str(one.precision),
                "p50_ms": round(one.timing.p50_ms, 1),
                "p95_ms": round(one.timing.p95_ms, 1),
                "farthest_from_fp32": one.farthest_permille / 1000,
            }
            for one in trials
        ],
        "scores": {
            name: dict(
                zip(
                    classifier.labels,
                    (score / 1000 for score in score_frames(classifier, picture[None])),
                    strict=True,
                )
            )
            for name, picture in drawings.items()
        },
    }


def draw_test_pictures() -> dict[str, NDArray[np.uint8]]:
    """Draw pictures that show nothing, each uint8 [256, 256, 3]: the same ones every time."""
    side = SAMPLE_SIDE
    landscape = Image.new("RGB", (side, side), (120, 170, 220))
    pen = ImageDraw.Draw(landscape)
    pen.rectangle((0, side // 2, side, side), fill=(30, 90, 120))
    pen.ellipse((160, 30, 210, 80), fill=(250, 220, 90))
    page = Image.new("RGB", (side, side), "white")
    pen = ImageDraw.Draw(page)
    for line in range(20, side - 20, 14):
        pen.line((20, line, side - 20 - line % 50, line), fill="black", width=3)
    noise = np.random.default_rng(_SEED).integers(0, 256, (side, side, 3), dtype=np.uint8)
    with Image.open(io.BytesIO(draw_canary())) as marker:
        canary = marker.convert("RGB").resize((side, side))
    return {
        "landscape": np.asarray(landscape, dtype=np.uint8),
        "page": np.asarray(page, dtype=np.uint8),
        "noise": noise,
        "canary": np.asarray(canary, dtype=np.uint8),
    }


def _print(shown: dict[str, Any]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    where = "the graphics processor" if shown["device"] == "cuda" else "the processor"
    console.print(
        f"It runs on {where} in {shown['precision']}: {shown['p50_ms']} ms a picture, 95 of 100 within "
        f"{shown['p95_ms']} ms."
    )
    if shown["precisions"]:
        table = Table(show_edge=False)
        for column in shown["precisions"][0]:
            table.add_column(column)
        for row in shown["precisions"]:
            table.add_row(*(str(value) for value in row.values()))
        console.print(table)
    labels = list(next(iter(shown["scores"].values())))
    table = Table("drawing", *labels[:8], show_edge=False)
    for name, scores in shown["scores"].items():
        table.add_row(name, *(f"{scores[label]:.3f}" for label in labels[:8]))
    console.print(table)
    if len(labels) > len(labels[:8]):
        console.print(f"and {len(labels) - 8} more labels; --json shows all.")
