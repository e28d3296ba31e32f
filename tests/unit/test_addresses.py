"""The address rule, by value."""

from __future__ import annotations

import ipaddress

import pytest

from airflow_webhook_notify.addresses import Network, find_refusal

LOOPBACK = "a loopback address"
PRIVATE = "a private address"
LINK_LOCAL = "a link-local address"
UNSPECIFIED = "an unspecified address"
RESERVED = "a reserved address"
DOCUMENTATION = "a documentation address"
MULTICAST = "a multicast address"

REFUSED = [
    ("0.0.0.0", UNSPECIFIED),
    ("0.255.255.255", UNSPECIFIED),
    ("10.0.0.1", PRIVATE),
    ("100.64.0.0", "a carrier-grade NAT address"),
    ("100.127.255.255", "a carrier-grade NAT address"),
    ("127.0.0.1", LOOPBACK),
    ("127.255.255.254", LOOPBACK),
    ("169.254.169.254", LINK_LOCAL),
    ("172.16.0.0", PRIVATE),
    ("172.31.255.255", PRIVATE),
    ("192.0.0.8", RESERVED),
    ("192.0.2.1", DOCUMENTATION),
    ("192.88.99.1", RESERVED),
    ("192.168.1.1", PRIVATE),
    ("198.18.0.1", "a benchmarking address"),
    ("198.19.255.255", "a benchmarking address"),
    ("198.51.100.7", DOCUMENTATION),
    ("203.0.113.7", DOCUMENTATION),
    ("224.0.0.1", MULTICAST),
    ("239.255.255.255", MULTICAST),
    ("240.0.0.1", RESERVED),
    ("255.255.255.255", "the broadcast address"),
    ("::", UNSPECIFIED),
    ("::1", LOOPBACK),
    ("100::1", RESERVED),
    ("2001:2::1", RESERVED),
    ("2001:db8::1", DOCUMENTATION),
    ("3fff::1", DOCUMENTATION),
    ("4000::1", RESERVED),
    ("fc00::1", PRIVATE),
    ("fd00:ec2::254", PRIVATE),
    ("fe80::1", LINK_LOCAL),
    ("fe80::1%eth0", LINK_LOCAL),
    ("fec0::1", "a site-local address"),
    ("ff02::1", MULTICAST),
    # With an IPv4 address inside.
    ("::ffff:127.0.0.1", LOOPBACK),
    ("::ffff:10.0.0.1", PRIVATE),
    ("::ffff:169.254.169.254", LINK_LOCAL),
    ("::ffff:0.0.0.0", UNSPECIFIED),
    ("::127.0.0.1", LOOPBACK),
    ("::10.0.0.1", PRIVATE),
    ("64:ff9b::127.0.0.1", LOOPBACK),
    ("64:ff9b::a9fe:a9fe", LINK_LOCAL),
    ("64:ff9b:1::10.0.0.1", PRIVATE),
    ("64:ff9b:1:7f00:0:100::", PRIVATE),
    ("64:ff9b:1::8.8.8.8", PRIVATE),
    ("2002:7f00:1::", LOOPBACK),
    ("2002:a9fe:a9fe::1", LINK_LOCAL),
    ("2002:c0a8:101:ffff::1", PRIVATE),
    # Teredo: the client 192.168.1.1, inverted, behind a public server; and a private server.
    ("2001:0:808:808::3f57:fefe", PRIVATE),
    ("2001:0:a00:1::f7f7:f7f7", PRIVATE),
]

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2001:200::1",
    "2606:4700:4700::1111",
    "2a00:1450:4001:82a::200e",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
    "2001:0:808:808::f7f7:f7f7",
]


def networks(*texts: str) -> list[Network]:
    return [ipaddress.ip_network(text) for text in texts]


@pytest.mark.parametrize(("address", "kind"), REFUSED)
def test_an_address_that_is_not_public_is_refused_by_its_kind(address: str, kind: str) -> None:
    refusal = find_refusal(address, [])
    assert refusal is not None
    assert refusal.kind == kind


@pytest.mark.parametrize(("address", "kind"), REFUSED)
def test_the_network_that_a_refusal_advises_allows_the_address(address: str, kind: str) -> None:
    allowed: list[Network] = []
    # Two steps for a Teredo address with a private server and a private client.
    for _ in range(2):
        if (refusal := find_refusal(address, allowed)) is not None:
            allowed += networks(refusal.network)
    assert find_refusal(address, allowed) is None


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address: str) -> None:
    assert find_refusal(address, []) is None


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("127.0.0.1", "127.0.0.0/8"),
        ("::ffff:127.0.0.1", "127.0.0.0/8"),
        ("::ffff:127.0.0.1", "::ffff:0:0/96"),
        ("64:ff9b::10.1.2.3", "10.0.0.0/8"),
        ("2002:a01:203::1", "10.0.0.0/8"),
        ("fd12::1", "fd00::/8"),
        ("fe80::1%2", "fe80::/10"),
        ("0.0.0.0", "0.0.0.0/0"),
        ("::1", "::/0"),
    ],
)
def test_an_allowed_network_covers_the_forms_of_its_addresses(address: str, allowed: str) -> None:
    assert find_refusal(address, networks("192.168.77.0/24", allowed)) is None


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("127.0.0.1", "::/0"),
        ("::1", "0.0.0.0/0"),
        ("::1", "127.0.0.0/8"),
        ("10.0.1.0", "10.0.0.0/24"),
        ("2001:0:a00:1::3f57:fefe", "10.0.0.0/8"),
    ],
)
def test_an_allowed_network_covers_no_more_than_it_says(address: str, allowed: str) -> None:
    assert find_refusal(address, networks(allowed)) is not None


def test_what_is_no_address_is_an_error() -> None:
    with pytest.raises(ValueError, match="hooks"):
        find_refusal("hooks.example.com", [])


@pytest.mark.parametrize(
    ("host", "address", "text"),
    [
        (
            "hooks.example.com",
            "127.0.0.1",
            (
                "refused: hooks.example.com resolves to 127.0.0.1, a loopback address; "
                "to allow it, add 127.0.0.1/32 to [webhook_notify] allowed_networks"
            ),
        ),
        (
            "10.0.0.7",
            "10.0.0.7",
            "refused: 10.0.0.7 is a private address; to allow it, add 10.0.0.7/32 to [webhook_notify] allowed_networks",
        ),
        (
            "hooks.example.com",
            "::ffff:10.0.0.7",
            (
                "refused: hooks.example.com resolves to ::ffff:10.0.0.7, a private address; "
                "to allow it, add 10.0.0.7/32 to [webhook_notify] allowed_networks"
            ),
        ),
        (
            "hooks.example.com",
            "fd00:ec2::254",
            (
                "refused: hooks.example.com resolves to fd00:ec2::254, a private address; "
                "to allow it, add fd00:ec2::254/128 to [webhook_notify] allowed_networks"
            ),
        ),
    ],
)
def test_a_refusal_says_what_was_refused_and_what_allows_it(host: str, address: str, text: str) -> None:
    refusal = find_refusal(address, [])
    assert refusal is not None
    assert refusal.explain(host, option="[webhook_notify] allowed_networks") == text
