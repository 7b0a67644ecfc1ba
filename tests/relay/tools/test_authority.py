"""The gateway's authority: whom it may speak for, whom never, and for how long."""

from __future__ import annotations

import asyncio
import ssl
from datetime import timedelta
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from relay.clock import SystemClock
from relay.errors import StartupError
from relay.tools.authority import (
    LIFE,
    Authority,
    create_authority,
    find_authority,
    load_or_create_authority,
    replace_authority,
    require_authority,
)
from relay.tools.leaves import LEAF_LIFE, Leaves, mint_leaf
from tests.fediverse import FrozenClock

if TYPE_CHECKING:
    from pathlib import Path

NOW = SystemClock().now()
HOST = "media.remote.example"


@pytest.fixture
def authority() -> Authority:
    return create_authority(domain="social.example:443", now=NOW)


async def _shake_hands(
    authority: Authority, leaf_host: str, *, asked: str | None, protocols: list[str] | None = None
) -> str | None:
    """Open TLS in memory as the gateway and a backend that trusts the authority would."""
    served = Leaves(authority, clock=SystemClock()).context_for(leaf_host)
    trusting = ssl.create_default_context(cadata=authority.certificate_pem)
    if protocols is not None:
        trusting.set_alpn_protocols(protocols)

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0, ssl=served)
    try:
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname=asked)
        chosen = writer.get_extra_info("ssl_object").selected_alpn_protocol()
        writer.close()
        await writer.wait_closed()
        return str(chosen) if chosen is not None else None
    finally:
        server.close()
        await server.wait_closed()


async def test_a_backend_that_trusts_it_takes_its_leaves(authority: Authority) -> None:
    assert await _shake_hands(authority, HOST, asked=HOST, protocols=["h2", "http/1.1"]) == "http/1.1"
    assert await _shake_hands(authority, "192.0.2.1", asked="192.0.2.1") is None


async def test_a_backend_that_speaks_h2_alone_gets_no_protocol_named(authority: Authority) -> None:
    assert await _shake_hands(authority, HOST, asked=HOST, protocols=["h2"]) is None


@pytest.mark.parametrize(
    "host",
    [
        "social.example",
        "files.social.example",
        "localhost",
        "printer.local",
        "db.internal",
        "10.1.2.3",
        "::1",
    ],
)
async def test_what_it_must_not_speak_for_is_refused_by_the_backend_itself(
    authority: Authority, host: str
) -> None:
    assert not authority.may_speak_for(host)
    with pytest.raises(ssl.SSLCertVerificationError):
        await _shake_hands(authority, host, asked=host)


async def test_a_backend_that_names_another_host_is_shown_no_certificate(authority: Authority) -> None:
    with pytest.raises((ssl.SSLError, ConnectionResetError)) as refused:
        await _shake_hands(authority, HOST, asked="other.remote.example")
    assert not isinstance(refused.value, ssl.SSLCertVerificationError)


def test_it_may_speak_for_the_private_places_that_may_be_fetched_from() -> None:
    for allowed in (ip_network("127.0.0.0/8"), (ip_address("127.0.0.1"), 8443)):
        made = create_authority(domain="127.0.0.1:8790", allowed=(allowed,), now=NOW)
        assert made.may_speak_for("127.0.0.1")
        assert made.may_speak_for("localhost")
        assert not made.may_speak_for("10.0.0.1")


def test_its_certificate_can_sign_leaves_and_nothing_else(authority: Authority) -> None:
    extensions = authority.certificate.extensions
    basic = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    assert (usage.critical, usage.value.key_cert_sign, usage.value.crl_sign) == (True, True, False)
    assert extensions.get_extension_for_class(x509.NameConstraints).critical
    assert authority.ends == (NOW + LIFE).replace(microsecond=0)
    assert not authority.is_nearly_over(NOW)
    assert authority.is_nearly_over(NOW + LIFE - timedelta(days=29))


def test_a_leaf_is_short_lived_for_one_host_and_for_servers_alone(authority: Authority) -> None:
    key, leaf = mint_leaf(authority, HOST, now=NOW)
    _, other = mint_leaf(authority, HOST, now=NOW)
    assert isinstance(key.curve, ec.SECP256R1)
    assert leaf.serial_number != other.serial_number
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == LEAF_LIFE <= timedelta(hours=48)
    assert leaf.not_valid_before_utc == (NOW - timedelta(hours=1)).replace(microsecond=0)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [HOST]
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.ExtendedKeyUsageOID.SERVER_AUTH]
    leaf.verify_directly_issued_by(authority.certificate)


def test_a_leaf_is_used_again_until_it_is_half_over_and_the_oldest_are_forgotten(
    authority: Authority,
) -> None:
    clock = FrozenClock()
    leaves = Leaves(authority, clock=clock, max_hosts=2)
    first = leaves.context_for("a.example")
    assert leaves.context_for("a.example") is first
    leaves.context_for("b.example")
    leaves.context_for("c.example")
    renewed = leaves.context_for("a.example")
    assert renewed is not first
    clock.advance(timedelta(hours=25))
    assert leaves.context_for("a.example") is not renewed


def test_it_is_kept_in_one_file_and_read_back(tmp_path: Path, authority: Authority) -> None:
    assert find_authority(tmp_path) is None
    with pytest.raises(StartupError, match="breakwater keys ca"):
        require_authority(tmp_path)
    kept = load_or_create_authority(tmp_path, authority)
    assert kept.certificate == authority.certificate
    other = create_authority(domain="", now=NOW)
    assert load_or_create_authority(tmp_path, other).certificate == authority.certificate
    replace_authority(tmp_path, other)
    assert require_authority(tmp_path).certificate == other.certificate


@pytest.mark.parametrize("data", [b"", b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"])
def test_a_damaged_file_is_named_with_the_way_to_mend_it(tmp_path: Path, data: bytes) -> None:
    load_or_create_authority(tmp_path, create_authority(domain="", now=NOW))
    path = tmp_path / "keys" / "gateway-ca.pem"
    path.write_bytes(data)
    with pytest.raises(StartupError, match="--renew"):
        find_authority(tmp_path)


def test_a_key_of_another_authority_does_not_pass(tmp_path: Path, authority: Authority) -> None:
    load_or_create_authority(tmp_path, authority)
    path = tmp_path / "keys" / "gateway-ca.pem"
    key = path.read_bytes().partition(b"-----BEGIN CERTIFICATE")[0]
    path.write_bytes(key + create_authority(domain="", now=NOW).certificate_pem.encode())
    with pytest.raises(StartupError, match="damaged"):
        find_authority(tmp_path)
