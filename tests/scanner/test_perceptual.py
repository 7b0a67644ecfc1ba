"""PDQ: equal to the reference, also from reduced pictures within bounds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from scanner.perceptual import MIN_SIDE, RESIZED_SIDE, Axis, hash_picture, hash_resized
from tests.images import PHOTOGRAPHS, distance, marker_pixels, photograph, reference_rgb
from tests.images import encode as encode_image
from tests.vectors.pdq.make import describe, pictures

VECTORS: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "pdq" / "reference.json").read_text()
)["vectors"]


@pytest.fixture(scope="module")
def pixels() -> dict[str, np.ndarray[Any, np.dtype[np.uint8]]]:
    return pictures()


def test_every_reference_vector_is_met_to_the_last_bit_in_all_eight_orientations(
    pixels: dict[str, np.ndarray[Any, np.dtype[np.uint8]]],
) -> None:
    assert VECTORS.keys() == pixels.keys()
    for name, vector in VECTORS.items():
        found = hash_picture(pixels[name])
        assert [one.hex() for one in found.dihedral] == vector["dihedral"], name
        assert found.quality == vector["quality"], name


def test_the_vectors_are_what_the_reference_says_today(
    pixels: dict[str, np.ndarray[Any, np.dtype[np.uint8]]],
) -> None:
    pytest.importorskip("pdqhash")
    for name, vector in VECTORS.items():
        assert describe(pixels[name]) == vector, name


@settings(max_examples=60, deadline=None, derandomize=True)
@given(width=st.integers(MIN_SIDE, 700), height=st.integers(MIN_SIDE, 700), seed=st.integers(0, 50))
def test_any_size_gives_the_hash_of_the_reference(width: int, height: int, seed: int) -> None:
    pdqhash = pytest.importorskip("pdqhash")
    drawn = marker_pixels(seed, width=width, height=height)
    bits, quality = pdqhash.compute(drawn)
    found = hash_picture(drawn)
    assert found.dihedral[0] == np.packbits(bits).tobytes()
    assert found.quality == quality


def test_a_picture_without_anything_to_see_has_quality_zero() -> None:
    assert hash_picture(np.full((300, 400), 128, dtype=np.uint8)).quality == 0
    assert hash_picture(np.full((MIN_SIDE - 1, 400), 128, dtype=np.uint8)).quality == 0


@pytest.mark.parametrize("scale", [2, 4, 8])
@pytest.mark.parametrize("is_reversed", [False, True])
def test_the_folded_kernel_hears_the_full_picture_in_a_reduced_one(scale: int, *, is_reversed: bool) -> None:
    # Sizes that no scale divides, so that the last small pixel stands for fewer source pixels.
    for name in ("astronaut", "coffee", "retina", "moon"):
        large = photograph(name).convert("L").resize((2051, 1539), Image.Resampling.LANCZOS)
        full = np.asarray(large)[:, ::-1] if is_reversed else np.asarray(large)
        height, width = full.shape
        padded = np.pad(
            full, ((0, -height % scale), (-width % scale, 0) if is_reversed else (0, -width % scale)), "edge"
        )
        small = (
            padded.reshape(padded.shape[0] // scale, scale, -1, scale)
            .mean(axis=(1, 3))
            .round()
            .astype(np.uint8)
        )
        found = hash_picture(
            small,
            Axis(length=height, scale=scale),
            Axis(length=width, scale=scale, is_reversed=is_reversed),
        )
        assert distance(found.dihedral[0], hash_picture(np.ascontiguousarray(full)).dihedral[0]) <= 12, name


def test_the_squeezed_variant_is_the_hash_of_the_nearest_pixels() -> None:
    drawn = marker_pixels(9, width=1300, height=700)
    rows, columns = (np.arange(RESIZED_SIDE) * side // RESIZED_SIDE for side in (700, 1300))
    squeezed = np.ascontiguousarray(drawn[rows[:, None], columns])
    assert hash_resized(drawn) == hash_picture(squeezed)
    small = marker_pixels(9, width=400, height=300)
    assert hash_resized(small) == hash_picture(small)


def test_unlike_pictures_are_far_apart() -> None:
    hashes = [hash_picture(np.asarray(photograph(name).convert("RGB"))).dihedral[0] for name in PHOTOGRAPHS]
    hashes += [hash_picture(marker_pixels(seed)).dihedral[0] for seed in range(1, 9)]
    nearest = min(distance(one, other) for place, one in enumerate(hashes) for other in hashes[:place])
    assert nearest > 62


def test_the_reference_conversion_keeps_opaque_pixels() -> None:
    drawn = marker_pixels(3, width=60, height=50)
    assert np.array_equal(reference_rgb(encode_image(Image.fromarray(drawn), "PNG")), drawn)
