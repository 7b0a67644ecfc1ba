from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.tools.addresses import AddressRefusal, AddressRules, classify
from relay.tools.iana import IPV4_SPECIAL_PURPOSE, IPV6_SPECIAL_PURPOSE

NO_EXCEPTIONS = AddressRules()


@pytest.mark.parametrize(
    "text", ["93.184.215.14", "1.1.1.1", "223.255.255.254", "2606:4700::1111", "2a00::1"]
)
def test_global_unicast_may_be_dialled(text: str) -> None:
    assert classify(ip_address(text), 443, NO_EXCEPTIONS) is None


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("127.0.0.1", AddressRefusal.SPECIAL_PURPOSE),
        ("0.0.0.0", AddressRefusal.SPECIAL_PURPOSE),  # noqa: S104 (an address to refuse)
        ("10.1.2.3", AddressRefusal.SPECIAL_PURPOSE),
        ("172.31.255.255", AddressRefusal.SPECIAL_PURPOSE),
        ("192.168.0.1", AddressRefusal.SPECIAL_PURPOSE),
        ("100.64.0.1", AddressRefusal.SPECIAL_PURPOSE),
        ("192.0.0.192", AddressRefusal.SPECIAL_PURPOSE),
        ("198.19.255.255", AddressRefusal.SPECIAL_PURPOSE),
        ("192.88.99.1", AddressRefusal.SPECIAL_PURPOSE),
        ("255.255.255.255", AddressRefusal.SPECIAL_PURPOSE),
        ("224.0.0.1", AddressRefusal.MULTICAST),
        ("239.255.255.255", AddressRefusal.MULTICAST),
        ("169.254.169.254", AddressRefusal.METADATA_SERVICE),
        ("168.63.129.16", AddressRefusal.METADATA_SERVICE),
        ("100.100.100.200", AddressRefusal.METADATA_SERVICE),
        ("::1", AddressRefusal.SPECIAL_PURPOSE),
        ("::", AddressRefusal.SPECIAL_PURPOSE),
        ("::ffff:127.0.0.1", AddressRefusal.SPECIAL_PURPOSE),
        ("::ffff:1.1.1.1", AddressRefusal.SPECIAL_PURPOSE),
        ("::127.0.0.1", AddressRefusal.NOT_GLOBAL_UNICAST),
        ("64:ff9b::7f00:1", AddressRefusal.SPECIAL_PURPOSE),
        ("64:ff9b:1::7f00:1", AddressRefusal.SPECIAL_PURPOSE),
        ("2002:7f00:1::", AddressRefusal.SPECIAL_PURPOSE),
        ("2001:0:1::", AddressRefusal.SPECIAL_PURPOSE),
        ("2001:db8::1", AddressRefusal.SPECIAL_PURPOSE),
        ("3fff::1", AddressRefusal.SPECIAL_PURPOSE),
        ("2a00::5efe:7f00:1", AddressRefusal.TUNNEL),
        ("2a00::200:5efe:7f00:1", AddressRefusal.TUNNEL),
        ("fd00:ec2::254", AddressRefusal.SPECIAL_PURPOSE),
        ("fe80::1", AddressRefusal.SPECIAL_PURPOSE),
        ("fec0::1", AddressRefusal.NOT_GLOBAL_UNICAST),
        ("ff02::1", AddressRefusal.MULTICAST),
        ("4000::1", AddressRefusal.NOT_GLOBAL_UNICAST),
        ("5f00::1", AddressRefusal.SPECIAL_PURPOSE),
        ("2a00::1%eth0", AddressRefusal.SCOPED),
    ],
)
def test_everything_else_is_refused(text: str, refusal: AddressRefusal) -> None:
    assert classify(ip_address(text), 443, NO_EXCEPTIONS) is refusal


@given(st.sampled_from([*IPV4_SPECIAL_PURPOSE, *IPV6_SPECIAL_PURPOSE]), st.data())
def test_no_address_of_a_registered_block_may_be_dialled(
    block: tuple[object, str], data: st.DataObject
) -> None:
    network = ip_network(str(block[0]))
    address = network[data.draw(st.integers(0, network.num_addresses - 1))]
    assert classify(address, 443, NO_EXCEPTIONS) is not None


@given(st.ip_addresses(v=4))
def test_no_form_in_which_ipv6_carries_an_inner_private_address_may_be_dialled(inner: IPv4Address) -> None:
    carried = int(inner)
    for prefix in ("::ffff:0:0", "::", "64:ff9b::", "64:ff9b:1::", "2a00::5efe:0:0"):
        outer = IPv6Address(int(IPv6Address(prefix)) | carried)
        assert classify(outer, 443, NO_EXCEPTIONS) is not None
    assert classify(IPv6Address((0x2002 << 112) | (carried << 80)), 443, NO_EXCEPTIONS) is not None


@given(st.ip_addresses())
def test_what_may_be_dialled_is_always_global_by_the_standard_library_too(
    address: IPv4Address | IPv6Address,
) -> None:
    if classify(address, 443, NO_EXCEPTIONS) is None:
        assert address.is_global


def test_an_allowed_network_outweighs_the_registries() -> None:
    rules = AddressRules(allowed=(ip_network("127.0.0.0/8"),))
    assert classify(IPv4Address("127.0.0.1"), 80, rules) is None
    assert classify(IPv6Address("::1"), 80, rules) is AddressRefusal.SPECIAL_PURPOSE


def test_an_allowed_endpoint_is_that_port_and_no_other() -> None:
    rules = AddressRules(allowed=((IPv4Address("127.0.0.1"), 8790),))
    assert classify(IPv4Address("127.0.0.1"), 8790, rules) is None
    assert classify(IPv4Address("127.0.0.1"), 8791, rules) is AddressRefusal.SPECIAL_PURPOSE


def test_our_own_addresses_are_refused_even_in_an_allowed_network() -> None:
    own = IPv4Address("127.0.0.1")
    rules = AddressRules(
        allowed=(ip_network("127.0.0.0/8"), (own, 9000)),
        refused=((own, 5432), ip_network("93.184.215.14/32")),
    )
    assert classify(own, 5432, rules) is AddressRefusal.OWN
    assert classify(own, 5433, rules) is None
    assert classify(own, 9000, rules) is None
    assert classify(IPv4Address("93.184.215.14"), 443, rules) is AddressRefusal.OWN
