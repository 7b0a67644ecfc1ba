"""`breakwater services`, and what doctor says about them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from relay.cli.diagnosis import Finding
from relay.cli.doctor_services import REMEDIES, check_services
from relay.cli.services import _describe
from relay.config import InvalidSettingsError, load_settings, loosened_policies
from relay.config.services import CONSENTS
from relay.services.answers import Answered, Failed, FailureKind, NotTaken
from scanner.canary import draw_canary
from tests.relay.cli.commands import answer
from tests.relay.services.parts import BANKS
from tests.service_servers import FakeHma, FakeShield
from tests.service_servers.hma import KEY
from tests.service_servers.shield import CREDENTIALS

if TYPE_CHECKING:
    from pathlib import Path

    from relay.config import Settings

LEGAL = {
    "legal.jurisdiction": "DE",
    "legal.reporting_route": "jugendschutz.net",
    "legal.responsible_role": "child safety officer",
}


def settings_for(directory: Path, url: str, *, section: str = "arachnid", **given: Any) -> Settings:
    path = directory / "credentials"
    if not path.exists():
        path.write_text(CREDENTIALS if section == "arachnid" else KEY)
        path.chmod(0o600)
    values = {
        **LEGAL,
        f"services.{section}.enabled": True,
        f"services.{section}.url": url,
        f"services.{section}.credentials_file": path,
        f"services.{section}.consent": CONSENTS[section],
        **({"services.hma.banks": list(BANKS)} if section == "hma" else {}),
        **{name.replace("__", "."): value for name, value in given.items()},
    }
    return load_settings(None, {}, {"server.data_dir": directory / "data", **values})


async def test_doctor_says_that_nothing_leaves_where_no_service_is_on(tmp_path: Path) -> None:
    (one,) = await check_services(load_settings(None, {}, {"server.data_dir": tmp_path}))
    assert (one.finding, one.detail) == (Finding.OK, "none is on; nothing is sent to anyone")


async def test_doctor_tells_a_service_that_answers_from_one_that_does_not(tmp_path: Path) -> None:
    async with FakeShield.open() as shield:
        (one,) = await check_services(settings_for(tmp_path, shield.url))
        assert (one.finding, one.detail) == (Finding.OK, "arachnid-shield answers us")
        shield.usual = None
        (tmp_path / "credentials").write_text("somebody:wrong")
        (one,) = await check_services(settings_for(tmp_path, shield.url))
        assert one.finding is Finding.PROBLEM
        assert "stay withheld" in one.detail
        assert "credentials_file" in one.remedy
        (one,) = await check_services(settings_for(tmp_path, shield.url, services__arachnid__essential=False))
        assert one.finding is Finding.NOTE
        assert "pass without its word" in one.detail


async def test_doctor_finds_credentials_that_everybody_may_read_and_those_that_nobody_can(
    tmp_path: Path,
) -> None:
    async with FakeHma.open() as hma:
        settings = settings_for(tmp_path, hma.url, section="hma")
        (tmp_path / "credentials").chmod(0o644)
        found = await check_services(settings)
        assert [one.finding for one in found] == [Finding.PROBLEM, Finding.OK]
        assert "chmod o-rwx" in found[0].remedy
        (tmp_path / "credentials").unlink()
        (one,) = await check_services(settings)
        assert one.finding is Finding.PROBLEM
        assert "cannot be read" in one.detail


async def test_doctor_says_what_no_service_hears_of_and_whom_a_service_is_for(tmp_path: Path) -> None:
    async with FakeShield.open() as shield:
        settings = settings_for(
            tmp_path, shield.url, doors__validator=True, doors__secret="s" * 32, legal__jurisdiction="US-CA"
        )
        _, reach, law = await check_services(settings)
    assert "without the services" in reach.detail
    assert "outside of the United States" in law.detail


def test_every_failure_has_its_advice() -> None:
    assert set(REMEDIES) == set(FailureKind)


@pytest.mark.parametrize(
    ("given", "word"),
    [(Answered(), "nothing_known"), (NotTaken(), "not_taken"), (Failed(kind=FailureKind.TIMEOUT), "timeout")],
)
def test_what_came_of_a_try_is_said_in_a_word_and_a_sentence(given: Any, word: str) -> None:
    said, sentence = _describe(given)
    assert said == word
    assert sentence.endswith(".")


async def test_a_try_sends_the_drawn_picture_and_says_what_came_back(tmp_path: Path) -> None:
    async with FakeShield.open() as shield:
        config = tmp_path / "breakwater.toml"
        path = tmp_path / "credentials"
        path.write_text(CREDENTIALS)
        config.write_text(
            f'[server]\ndata_dir = "{tmp_path}/data"\n'
            '[scanner]\nclassifier = "none"\nworkers = 1\n'
            '[legal]\njurisdiction = "DE"\nreporting_route = "x"\nresponsible_role = "y"\n'
            f'[services.arachnid]\nenabled = true\nurl = "{shield.url}"\ncredentials_file = "{path}"\n'
            f'consent = "{CONSENTS["arachnid"]}"\n'
        )
        command = ("services", "test", "arachnid", "--config", str(config))
        said = await asyncio.to_thread(answer, *command)
        assert said == {"section": "arachnid", "answered": True, "outcome": "nothing_known"}
        assert [one.body for one in shield.received] == [draw_canary()]
        shield.script(500)
        said = await asyncio.to_thread(lambda: answer(*command, status=1))
        assert said["outcome"] == "server_error"


def problems_of(directory: Path, **given: Any) -> str:
    with pytest.raises(InvalidSettingsError) as caught:
        settings_for(directory, "http://127.0.0.1:1", **given)
    return str(caught.value)


def test_without_the_sentence_of_consent_nothing_starts_and_the_sentence_is_shown(tmp_path: Path) -> None:
    said = problems_of(tmp_path, services__arachnid__consent="yes")
    assert "without your consent" in said
    assert CONSENTS["arachnid"] in said


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"legal__reporting_route": ""}, "legal.reporting_route is not set"),
        ({"services__arachnid__credentials_file": None}, "without services.arachnid.credentials_file"),
        ({"services__arachnid__url": "http://shield.example"}, "read along"),
        ({"services__arachnid__url": "shield.example"}, "http or https"),
        ({"services__arachnid__url": "https://a:b@shield.example"}, "http or https"),
        ({"services__sends": "all"}, "legal.scan_restricted"),
        ({"services__arachnid__daily_limit": 0}, "greater than or equal to 1"),
    ],
)
def test_a_service_that_cannot_be_used_as_it_is_set_stops_the_start(
    given: dict[str, Any], words: str, tmp_path: Path
) -> None:
    assert words in problems_of(tmp_path, **given)


def test_an_hma_needs_its_banks_and_may_be_plain_in_ones_own_network(tmp_path: Path) -> None:
    assert "without services.hma.banks" in problems_of(tmp_path, section="hma", services__hma__banks=[])
    assert "is no category" in problems_of(tmp_path, section="hma", services__hma__banks=["A=worse"])
    assert settings_for(tmp_path, "http://hma.internal:5000", section="hma").services.hma.enabled


def test_what_only_advises_cannot_be_essential(tmp_path: Path) -> None:
    said = problems_of(tmp_path, section="google", services__google__essential=True)
    assert "services.google.essential is true" in said


def test_what_is_handled_more_loosely_than_by_default_is_said(tmp_path: Path) -> None:
    url = "http://127.0.0.1:1"
    assert loosened_policies(settings_for(tmp_path, url)) == []
    loose = settings_for(tmp_path, url, services__arachnid__essential=False, services__sends="unstated")
    essential, sends = loosened_policies(loose)
    assert "services.arachnid.essential is false" in essential
    assert "services.sends is unstated" in sends
