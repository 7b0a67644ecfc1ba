"""Decide which network addresses the relay may dial.

The list is of what is allowed, not of what is forbidden: global unicast outside the registries of
special purposes. `ipaddress.is_global` is not asked, because it admits addresses that carry an inner
IPv4 address (NAT64, 6to4), multicast and deprecated site-local ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from relay.tools.iana import IPV4_SPECIAL_PURPOSE, IPV6_SPECIAL_PURPOSE

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network
Endpoint = tuple[IpAddress, int]
"""An address with its port."""

# RFC 4291 section 2.4 and https://www.iana.org/assignments/ipv6-address-space: the only block from
# which global unicast is assigned.
IPV6_GLOBAL_UNICAST = IPv6Network("2000::/3")
IPV4_MULTICAST = IPv4Network("224.0.0.0/4")

# Where hosting companies answer with the secrets of the machine. The first is link-local, the third
# lies in shared space and both are refused for that already; the second is an ordinary public address.
METADATA_SERVICES: frozenset[IpAddress] = frozenset(
    (
        IPv4Address("169.254.169.254"),
        IPv4Address("168.63.129.16"),
        IPv4Address("100.100.100.200"),
    )
)

# RFC 5214 section 6.1: an ISATAP interface identifier is 0000:5efe or, with the universal bit, 0200:5efe,
# followed by the inner IPv4 address.
_ISATAP_IDENTIFIERS = (0x00005EFE, 0x02005EFE)


class AddressRefusal(StrEnum):
    """Why an address may not be dialled."""

    OWN = "own"
    METADATA_SERVICE = "metadata_service"
    MULTICAST = "multicast"
    SPECIAL_PURPOSE = "special_purpose"
    TUNNEL = "tunnel"
    NOT_GLOBAL_UNICAST = "not_global_unicast"
    SCOPED = "scoped"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressRules:
    """The exceptions that an installation makes.

    Attributes:
        allowed: Networks and exact endpoints that may be dialled whatever the registries say: for
            development, and for the relay's own test origin.
        refused: Networks and exact endpoints that may not, whatever the registries say: the relay's
            own addresses and the backend's. They outweigh an allowed network; an allowed endpoint, being
            the narrowest thing that can be said, outweighs them.
    """

    allowed: tuple[IpNetwork | Endpoint, ...] = ()
    refused: tuple[IpNetwork | Endpoint, ...] = ()


def classify(address: IpAddress, port: int, rules: AddressRules) -> AddressRefusal | None:
    """Decide whether the relay may open a connection to an endpoint.

    Returns:
        None if it may, otherwise the reason why not.
    """
    if (address, port) in rules.allowed:
        return None
    if _stands_in(address, port, rules.refused):
        return AddressRefusal.OWN
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return AddressRefusal.SCOPED
    if _stands_in(address, port, rules.allowed):
        return None
    if address in METADATA_SERVICES:
        return AddressRefusal.METADATA_SERVICE
    return _classify_ipv4(address) if isinstance(address, IPv4Address) else _classify_ipv6(address)


def _stands_in(address: IpAddress, port: int, entries: tuple[IpNetwork | Endpoint, ...]) -> bool:
    for entry in entries:
        if isinstance(entry, tuple):
            if entry == (address, port):
                return True
        elif address in entry:
            return True
    return False


def _classify_ipv4(address: IPv4Address) -> AddressRefusal | None:
    if any(address in network for network, _ in IPV4_SPECIAL_PURPOSE):
        return AddressRefusal.SPECIAL_PURPOSE
    if address in IPV4_MULTICAST:
        return AddressRefusal.MULTICAST
    return None


def _classify_ipv6(address: IPv6Address) -> AddressRefusal | None:
    if any(address in network for network, _ in IPV6_SPECIAL_PURPOSE):
        return AddressRefusal.SPECIAL_PURPOSE
    # IPv4-compatible addresses, multicast, fec0::/10 and everything unassigned end here.
    if address not in IPV6_GLOBAL_UNICAST:
        return AddressRefusal.MULTICAST if address.is_multicast else AddressRefusal.NOT_GLOBAL_UNICAST
    if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP_IDENTIFIERS:
        return AddressRefusal.TUNNEL
    return None
