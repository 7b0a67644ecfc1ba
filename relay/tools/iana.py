"""The IANA special-purpose address registries, as tables of facts.

Source: https://www.iana.org/assignments/iana-ipv4-special-registry/ and
https://www.iana.org/assignments/iana-ipv6-special-registry/, the state of 2025-05 (the newest entry
is 100:0:0:1::/64 of RFC 9780, allocated 2025-04). To bring them up to date, compare the "Address
Block" columns; a block that IANA calls globally reachable stays in the table, because the relay asks
for more than reachability: what stands in a registry of special purposes is no web server of a
stranger (`relay.tools.addresses`).
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

# Address block, name.
IPV4_SPECIAL_PURPOSE: tuple[tuple[IPv4Network, str], ...] = (
    (IPv4Network("0.0.0.0/8"), "this network, RFC 791"),
    (IPv4Network("10.0.0.0/8"), "private use, RFC 1918"),
    (IPv4Network("100.64.0.0/10"), "shared address space, RFC 6598"),
    (IPv4Network("127.0.0.0/8"), "loopback, RFC 1122"),
    (IPv4Network("169.254.0.0/16"), "link local, RFC 3927"),
    (IPv4Network("172.16.0.0/12"), "private use, RFC 1918"),
    # Holds the blocks of RFC 7335, 7600, 7723, 8155 and 8880.
    (IPv4Network("192.0.0.0/24"), "IETF protocol assignments, RFC 6890"),
    (IPv4Network("192.0.2.0/24"), "documentation, RFC 5737"),
    (IPv4Network("192.31.196.0/24"), "AS112, RFC 7535"),
    (IPv4Network("192.52.193.0/24"), "AMT, RFC 7450"),
    (IPv4Network("192.88.99.0/24"), "deprecated 6to4 relay anycast, RFC 7526"),
    (IPv4Network("192.168.0.0/16"), "private use, RFC 1918"),
    (IPv4Network("192.175.48.0/24"), "direct delegation AS112, RFC 7534"),
    (IPv4Network("198.18.0.0/15"), "benchmarking, RFC 2544"),
    (IPv4Network("198.51.100.0/24"), "documentation, RFC 5737"),
    (IPv4Network("203.0.113.0/24"), "documentation, RFC 5737"),
    (IPv4Network("240.0.0.0/4"), "reserved, RFC 1112; holds the limited broadcast, RFC 919"),
)

IPV6_SPECIAL_PURPOSE: tuple[tuple[IPv6Network, str], ...] = (
    (IPv6Network("::1/128"), "loopback, RFC 4291"),
    (IPv6Network("::/128"), "unspecified, RFC 4291"),
    (IPv6Network("::ffff:0:0/96"), "IPv4-mapped, RFC 4291"),
    (IPv6Network("64:ff9b::/96"), "IPv4-IPv6 translation, RFC 6052"),
    (IPv6Network("64:ff9b:1::/48"), "IPv4-IPv6 translation, RFC 8215"),
    (IPv6Network("100::/64"), "discard only, RFC 6666"),
    (IPv6Network("100:0:0:1::/64"), "dummy prefix, RFC 9780"),
    # Holds Teredo (RFC 4380) and the blocks of RFC 7723, 8155, 5180, 7450, 7535, 4843, 7343 and 9374.
    (IPv6Network("2001::/23"), "IETF protocol assignments, RFC 2928"),
    (IPv6Network("2001:db8::/32"), "documentation, RFC 3849"),
    (IPv6Network("2002::/16"), "6to4, RFC 3056"),
    (IPv6Network("2620:4f:8000::/48"), "direct delegation AS112, RFC 7534"),
    (IPv6Network("3fff::/20"), "documentation, RFC 9637"),
    (IPv6Network("5f00::/16"), "segment routing, RFC 9602"),
    (IPv6Network("fc00::/7"), "unique local, RFC 4193"),
    (IPv6Network("fe80::/10"), "link local, RFC 4291"),
)
