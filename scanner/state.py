"""What decides the answers of a scanner, as a document that can be published and compared."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import PIL
from PIL import features

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scanner.detector import Detector
    from scanner.settings import ScannerSettings

RENDERING_VERSION: Final = "2"
"""Changes with anything that may move a hash or a pixel: orientation, transparency, bit depth, sampling."""

_LIBRARIES: Final = ("libjpeg_turbo", "zlib_ng", "webp", "avif")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannerState:
    """What decides the answers: JSON-able, integers only, no hash value.

    Attributes:
        document: Decoder versions, budgets, and each detector with its lists, digests and thresholds.
    """

    document: dict[str, Any]


def build_state(settings: ScannerSettings, detectors: Sequence[Detector]) -> ScannerState:
    """Build the state; the same versions, settings and lists give the same document anywhere."""
    # FFmpeg and what reads JPEG XL belong into the sandbox alone: their versions are read without loading.
    decoders: dict[str, str] = {
        "pillow": PIL.__version__,
        "numpy": np.__version__,
        "av": metadata.version("av"),
        "jxl": metadata.version("pillow-jxl-plugin"),
    }
    decoders |= {name: features.version(name) or "absent" for name in _LIBRARIES}
    return ScannerState(
        document={
            "format": 1,
            "decoders": decoders,
            "rendering": RENDERING_VERSION,
            "budgets": {
                "max_bytes": settings.max_bytes,
                "max_pixels": settings.max_pixels,
                "max_side": settings.max_side,
                "max_frames": settings.max_frames,
                "max_total_pixels": settings.max_total_pixels,
                "max_embedded": settings.max_embedded,
                "max_video_frames": settings.max_video_frames,
                "video_timeout_ms": round(settings.video_timeout.total_seconds() * 1000),
                "max_video_gap_ms": round(settings.max_video_gap.total_seconds() * 1000),
            },
            "type_check": str(settings.type_check),
            "accept_sampled": settings.accept_sampled,
            "accept_audio": settings.accept_audio,
            "detectors": [
                {
                    "name": one.name,
                    "version": one.version,
                    "essential": one.essential,
                    "advisory": one.advisory,
                    "state": one.state,
                }
                for one in detectors
            ],
        }
    )
