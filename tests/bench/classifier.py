"""How long classifiers take for one picture on one core, the 95th of a hundred.

The embedded model is measured as it is. The two larger ones are real architectures with random weights, made
here from their published dimensions: how long a product takes does not depend on the numbers in it. Each is
measured in full floats and in 8-bit integers in turns, so that what else the machine does falls on both; the
time of the thread alone (`cpu_p50`) leaves out what it waited for others.
"""

from __future__ import annotations

import copy
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from scanner.classifier import Classifier
from scanner.classifier_precision import Device, Precision
from scanner.classifier_transformers import build_infer, library
from scanner.embedded_classifier import open_embedded_classifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

NAMES: Final = ("classifier_p95", "classifier_vit_base_int8_p95", "classifier_clip_large_int8_p95")
RUNS: Final = {
    "classifier_p95": 100,
    "classifier_vit_base_int8_p95": 30,
    "classifier_clip_large_int8_p95": 12,
}
TARGETS_MS: Final = {
    "classifier_p95": 60.0,
    "classifier_vit_base_int8_p95": 80.0,
    "classifier_clip_large_int8_p95": 350.0,
}
SIDE: Final = 224


def run() -> Iterator[dict[str, object]]:
    """Measure the embedded model, then each architecture in both arithmetics."""
    embedded = open_embedded_classifier(at_once=1)
    (times,) = _measure([embedded], RUNS["classifier_p95"])
    yield _result("classifier_p95", times, None)
    for name, build in (
        ("classifier_vit_base_int8_p95", _build_vit_base),
        ("classifier_clip_large_int8_p95", _build_clip_large),
    ):
        ours, peer = _measure([build(Precision.INT8), build(Precision.FP32)], RUNS[name])
        yield _result(name, ours, peer)


def _build_vit_base(precision: Precision) -> Classifier:
    """Build ViT-base with patches of 16. Source: Dosovitskiy et al. 2021, table 1."""
    with library() as transformers:
        model = transformers.ViTForImageClassification(transformers.ViTConfig(num_labels=5))
    return _wrap(model, lambda net, x: net(pixel_values=x).logits.float().softmax(dim=1), precision)


def _build_clip_large(precision: Precision) -> Classifier:
    """Build the seeing half of CLIP ViT-L/14. Source: Radford et al. 2021, table 20."""
    with library() as transformers:
        config = transformers.CLIPVisionConfig(
            hidden_size=1024,
            intermediate_size=4096,
            num_hidden_layers=24,
            num_attention_heads=16,
            patch_size=14,
            projection_dim=768,
        )
        model = transformers.CLIPVisionModelWithProjection(config)
    sentences = torch.nn.functional.normalize(torch.randn(5, 768), dim=1)

    def score(net: Any, pictures: torch.Tensor) -> torch.Tensor:
        embeds: torch.Tensor = net(pixel_values=pictures).image_embeds.float()
        return (embeds @ sentences.t()).softmax(dim=1)

    return _wrap(model, score, precision)


def _wrap(model: Any, score: Callable[[Any, torch.Tensor], torch.Tensor], precision: Precision) -> Classifier:
    net = copy.deepcopy(model).eval().requires_grad_(requires_grad=False)
    return Classifier(
        labels=("a", "b", "c", "d", "e"),
        runtime={},
        infer=build_infer(net, score, device=Device.CPU, precision=precision),
        side=SIDE,
        precision=precision,
        at_once=1,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """What runs took, in milliseconds: by the clock, and of the thread alone."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def _measure(classifiers: list[Classifier], runs: int) -> list[Times]:
    frame: NDArray[np.uint8] = np.random.default_rng(3).integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
    times = [Times() for _ in classifiers]
    for number in range(runs + 2):
        for place, classifier in enumerate(classifiers):
            start, start_cpu = time.perf_counter(), time.thread_time()
            classifier.score(frame)
            # The first two warm up.
            if number > 1:
                times[place].wall.append((time.perf_counter() - start) * 1000)
                times[place].cpu.append((time.thread_time() - start_cpu) * 1000)
    return times


def _result(name: str, ours: Times, peer: Times | None) -> dict[str, object]:
    value, target = _p95(ours.wall), TARGETS_MS[name]
    result: dict[str, object] = {
        "name": name,
        "value": round(value, 1),
        "unit": "ms",
        "target": f"<= {target:.0f} ms",
        "holds": value <= target,
        "p50": round(statistics.median(ours.wall), 1),
        "least": round(min(ours.wall), 1),
        "cpu_p50": round(statistics.median(ours.cpu), 1),
    }
    if peer is not None:
        result |= {
            "peer": "the same model in full floats",
            "peer_value": round(_p95(peer.wall), 1),
            "ratio": round(statistics.median(peer.cpu) / statistics.median(ours.cpu), 2),
            "peer_p50": round(statistics.median(peer.wall), 1),
        }
    return result


def _p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


if __name__ == "__main__":
    for line in run():
        print(line)
