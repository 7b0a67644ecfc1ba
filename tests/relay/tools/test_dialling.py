from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from relay.model import FetchFailure
from relay.tools.dialling import open_dialler

if TYPE_CHECKING:
    from relay.tools.policy import FetchPolicy


def resolve_to(*addresses: str) -> object:
    async def lookup(_host: str, _port: int) -> tuple[str, ...]:
        return addresses

    return lookup


async def test_the_first_address_that_answers_is_taken(policy: FetchPolicy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        async with open_dialler(policy, lookup=resolve_to("127.0.0.9", "127.0.0.1")) as dialler:
            connection = await dialler.dial("media.example", port)
        assert isinstance(connection, socket.socket)
        with connection:
            assert connection.getpeername() == ("127.0.0.1", port)


@pytest.mark.parametrize(
    ("addresses", "failure"),
    [
        (("10.0.0.1",), FetchFailure.REFUSED_ADDRESS),
        (("127.0.0.1", "10.0.0.1"), FetchFailure.REFUSED_ADDRESS),
        (("no address",), FetchFailure.REFUSED_ADDRESS),
        (("127.0.0.66",), FetchFailure.REFUSED_ADDRESS),
        ((), FetchFailure.UNRESOLVED),
    ],
)
async def test_nothing_is_dialled_where_one_address_may_not_be(
    policy: FetchPolicy, addresses: tuple[str, ...], failure: FetchFailure
) -> None:
    made = []

    def make(family: int, kind: int, protocol: int) -> socket.socket:
        made.append(family)
        return socket.socket(family, kind, protocol)

    bounded = replace(policy, refused=(ip_network("127.0.0.66/32"),))
    async with open_dialler(bounded, lookup=resolve_to(*addresses), make_socket=make) as dialler:
        assert await dialler.dial("media.example", 443) is failure
    assert made == []


async def test_a_name_server_that_never_answers_is_a_timeout(policy: FetchPolicy) -> None:
    async def lookup(_host: str, _port: int) -> tuple[str, ...]:
        await asyncio.Event().wait()
        return ()

    hasty = replace(policy, connect_timeout=timedelta(milliseconds=20))
    async with open_dialler(hasty, lookup=lookup) as dialler:
        assert await dialler.dial("media.example", 443) is FetchFailure.TIMEOUT


async def test_where_nobody_listens_is_unreachable(policy: FetchPolicy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    async with open_dialler(policy) as dialler:
        assert await dialler.dial("127.0.0.1", port) is FetchFailure.UNREACHABLE
