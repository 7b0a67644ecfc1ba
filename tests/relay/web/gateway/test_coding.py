"""Content codings: what goes in comes out, however it is cut, and nothing else does."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.web.gateway.coding import (
    PIECE_BYTES,
    CodingError,
    Decoder,
    UnknownCodingError,
    read_coding,
)

PACKERS = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "wrapped": zlib.compress,
    "raw": lambda data: zlib.compress(data, wbits=-15),
}


def unpack(coding: str, packed: bytes, *, step: int) -> bytes:
    decoder, pieces = Decoder(coding), []
    for at in range(0, len(packed), step):
        pieces += list(decoder.feed(packed[at : at + step]))
    pieces += list(decoder.finish())
    assert all(0 < len(piece) <= PIECE_BYTES for piece in pieces)
    return b"".join(pieces)


@given(data=st.binary(max_size=2000), step=st.integers(1, 50), kind=st.sampled_from(sorted(PACKERS)))
def test_what_was_packed_comes_out_however_it_is_cut(data: bytes, step: int, kind: str) -> None:
    coding = "gzip" if kind == "gzip" else "deflate"
    assert unpack(coding, PACKERS[kind](data), step=step) == data


@given(data=st.binary(min_size=1, max_size=300), kind=st.sampled_from(sorted(PACKERS)), cut=st.integers(1, 8))
def test_what_breaks_off_is_noticed(data: bytes, kind: str, cut: int) -> None:
    packed = PACKERS[kind](data)
    with pytest.raises(CodingError):
        unpack("gzip" if kind == "gzip" else "deflate", packed[: -min(cut, len(packed) - 1)], step=7)


@given(noise=st.binary(max_size=300), coding=st.sampled_from(["gzip", "deflate"]), step=st.integers(1, 50))
def test_noise_is_a_value_or_a_coding_error(noise: bytes, coding: str, step: int) -> None:
    try:
        unpack(coding, noise, step=step)
    except CodingError:
        return


def test_a_bomb_comes_out_in_pieces_that_somebody_may_stop_taking() -> None:
    packed = gzip.compress(bytes(50_000_000), mtime=0)
    pieces = Decoder("gzip").feed(packed)
    assert len(next(pieces)) <= PIECE_BYTES


def test_the_members_of_a_gzip_file_follow_each_other() -> None:
    packed = gzip.compress(b"one", mtime=0) + gzip.compress(b"two", mtime=0)
    assert unpack("gzip", packed, step=5) == b"onetwo"
    with pytest.raises(CodingError):
        unpack("gzip", packed + b"three", step=5)
    with pytest.raises(CodingError):
        unpack("deflate", zlib.compress(b"one") + b"more", step=5)


@pytest.mark.parametrize(
    ("values", "coding"),
    [
        ((), None),
        (("identity",), None),
        (("", " IDENTITY "), None),
        (("X-GZip",), "gzip"),
        (("deflate",), "deflate"),
    ],
)
def test_one_known_coding_or_none_is_read(values: tuple[str, ...], coding: str | None) -> None:
    assert read_coding(tuple(("Content-Encoding", value) for value in values)) == coding


@pytest.mark.parametrize("values", [("br",), ("gzip", "gzip"), ("gzip, deflate",), ("zstd",), ("aes128gcm",)])
def test_any_other_coding_is_unknown(values: tuple[str, ...]) -> None:
    with pytest.raises(UnknownCodingError):
        read_coding(tuple(("content-encoding", value) for value in values))
