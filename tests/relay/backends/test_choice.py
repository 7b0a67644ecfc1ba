"""The relay's own test ends at the stand-in, everything else at the admin's server."""

from __future__ import annotations

from relay.backends.choice import Backends
from relay.backends.client import open_backend
from relay.backends.standin import open_standin
from relay.model import Sender
from signatures.message import RequestMessage
from tests.fediverse import RecordingBackend

OWN = "http://127.0.0.1:9/actor"
MESSAGE = RequestMessage(
    method="POST",
    scheme="http",
    authority="instance.example",
    target="/inbox?x=%41",
    headers=(("Host", "instance.example"), ("X-Kept", "as sent")),
    body=b"{}",
)


async def test_only_a_verified_selftest_goes_to_the_standin() -> None:
    async with (
        RecordingBackend.open() as real,
        open_standin() as standin,
        open_backend(real.url, timeout_s=5) as main,
        open_backend(standin.url, timeout_s=5) as other,
    ):
        backends = Backends(main=main, standin=other, selftest_actor=OWN)
        for actor, is_selftest in ((OWN, True), ("http://127.0.0.1:9/actor2", False)):
            sender = Sender(actor=actor, key_id=f"{actor}#main-key")
            assert backends.is_selftest(sender) is is_selftest
            await backends.choose(is_selftest=is_selftest).send(MESSAGE)
        assert not backends.is_selftest(None)

        assert len(real.requests) == 1
        assert standin.count == 1


async def test_the_standin_records_what_it_gets_as_it_was_sent_and_forgets_the_oldest() -> None:
    async with open_standin() as standin, open_backend(standin.url, timeout_s=5) as client:
        for number in range(205):
            await client.send(
                RequestMessage(
                    method="POST",
                    scheme="http",
                    authority="instance.example",
                    target=f"/inbox?n={number}",
                    headers=MESSAGE.headers,
                    body=str(number).encode(),
                )
            )

        assert (standin.count, len(standin.received)) == (205, 200)
        newest = standin.received[-1]
        assert (newest.method, newest.target, newest.body) == ("POST", "/inbox?n=204", b"204")
        assert ("X-Kept", "as sent") in newest.headers
