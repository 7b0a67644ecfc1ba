"""Who may ask the gateway, and for what; nothing here knows what is fetched."""

from __future__ import annotations

import base64
import binascii
import secrets
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.tools.addresses import Endpoint
    from relay.tools.urls import FetchUrl
    from signatures.message import Headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The bounds that the admin set.

    Attributes:
        clients: The networks whose connections are taken.
        password: What the backend has to give; empty where it need not.
        blocked_hosts: Hosts that nothing is fetched from, in lower case, with all that is below them.
        ports: The ports that may be dialled.
        own: Single endpoints that may be reached besides: the self-test's, and those the admin named.
    """

    clients: tuple[IPv4Network | IPv6Network, ...]
    password: str
    blocked_hosts: frozenset[str]
    ports: frozenset[int]
    own: tuple[Endpoint, ...] = ()

    def admits_client(self, address: str) -> bool:
        """Tell whether an address may ask at all."""
        try:
            parsed = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        return any(parsed in network for network in self.clients)

    def admits_password(self, headers: Headers) -> bool:
        """Tell whether headers give the password, if one is needed (RFC 7617); any user name will do."""
        if not self.password:
            return True
        values = [value for name, value in headers if name.lower() == "proxy-authorization"]
        given = _read_basic(values[0]) if len(values) == 1 else None
        return given is not None and secrets.compare_digest(given, self.password.encode())

    def admits(self, url: FetchUrl) -> bool:
        """Tell whether a host is none of the blocked ones nor below one, and its port may be dialled."""
        if url.address is not None and (url.address, url.port) in self.own:
            return True
        labels = url.host.lower().split(".")
        is_blocked = any(".".join(labels[start:]) in self.blocked_hosts for start in range(len(labels)))
        return url.port in self.ports and not is_blocked


def _read_basic(value: str) -> bytes | None:
    scheme, _, credentials = value.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(credentials.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    _, separator, password = decoded.partition(b":")
    return password if separator else None
