"""Keep the certificate authority of this installation, with which the gateway opens the backend's fetches.

Only the backend is told to trust it. Whoever has its key can pretend to be any server towards that backend,
so that the key never leaves the data directory, and the certificate itself says for whom it must never
speak: the instance's own domain, local names, private addresses. A client that knows name constraints
(OpenSSL, Go, rustls, GnuTLS) refuses such certificates even from whoever stole the key (RFC 5280 section
4.2.1.10).

The key and the certificate lie in one file, `<data directory>/keys/gateway-ca.pem`, so that the two always
belong together.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from relay.errors import StartupError
from relay.tools.key_files import create_private, read_private, replace_private

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from relay.tools.addresses import Endpoint, IpNetwork

LIFE: Final = timedelta(days=730)
"""Two years: an admin renews it before a machine is replaced, and a stolen key does not speak for ever."""

NEARLY_OVER: Final = timedelta(days=30)
"""From here on an admin is reminded; that leaves time for a maintenance window."""

BACKDATED: Final = timedelta(hours=1)
"""The backend's clock may be behind ours."""

# RFC 6761, RFC 6762, RFC 8375 and what routers and companies use besides.
_LOCAL_NAMES: Final = ("localhost", "local", "localdomain", "internal", "lan", "home.arpa", "intranet")
_PRIVATE_NETWORKS: Final = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::1/128",
        # IPv4 inside of IPv6: mapped and translated.
        "::ffff:0:0/96",
        "64:ff9b::/96",
        "fc00::/7",
        "fe80::/10",
    )
)
_LOOPBACK: Final = ip_network("127.0.0.0/8")
_FILE: Final = "gateway-ca.pem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A certificate authority with its key.

    Attributes:
        key: The private key.
        certificate: What the backend trusts.
    """

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def certificate_pem(self) -> str:
        """The certificate as programs take it."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the certificate, as other programs show it."""
        return self.certificate.fingerprint(hashes.SHA256()).hex(":").upper()

    @property
    def ends(self) -> datetime:
        """When it stops to be valid."""
        return self.certificate.not_valid_after_utc

    def is_nearly_over(self, now: datetime) -> bool:
        """Tell whether it should be renewed."""
        return self.ends - now < NEARLY_OVER

    def may_speak_for(self, host: str) -> bool:
        """Tell whether clients would take a certificate for a host: its own constraints do not exclude it."""
        constraints = self.certificate.extensions.get_extension_for_class(x509.NameConstraints).value
        return not any(_covers(subtree, host) for subtree in constraints.excluded_subtrees or ())


def _covers(subtree: x509.GeneralName, host: str) -> bool:
    if isinstance(subtree, x509.DNSName):
        return host == subtree.value or host.endswith(f".{subtree.value}")
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return isinstance(subtree, x509.IPAddress) and address in ip_network(subtree.value)


def create_authority(
    *, domain: str, allowed: Iterable[IpNetwork | Endpoint] = (), now: datetime
) -> Authority:
    """Make a new authority.

    Args:
        domain: The instance's own domain, for which it must not speak; a port is ignored, an address skipped.
        allowed: Private networks and endpoints that the relay may fetch from all the same (for development).
        now: The time.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # With a name of its own, a renewed authority is never taken for the one before.
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, f"Breakwater gateway {identifier.digest[:4].hex()}")]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_may_sign_certificates(), critical=True)
        # RFC 5280 section 4.2.1.10: "Conforming CAs MUST mark this extension as critical".
        .add_extension(_exclude(domain, tuple(allowed)), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(key=key, certificate=certificate)


def find_authority(data_dir: Path) -> Authority | None:
    """Read the authority; None where none was made yet.

    Raises:
        StartupError: It cannot be read, is damaged, or others can read it.
    """
    path = data_dir / "keys" / _FILE
    return _parse(path, read_private(path)) if path.exists() else None


def require_authority(data_dir: Path) -> Authority:
    """Read the authority that the gateway needs.

    Raises:
        StartupError: There is none, or it cannot be used.
    """
    authority = find_authority(data_dir)
    if authority is None:
        raise StartupError(
            "gateway.opens_tls is on, but there is no certificate authority to open TLS with, so that "
            "nothing that the backend fetches by https could be examined. Make one with `breakwater keys ca` "
            "and let the backend trust it; or set gateway.opens_tls = false for a gateway that can only "
            "block hosts."
        )
    return authority


def load_or_create_authority(data_dir: Path, made: Authority) -> Authority:
    """Read the authority, or keep the one that was made if there is none yet.

    Raises:
        StartupError: It cannot be read or written, is damaged, or others can read it.
    """
    path = _prepare(data_dir)
    try:
        create_private(path, lambda: _to_pem(made))
    except OSError as error:
        raise _unwritable(path, error) from error
    return _parse(path, read_private(path))


def replace_authority(data_dir: Path, made: Authority) -> Authority:
    """Put an authority in the place of the one before; the backend has to be told to trust it.

    Raises:
        StartupError: It cannot be written.
    """
    path = _prepare(data_dir)
    try:
        replace_private(path, _to_pem(made))
    except OSError as error:
        raise _unwritable(path, error) from error
    return made


def _prepare(data_dir: Path) -> Path:
    path = data_dir / "keys" / _FILE
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error
    return path


def _to_pem(authority: Authority) -> bytes:
    key = authority.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return key + authority.certificate_pem.encode("ascii")


def _parse(path: Path, data: bytes) -> Authority:
    try:
        key = serialization.load_pem_private_key(data, password=None)
        certificate = x509.load_pem_x509_certificate(data)
    except (ValueError, TypeError) as error:
        raise _damaged(path) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise _damaged(path)
    return Authority(key=key, certificate=certificate)


def _may_sign_certificates() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _exclude(domain: str, allowed: tuple[IpNetwork | Endpoint, ...]) -> x509.NameConstraints:
    networks = [one for one in _PRIVATE_NETWORKS if not any(_meets(one, other) for other in allowed)]
    names = [name for name in _LOCAL_NAMES if name != "localhost" or _LOOPBACK in networks]
    own = domain.lower().partition(":")[0]
    if own and not own.startswith("[") and not own.rpartition(".")[2].isdigit():
        names.append(own)
    return x509.NameConstraints(
        permitted_subtrees=None,
        excluded_subtrees=[
            *(x509.DNSName(name) for name in dict.fromkeys(names)),
            *(x509.IPAddress(network) for network in networks),
        ],
    )


def _meets(network: IpNetwork, other: IpNetwork | Endpoint) -> bool:
    """Tell whether a network holds any of what another entry allows."""
    if isinstance(other, tuple):
        return other[0] in network
    return network.version == other.version and network.overlaps(other)


def _unwritable(path: Path, error: OSError) -> StartupError:
    return StartupError(
        f"The gateway's certificate authority cannot be kept in {path} ({error.strerror}). Without it https "
        "cannot be opened. Check the owner and the mode of the data directory, or choose another with "
        "--data-dir."
    )


def _damaged(path: Path) -> StartupError:
    return StartupError(
        f"{path} is damaged, so that https cannot be opened for the backend. Put it back from a backup, or "
        "make a new one with `breakwater keys ca --renew` and let the backend trust that."
    )
