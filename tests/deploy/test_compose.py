"""Each server's compose file starts a relay whose doors are where the server looks for them."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

import pytest

from relay.config import Settings, load_settings
from relay.tools.door_secret import build_addresses
from tests.deploy.compose import DOT_ENV, Stack, list_servers, read_stack

# The services of each server's own compose file that fetch, or that store what was fetched.
_FETCHERS: Final = {
    "mastodon": ("web", "sidekiq"),
    "gotosocial": ("gotosocial",),
    "piefed": ("web", "celery"),
    "lemmy": ("lemmy",),
}
_PROXY_VARIABLES: Final = {"mastodon": ("http_proxy",)}
_USUAL_PROXY_VARIABLES: Final = ("HTTP_PROXY", "HTTPS_PROXY")


@pytest.fixture(params=list_servers())
def server(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def stack(server: str) -> Stack:
    return read_stack(server)


@pytest.fixture
def settings(stack: Stack) -> Settings:
    """The relay's settings as its container would read them."""
    environment = stack.environment("breakwater") | {
        "HOME": "/var/lib/breakwater",
        "XDG_DATA_HOME": "/var/lib",
    }
    return load_settings(None, environment)


def test_there_is_a_file_for_every_server_that_has_a_page_of_its_own() -> None:
    assert list_servers() == sorted(_FETCHERS)


def test_the_relay_takes_the_settings_and_stands_in_front_of_that_server(
    server: str, settings: Settings
) -> None:
    assert settings.backend.software.value == server
    assert settings.backend.url
    assert settings.backend.hosts == (DOT_ENV["DOMAIN"],)
    assert settings.base_url == f"https://{DOT_ENV['DOMAIN']}/breakwater"


def test_what_the_server_fetches_goes_through_the_gateway(
    server: str, stack: Stack, settings: Settings
) -> None:
    relay = stack.services["breakwater"]["networks"]["breakwater"]["ipv4_address"]
    (pool,) = stack.networks["breakwater"]["ipam"]["config"]

    assert settings.gateway.enabled
    assert ip_network(pool["subnet"]) in settings.gateway.allowed_clients
    assert ip_address(relay) in ip_network(pool["subnet"])
    for service in _FETCHERS[server]:
        environment = stack.environment(service)
        for variable in _PROXY_VARIABLES.get(server, _USUAL_PROXY_VARIABLES):
            assert environment[variable] == f"http://{relay}:{settings.gateway_port}"
        assert "breakwater" in stack.services[service]["networks"]


def test_where_tls_is_opened_the_server_trusts_the_authority_and_waits_for_it(
    server: str, stack: Stack, settings: Settings
) -> None:
    for service in _FETCHERS[server]:
        environment = stack.environment(service)
        if not settings.gateway.opens_tls:
            assert "SSL_CERT_FILE" not in environment
            continue
        bundle = environment["SSL_CERT_FILE"]
        assert "breakwater-trust:/breakwater:ro" in stack.services[service]["volumes"]
        assert bundle.startswith("/breakwater/")
        written = stack.services["breakwater-trust"]["command"][-1]
        assert written.rpartition("/")[2] == bundle.rpartition("/")[2]
        needs = stack.services[service]["depends_on"]["breakwater-trust"]
        assert needs == {"condition": "service_completed_successfully"}


def test_the_addresses_with_the_secret_are_those_that_the_relay_answers_at(stack: Stack) -> None:
    secret = DOT_ENV["BREAKWATER_DOORS_SECRET"]
    told = {
        name: value
        for service in stack.services
        if service not in {"breakwater", "breakwater-trust"}
        for name, value in stack.environment(service).items()
        if secret in value
    }
    settings = load_settings(None, stack.environment("breakwater") | {"HOME": "/"})
    addresses = build_addresses(f"http://breakwater:{settings.doors_port}", secret)
    expected = {}
    if settings.doors.validator:
        expected["PICTRS__MEDIA__EXTERNAL_VALIDATION"] = addresses.validator
    if settings.doors.hash_endpoint:
        expected["IMAGE_HASHING_ENDPOINT"] = addresses.hash_endpoint

    assert told == expected


def test_pict_rs_is_more_patient_than_the_validator_needs() -> None:
    stack = read_stack("lemmy")
    settings = load_settings(None, stack.environment("breakwater") | {"HOME": "/"})
    patience = float(stack.environment("pictrs")["PICTRS__MEDIA__EXTERNAL_VALIDATION_TIMEOUT"])

    assert settings.doors.validate_within_s < patience


def test_nothing_of_the_relay_is_open_to_the_world(stack: Stack, settings: Settings) -> None:
    relay = stack.services["breakwater"]

    assert relay["ports"] == [
        f"127.0.0.1:{port}:{port}" for port in (settings.server.port, settings.front_port)
    ]
    assert settings.server.admin_host == "127.0.0.1"
    for service in ("breakwater", "breakwater-trust"):
        assert stack.services[service]["read_only"] is True
        assert stack.services[service]["cap_drop"] == ["ALL"]
        assert stack.services[service]["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in stack.services[service]


def test_health_is_no_condition_for_the_servers_own_start(stack: Stack) -> None:
    """A relay that is broken loses the picture, not the site."""
    for service in stack.services.values():
        assert "breakwater" not in service.get("depends_on", {})


def test_no_proxy_stands_between_the_server_and_what_is_beside_it(server: str, stack: Stack) -> None:
    for service in _FETCHERS[server]:
        environment = stack.environment(service)
        spared = environment.get("NO_PROXY", environment.get("no_proxy", "")).split(",")
        assert {"localhost", "127.0.0.1"} <= set(spared)
        for value in environment.values():
            parts = urlsplit(value)
            if parts.scheme == "http" and parts.path.strip("/"):
                assert parts.hostname in spared
