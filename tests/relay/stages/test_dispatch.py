"""What a backend's answer means for a delivery whose sender has gone long since."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.backends.client import BackendAnswer, BackendDown, open_backend
from relay.model import Receipt
from relay.stages.dispatch import forward, pass_through
from tests.fediverse.backend import RecordingBackend, ScriptedAnswer
from tests.relay.stages.parts import delivery

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.backends.client import BackendClient

_MEANINGS = {
    200: Receipt.TAKEN,
    202: Receipt.TAKEN,
    204: Receipt.TAKEN,
    301: Receipt.TRY_AGAIN,
    307: Receipt.TRY_AGAIN,
    400: Receipt.REFUSED,
    401: Receipt.STALE,
    403: Receipt.REFUSED,
    404: Receipt.REFUSED,
    408: Receipt.TRY_AGAIN,
    410: Receipt.REFUSED,
    429: Receipt.TRY_AGAIN,
    499: Receipt.REFUSED,
    500: Receipt.TRY_AGAIN,
    503: Receipt.TRY_AGAIN,
    599: Receipt.TRY_AGAIN,
}


@pytest.fixture
async def behind() -> AsyncIterator[RecordingBackend]:
    async with RecordingBackend.open() as opened:
        yield opened


@pytest.fixture
async def client(behind: RecordingBackend) -> AsyncIterator[BackendClient]:
    async with open_backend(behind.url, timeout_s=5) as opened:
        yield opened


@pytest.mark.parametrize(("status", "receipt"), _MEANINGS.items())
async def test_every_status_has_its_meaning(
    status: int, receipt: Receipt, behind: RecordingBackend, client: BackendClient
) -> None:
    behind.script(status)

    dispatched = await forward(delivery().message, backend=client)

    assert dispatched.receipt is receipt
    assert dispatched.reason == f"backend_answered_{status}"
    assert behind.bodies == [delivery().message.body]


async def test_a_backend_that_hangs_up_is_asked_again(
    behind: RecordingBackend, client: BackendClient
) -> None:
    behind.script(0)

    dispatched = await forward(delivery().message, backend=client)

    assert (dispatched.receipt, dispatched.reason) == (Receipt.TRY_AGAIN, "backend_broken")


async def test_a_delivery_without_media_gets_the_answer_itself(
    behind: RecordingBackend, client: BackendClient
) -> None:
    behind.script(ScriptedAnswer(status=418, body=b"teapot", headers=(("X-Pot", "tea"),)), 0)

    answer = await pass_through(delivery().message, backend=client)

    assert isinstance(answer, BackendAnswer)
    assert (answer.status, answer.body) == (418, b"teapot")
    assert ("X-Pot", "tea") in answer.headers
    assert isinstance(await pass_through(delivery().message, backend=client), BackendDown)
