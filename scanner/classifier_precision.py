"""In which arithmetic a model runs: full floats, short floats, or small integers.

Small integers are the fastest where the processor multiplies them in one instruction, short floats where it
has instructions for those; elsewhere both are slower than full floats. The choice moves scores by some
thousandths, so it stands in the scanner's state, and a calibration can fix it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from torch import nn

AUTO: Final = "auto"
"""How a calibration says that the machine decides."""

_CPU_INFO: Final = Path("/proc/cpuinfo")
INT8_FLAGS: Final = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"})
"""With these the processor multiplies and adds small integers in one instruction, without loss."""
_BF16_FLAGS: Final = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
_LINEAR_SHARE: Final = 0.5
"""Small integers speed up matrix products alone; a network of convolutions would lose precision for
nothing."""


class Precision(StrEnum):
    """The arithmetic of a model."""

    FP32 = "fp32"
    BF16 = "bf16"
    INT8 = "int8"


class Device(StrEnum):
    """Where a model runs."""

    CPU = "cpu"
    CUDA = "cuda"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What this machine computes fast.

    Attributes:
        device: Where models run.
        has_int8: The processor multiplies and adds 8-bit integers in one instruction.
        has_bf16: The processor, or the graphics processor, multiplies short floats.
    """

    device: Device
    has_int8: bool
    has_bf16: bool


def inspect_machine() -> Machine:
    """Find out what this machine computes fast; loads torch."""
    import torch  # noqa: PLC0415 - a relay without classifiers never loads torch

    flags = read_cpu_flags()
    has_gpu = torch.cuda.is_available()
    return Machine(
        device=Device.CUDA if has_gpu else Device.CPU,
        has_int8=bool(flags & INT8_FLAGS),
        has_bf16=torch.cuda.is_bf16_supported() if has_gpu else bool(flags & _BF16_FLAGS),
    )


def read_cpu_flags() -> frozenset[str]:
    """Read what the first processor can; empty where the system does not tell."""
    try:
        text = _CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in {"flags", "Features"}:
            return frozenset(value.split())
    return frozenset()


def choose_precision(machine: Machine, model: nn.Module) -> Precision:
    """Choose the fastest arithmetic for a model on a machine, where no calibration fixes it."""
    if machine.device is Device.CUDA:
        return Precision.BF16 if machine.has_bf16 else Precision.FP32
    if machine.has_int8 and linear_share(model) >= _LINEAR_SHARE:
        return Precision.INT8
    return Precision.BF16 if machine.has_bf16 else Precision.FP32


def choose_device(machine: Machine, precision: Precision) -> Device:
    """Choose where a model runs: the integers of `scanner.classifier_int8` are for processors alone."""
    return Device.CPU if precision is Precision.INT8 else machine.device


def linear_share(model: nn.Module) -> float:
    """Return which share of a model's parameters stands in matrix products."""
    from torch import nn  # noqa: PLC0415 - see above

    total = sum(one.numel() for one in model.parameters())
    linear = sum(one.weight.numel() for one in model.modules() if isinstance(one, nn.Linear))
    return linear / total if total else 0.0


def apply_precision(model: nn.Module, precision: Precision) -> nn.Module:
    """Change a model to an arithmetic, in place where it can; whoever calls it gives it matching pictures."""
    import torch  # noqa: PLC0415 - see above

    if precision is Precision.BF16:
        return model.to(torch.bfloat16)
    if precision is Precision.INT8:
        from scanner.classifier_int8 import quantize_linears  # noqa: PLC0415 - it imports torch

        quantize_linears(model)
    return model
