"""Matrix products over 8-bit integers: a linear layer with a scale for each row of either side.

Weights are rounded once, by output channel; activations at every call, by row, so that nothing has to be
measured beforehand and a picture's scores do not depend on those beside it. What is small stays in floats:
the head that gives the scores, and layers that cost nothing.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

LARGEST: Final = 127
"""Symmetric: -128 is left out, so that no sign is favoured."""
LEAST: Final = 1e-12
"""A row of zeros gets this scale in place of a division by zero."""
MIN_FEATURES: Final = 64
"""Smaller products take less time than the rounding of their rows. The instruction also wants multiples of
eight."""
_MULTIPLE: Final = 8
MAX_FEATURES: Final = (2**31 - 1) // LARGEST**2
"""133,144. The sum of more products may not fit into the 32 bits in which they are added."""


class Int8Linear(nn.Module):
    """A linear layer whose product runs over 8-bit integers."""

    weight: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        scale = weight.abs().amax(dim=1, keepdim=True).clamp_min(LEAST) / LARGEST
        self.register_buffer("weight", torch.round(weight / scale).to(torch.int8).t())
        self.register_buffer("scale", scale.squeeze(1))
        self.register_buffer(
            "bias", torch.zeros(len(weight)) if linear.bias is None else linear.bias.detach()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Multiply, add, and return floats of the same shape as the plain layer would."""
        rows = x.reshape(-1, x.shape[-1])
        scale = rows.abs().amax(dim=1, keepdim=True).clamp_min_(LEAST).div_(LARGEST)
        whole = torch.round(rows / scale).to(torch.int8)
        product = torch._int_mm(whole, self.weight).float().mul_(scale)  # noqa: SLF001 - the one name of it
        return torch.addcmul(self.bias, product, self.scale).reshape(*x.shape[:-1], -1)


def quantize_linears(model: nn.Module, *, keep: frozenset[str] = frozenset({"classifier", "head"})) -> int:
    """Replace the large linear layers of a model, in place.

    Args:
        model: In full floats.
        keep: Names of direct children that stay as they are: the heads, which give the scores.

    Returns:
        How many were replaced.
    """
    count = 0
    for name, child in model.named_children():
        if name in keep:
            continue
        count += _quantize_in(model, name, child)
    return count


def _quantize_in(parent: nn.Module, name: str, child: nn.Module) -> int:
    if isinstance(child, nn.MultiheadAttention):
        # Its fast path reads the weights of its layers itself.
        return 0
    if not isinstance(child, nn.Linear):
        return sum(_quantize_in(child, below, one) for below, one in child.named_children())
    sizes = (child.in_features, child.out_features)
    if (
        child.in_features > MAX_FEATURES
        or min(sizes) < MIN_FEATURES
        or any(size % _MULTIPLE for size in sizes)
    ):
        return 0
    setattr(parent, name, Int8Linear(child))
    return 1
