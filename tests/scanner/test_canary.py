"""The canary is the same everywhere, is harmless, and is found in whatever form it arrives."""

import hashlib
import io

import numpy as np
import pdqhash
import pytest
from PIL import Image

from scanner.canary import LABEL, PDQ, SHA256, canary_list, draw_canary, draw_fresh_canary
from scanner.digestindex import find_row
from scanner.hashlist import HashKind
from scanner.index import PdqIndex
from scanner.labels import Category
from scanner.perceptual import hash_picture


def decode(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as picture:
        return picture.convert("RGB")


def test_the_canary_has_the_recorded_digest() -> None:
    assert hashlib.sha256(draw_canary()).digest() == SHA256
    assert draw_canary.__wrapped__() == draw_canary()


def test_the_canary_is_a_whole_png_with_the_recorded_hash() -> None:
    picture = decode(draw_canary())
    assert picture.size == (512, 512)
    bits, quality = pdqhash.compute(np.asarray(picture))
    assert np.packbits(bits).tobytes() == PDQ
    assert quality >= 80


def test_our_own_hash_of_the_canary_is_the_recorded_one() -> None:
    found = hash_picture(np.asarray(decode(draw_canary())))
    assert found.dihedral[0] == PDQ
    assert found.quality >= 80


def test_the_list_knows_the_canary_and_calls_it_so() -> None:
    known = canary_list()
    assert (known.category, known.label) == (Category.SPAM, LABEL)
    assert not known.advisory
    assert find_row(known.table.get_rows(HashKind.SHA256), SHA256) == 0
    assert canary_list().digest == known.digest


@pytest.mark.parametrize("side", [200, 512, 1024])
@pytest.mark.parametrize(("form", "quality"), [("JPEG", 30), ("JPEG", 90), ("WEBP", 50)])
def test_a_copy_that_was_encoded_anew_or_resized_is_found(side: int, form: str, quality: int) -> None:
    copy = io.BytesIO()
    decode(draw_canary()).resize((side, side)).save(copy, form, quality=quality)
    found = hash_picture(np.asarray(decode(copy.getvalue())))
    known = canary_list()
    matches = PdqIndex.build(known.table.get_rows(HashKind.PDQ)).query(found.dihedral[0], known.distance)
    assert [row for row, _ in matches] == [0]


@pytest.mark.parametrize("number", range(4))
def test_a_fresh_canary_is_known_by_its_looks_and_like_no_other_by_its_bytes(number: int) -> None:
    fresh = draw_fresh_canary(bytes([number]) * 32)
    assert fresh == draw_fresh_canary(bytes([number]) * 32)
    assert fresh not in {draw_canary(), draw_fresh_canary(bytes([number + 1]) * 32)}
    found = hash_picture(np.asarray(decode(fresh)))
    assert found.quality >= 80
    assert distance(found.dihedral[0], PDQ) <= 4


def distance(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()
