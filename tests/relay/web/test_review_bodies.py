"""What is taken in before anybody is known is bounded in size and in time."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader
from aiohttp.test_utils import make_mocked_request

from relay.web.bodies import Bodies, TooMuchInHandError, TooSlowError
from relay.web.edge import is_ambiguous


def _request(*chunks: bytes, ends: bool = True) -> web.Request:
    loop = asyncio.get_running_loop()
    protocol = BaseProtocol(loop=loop)
    protocol.connection_made(asyncio.Transport())
    stream = StreamReader(protocol, 2**16, loop=loop)
    for chunk in chunks:
        stream.feed_data(chunk)
    if ends:
        stream.feed_eof()
    return make_mocked_request("POST", "/inbox", payload=stream)


async def test_a_body_is_read_to_its_end() -> None:
    async with Bodies().read(_request(b"one", b"two"), max_bytes=6) as body:
        assert body == b"onetwo"
    async with Bodies().read(_request(), max_bytes=6) as body:
        assert body == b""


async def test_a_body_that_is_too_long_is_not_read_on() -> None:
    with pytest.raises(web.HTTPRequestEntityTooLarge):
        async with Bodies().read(_request(b"seven77"), max_bytes=6):
            pass


async def test_a_body_that_does_not_end_is_given_up() -> None:
    with pytest.raises(TooSlowError):
        async with Bodies(read_within=timedelta()).read(_request(b"x", ends=False), max_bytes=6):
            pass


async def test_what_is_in_hand_at_once_is_bounded_and_given_back() -> None:
    bodies = Bodies(max_bytes_in_hand=8)
    for _ in range(3):
        async with bodies.read(_request(b"12345"), max_bytes=6):
            with pytest.raises(TooMuchInHandError):
                async with bodies.read(_request(b"12345"), max_bytes=6):
                    pass


async def test_what_goes_wrong_afterwards_is_not_taken_for_a_slow_body() -> None:
    with pytest.raises(TimeoutError):
        async with Bodies().read(_request(b"x"), max_bytes=6), asyncio.timeout(0):
            await asyncio.sleep(1)


@pytest.mark.parametrize("target", ["/admin#/inbox", "/inbox#", "/inbox?a#b"])
def test_no_target_has_a_fragment(target: str) -> None:
    """Cut off by one server and kept by another, it turns an inbox into any other path."""
    assert is_ambiguous(target)
