"""Whatever a service does wrong is a failure of its kind, and never an answer."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from relay.errors import StartupError
from relay.services.answers import Failed, FailureKind
from relay.services.opening import open_service, read_credentials
from tests.relay.services.parts import Fake, ask, section_for
from tests.service_servers import FakeGoogle, FakeHma, FakePhotoDna, FakeShield, Scripted

if TYPE_CHECKING:
    from pathlib import Path

FAKES = [FakeShield, FakePhotoDna, FakeHma, FakeGoogle]

WRONG = [
    (Scripted(status=400, body=b'{"detail": "no"}'), FailureKind.REFUSED),
    (Scripted(status=403, body=b'{"message": "no"}'), FailureKind.UNAUTHORIZED),
    (Scripted(status=404), FailureKind.MALFORMED),
    (Scripted(status=413), FailureKind.REFUSED),
    (Scripted(status=415), FailureKind.REFUSED),
    (Scripted(status=429), FailureKind.RATE_LIMITED),
    (Scripted(status=500, body=b"<html>"), FailureKind.SERVER_ERROR),
    (Scripted(status=503), FailureKind.SERVER_ERROR),
    (Scripted(status=302, headers={"Location": "http://127.0.0.1:1/"}), FailureKind.MALFORMED),
    (Scripted(status=200), FailureKind.MALFORMED),
    (Scripted(status=200, body=b"<html>login</html>"), FailureKind.MALFORMED),
    (Scripted(status=200, body=b"{}" + b" " * 2_000_000), FailureKind.MALFORMED),
    (Scripted(status=200, body=b"[" * 100_000), FailureKind.MALFORMED),
    (Scripted(status=200, body=b'{"classification": "no-known-match"}'), FailureKind.MALFORMED),
]


@pytest.mark.parametrize("kind", FAKES)
@pytest.mark.parametrize(("scripted", "failure"), WRONG)
async def test_what_goes_wrong_is_a_failure_of_its_kind(
    kind: type[Fake], scripted: Scripted, failure: FailureKind, tmp_path: Path
) -> None:
    async with kind.open() as fake:
        fake.usual = scripted
        answer = await ask(section_for(fake, tmp_path))
    assert isinstance(answer, Failed)
    assert answer.kind is failure


@pytest.mark.parametrize("kind", FAKES)
async def test_a_service_that_hangs_is_waited_for_no_longer_than_was_said(
    kind: type[Fake], tmp_path: Path
) -> None:
    async with kind.open() as fake:
        fake.script(0)
        answer = await ask(section_for(fake, tmp_path, timeout_s=0.1))
    assert answer == Failed(kind=FailureKind.TIMEOUT)


@pytest.mark.parametrize("kind", FAKES)
async def test_a_service_that_is_not_there_is_unreachable(kind: type[Fake], tmp_path: Path) -> None:
    async with kind.open() as fake:
        section = section_for(fake, tmp_path)
    assert await ask(section) == Failed(kind=FailureKind.UNREACHABLE)


@pytest.mark.parametrize("kind", [FakeShield, FakePhotoDna, FakeHma])
async def test_wrong_credentials_are_told_apart_from_other_failures(kind: type[Fake], tmp_path: Path) -> None:
    async with kind.open() as fake:
        section = section_for(fake, tmp_path, secret="another:secret")
        assert await ask(section) == Failed(kind=FailureKind.UNAUTHORIZED)


async def test_a_service_says_how_long_it_wants_to_be_left_alone(tmp_path: Path) -> None:
    async with FakePhotoDna.open() as fake:
        # A quota that is used up comes with the status of a wrong key there.
        fake.script(*(Scripted(status=status, headers={"Retry-After": "90"}) for status in (429, 403, 503)))
        section = section_for(fake, tmp_path)
        answers = [await ask(section) for _ in range(3)]
    assert [one.kind for one in answers if isinstance(one, Failed)] == [
        FailureKind.RATE_LIMITED,
        FailureKind.RATE_LIMITED,
        FailureKind.SERVER_ERROR,
    ]
    assert {one.retry_after for one in answers if isinstance(one, Failed)} == {timedelta(seconds=90)}


@pytest.mark.parametrize("kind", FAKES)
async def test_a_probe_tells_a_service_that_answers_us_from_one_that_does_not(
    kind: type[Fake], tmp_path: Path
) -> None:
    async with kind.open() as fake:
        async with open_service(section_for(fake, tmp_path)) as service:
            assert await service.probe() is None
            fake.script(500)
            assert await service.probe() == Failed(kind=FailureKind.SERVER_ERROR)
        async with open_service(section_for(fake, tmp_path, secret="another:secret")) as service:
            # The page of an HMA that says how it is asks for no key.
            assert (await service.probe() is None) is (kind is FakeHma)


async def test_an_hma_whose_index_is_stale_does_not_count_as_working(tmp_path: Path) -> None:
    async with FakeHma.open() as fake, open_service(section_for(fake, tmp_path)) as service:
        fake.is_stale = True
        assert await service.probe() == Failed(kind=FailureKind.SERVER_ERROR)


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines", b"\xff\xfe", b"x" * 5_000])
def test_credentials_that_are_none_stop_the_start(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(StartupError, match=str(path)):
        read_credentials(path)


def test_credentials_that_are_not_there_stop_the_start_and_none_named_are_none(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="cannot be read"):
        read_credentials(tmp_path / "nothing")
    assert read_credentials(None) == ""
