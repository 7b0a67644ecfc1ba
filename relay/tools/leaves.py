"""Mint the short-lived certificates under which the gateway answers in a server's name.

One for each host, made when the backend first connects to it: P-256, so that it takes about a thousandth of a
second, and never written to a disk.
"""

from __future__ import annotations

import os
import ssl
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from relay.tools.authority import BACKDATED

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.clock import Clock
    from relay.tools.authority import Authority

LEAF_LIFE: Final = timedelta(hours=48)
"""From the backdated beginning to the end. Short, since nothing could ever revoke one."""

_RENEWED_AFTER: Final = timedelta(hours=24)
"""A connection that was opened with an old leaf may last; the new ones get a new leaf in good time."""

_MAX_HOSTS: Final = 2_048
"""A context takes some 20 kB, and an instance hears from a few thousand hosts, most of them seldom."""

# The subject names nobody: whom a leaf is for stands in the alternative name alone (RFC 9110 section 4.3.4).
_SUBJECT: Final = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Breakwater gateway leaf")])

_ALPN: Final = ["http/1.1"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Minted:
    context: ssl.SSLContext
    minted_at: datetime


class Leaves:
    """The server's side of TLS for any host, each with a certificate of its own."""

    def __init__(self, authority: Authority, *, clock: Clock, max_hosts: int = _MAX_HOSTS) -> None:
        self._authority = authority
        self._clock = clock
        self._max_hosts = max_hosts
        self._minted: OrderedDict[str, _Minted] = OrderedDict()

    def may_speak_for(self, host: str) -> bool:
        """Tell whether clients would take a certificate for a host."""
        return self._authority.may_speak_for(host)

    def context_for(self, host: str) -> ssl.SSLContext:
        """Return the context for a host, minting a certificate unless there is a fresh one.

        Args:
            host: A name in its ASCII form, lower case, or the canonical text of an address.
        """
        now = self._clock.now()
        known = self._minted.get(host)
        if known is None or not timedelta() <= now - known.minted_at < _RENEWED_AFTER:
            known = _Minted(context=_build_context(self._authority, host, now), minted_at=now)
            self._minted[host] = known
        self._minted.move_to_end(host)
        if len(self._minted) > self._max_hosts:
            self._minted.popitem(last=False)
        return known.context


def mint_leaf(
    authority: Authority, host: str, *, now: datetime
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """Make a key and a certificate for one host."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_SUBJECT)
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now - BACKDATED + LEAF_LIFE)
        .add_extension(x509.SubjectAlternativeName([_name_of(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False
        )
        .sign(authority.key, hashes.SHA256())
    )
    return key, certificate


def _name_of(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _build_context(authority: Authority, host: str, now: datetime) -> ssl.SSLContext:
    key, certificate = mint_leaf(authority, host, now=now)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # RFC 7301 section 3.2: a client that offers h2 as well takes this; one that offers h2 alone goes on
    # without a protocol named, and finds HTTP/1.1.
    context.set_alpn_protocols(_ALPN)
    context.sni_callback = _create_gate(host)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    # The library reads keys from files only; this one is nowhere but in memory.
    descriptor = os.memfd_create("leaf", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    return context


def _create_gate(host: str) -> Callable[[ssl.SSLObject, str | None, ssl.SSLContext], int | None]:
    def judge(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> int | None:
        # RFC 6066 section 3: an address is never sent as a name, and old clients send none. Whoever names
        # another host than it asked the proxy for would be shown one server in the name of another.
        if name is None or name.lower() == host:
            return None
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    return judge
