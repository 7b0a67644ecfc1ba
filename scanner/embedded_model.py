"""The network of the embedded classifier: MobileNetV2 with a small head, in plain torch.

The weights are those of the npm package nsfwjs (see `scanner/data/embedded/PROVENANCE.md`), kept as the 8-bit
numbers in which they are published. Loading turns them back into floats and folds every batch normalisation
into its convolution, which is exact up to rounding and saves a third of the time.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load
from torch import nn
from torch.nn import functional

from scanner.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

SIDE: Final = 224
LABELS: Final = ("drawing", "hentai", "neutral", "porn", "sexy")
"""In the order of the outputs. Source: nsfwjs 4.4.0, dist/esm/nsfw_classes.js."""
EPSILON: Final = 0.001
"""Of every batch normalisation. Source: the layer configuration in the same package."""


class Block(NamedTuple):
    """One inverted residual of MobileNetV2: expand, filter by channel with a stride, project."""

    name: str
    stride: int
    is_residual: bool


BLOCKS: Final = tuple(
    Block(
        f"block_{number}", 2 if number in {1, 3, 6, 13} else 1, number in {2, 4, 5, 7, 8, 9, 11, 12, 14, 15}
    )
    for number in range(1, 17)
)


class EmbeddedModel(nn.Module):
    """From RGB in [0, 1], float32 [F, 3, 224, 224], to probabilities of LABELS, float32 [F, 5]."""

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(layers)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Run the network."""
        run = self._run
        x = run("Conv1", _pad(pictures)).clamp_(0, 6)
        x = run("expanded_conv_depthwise", x).clamp_(0, 6)
        x = run("expanded_conv_project", x)
        for block in BLOCKS:
            y = run(f"{block.name}_expand", x).clamp_(0, 6)
            y = run(f"{block.name}_depthwise", y if block.stride == 1 else _pad(y)).clamp_(0, 6)
            y = run(f"{block.name}_project", y)
            x = x + y if block.is_residual else y
        x = run("Conv_1", x).clamp_(0, 6).mean(dim=(2, 3))
        x = run("dense_1", x).clamp_(min=0)
        x = run("dense_2", x).clamp_(min=0)
        return torch.softmax(run("dense_3", x), dim=1)

    def _run(self, name: str, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layers[name](x)
        return out


def build_model(weights: bytes) -> EmbeddedModel:
    """Build the network from the bytes of its safetensors file.

    Raises:
        MalformedError: the file is not the one that belongs to this code.
    """
    try:
        tensors = load(weights)
        header = json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])
        scales: dict[str, list[float]] = json.loads(header["__metadata__"]["quantization"])
        values = {name: _restore(array, *scales[name]) for name, array in tensors.items()}
        layers = {name: _build_layer(name, values) for name in _layer_names()}
    except (SafetensorError, LookupError, ValueError, TypeError, RuntimeError) as error:
        raise MalformedError("the weights of the embedded classifier do not fit its code") from error
    model = EmbeddedModel(layers)
    model.eval()
    model.requires_grad_(requires_grad=False)
    # Filters that keep the channels innermost are faster with the pictures in the same order.
    channels_last: EmbeddedModel = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # no stub
    return channels_last


def _pad(x: torch.Tensor) -> torch.Tensor:
    """Pad below and right only, as Keras does before a stride of two."""
    return functional.pad(x, (0, 1, 0, 1))


def _layer_names() -> list[str]:
    names = ["Conv1", "expanded_conv_depthwise", "expanded_conv_project"]
    for block in BLOCKS:
        names += [f"{block.name}_expand", f"{block.name}_depthwise", f"{block.name}_project"]
    return [*names, "Conv_1", "dense_1", "dense_2", "dense_3"]


def _restore(array: NDArray[np.uint8], scale: float, minimum: float) -> NDArray[np.float64]:
    """Turn 8-bit numbers back into floats. Source: tfjs-core, io_utils.decodeWeights."""
    return array.astype(np.float64) * scale + minimum


def _build_layer(name: str, values: Mapping[str, NDArray[np.float64]]) -> nn.Module:
    """Build a convolution with its batch normalisation folded in, or a linear layer."""
    if name.startswith("dense"):
        weight, bias = values[f"{name}/kernel"], values[f"{name}/bias"]
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.load_state_dict({"weight": _tensor(weight), "bias": _tensor(bias)})
        return linear
    is_depthwise = name.endswith("depthwise")
    weight = values[f"{name}/depthwise_kernel" if is_depthwise else f"{name}/kernel"]
    norm = {"Conv1": "bn_Conv1", "Conv_1": "Conv_1_bn"}.get(name, f"{name}_BN")
    factor = values[f"{norm}/gamma"] / np.sqrt(values[f"{norm}/moving_variance"] + EPSILON)
    stride = 2 if name == "Conv1" else next((b.stride for b in BLOCKS if name == f"{b.name}_depthwise"), 1)
    size = weight.shape[2]
    convolution = nn.Conv2d(
        weight.shape[1] * (weight.shape[0] if is_depthwise else 1),
        weight.shape[0],
        size,
        stride=stride,
        padding=size // 2 if stride == 1 else 0,
        groups=weight.shape[0] if is_depthwise else 1,
    )
    convolution.load_state_dict(
        {
            "weight": _tensor(weight * factor[:, None, None, None]),
            "bias": _tensor(values[f"{norm}/beta"] - values[f"{norm}/moving_mean"] * factor),
        }
    )
    return convolution


def _tensor(array: NDArray[np.float64]) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32))
