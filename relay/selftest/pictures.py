"""The pictures that the self-test sends: a harmless one, and the canary."""

from __future__ import annotations

import io
import secrets
from typing import Final

from PIL import Image, ImageDraw

from scanner.canary import draw_canary

_PICTURE_SIDE: Final = 320


def draw_harmless() -> bytes:
    """Draw a sun over the sea, with one random pixel: different bytes each time, the same plain picture."""
    image = Image.linear_gradient("L").resize((_PICTURE_SIDE, _PICTURE_SIDE)).convert("RGB")
    draw = ImageDraw.Draw(image)
    third = _PICTURE_SIDE // 3
    draw.ellipse((third, third // 2, 2 * third, third * 3 // 2), fill=(250, 220, 120))
    draw.rectangle((0, 2 * third, _PICTURE_SIDE, _PICTURE_SIDE), fill=(40, 80, 140))
    image.putpixel((0, 0), tuple(secrets.token_bytes(3)))
    return _encode(image)


def draw_fresh_canary() -> bytes:
    """Draw the canary with one pixel changed, so that only its perceptual hash can find it."""
    image = Image.open(io.BytesIO(draw_canary())).convert("RGB")
    image.putpixel((0, 0), tuple(secrets.token_bytes(3)))
    return _encode(image)


def _encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
