"""Which addresses webhooks may reach.

Invariant: pure; an address is refused unless it is public or lies in an allowed network, and one that carries an
IPv4 address inside (mapped, NAT64, 6to4, Teredo) is judged by that.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Sources: the IANA registries of special-purpose addresses (RFC 6890) and of multicast and reserved space. Our
# own table, since what `ipaddress` calls private or global changed between Python 3.10 and 3.13.
_SPECIAL = tuple(
    (ipaddress.ip_network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "an unspecified address"),
        ("10.0.0.0/8", "a private address"),
        ("100.64.0.0/10", "a carrier-grade NAT address"),
        ("127.0.0.0/8", "a loopback address"),
        ("169.254.0.0/16", "a link-local address"),
        ("172.16.0.0/12", "a private address"),
        ("192.0.0.0/24", "a reserved address"),
        ("192.0.2.0/24", "a documentation address"),
        ("192.88.99.0/24", "a reserved address"),
        ("192.168.0.0/16", "a private address"),
        ("198.18.0.0/15", "a benchmarking address"),
        ("198.51.100.0/24", "a documentation address"),
        ("203.0.113.0/24", "a documentation address"),
        ("224.0.0.0/4", "a multicast address"),
        ("255.255.255.255/32", "the broadcast address"),
        ("240.0.0.0/4", "a reserved address"),
        ("::/128", "an unspecified address"),
        ("::1/128", "a loopback address"),
        ("64:ff9b:1::/48", "a private address"),
        ("2001:db8::/32", "a documentation address"),
        ("2001::/23", "a reserved address"),
        ("3fff::/20", "a documentation address"),
        ("fc00::/7", "a private address"),
        ("fe80::/10", "a link-local address"),
        ("fec0::/10", "a site-local address"),
        ("ff00::/8", "a multicast address"),
    )
)
# Source: RFC 4291, section 2.4, as IANA assigns it: no other space is routed on the public internet.
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")
_TEREDO = ipaddress.IPv6Network("2001::/32")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an address is refused.

    :param address: what was to be reached, as text
    :param kind: what it is, with its article
    :param network: what to add to the allowed networks for it
    """

    address: str
    kind: str
    network: str

    def explain(self, host: str, *, option: str) -> str:
        """Return the text for an operator who gave `host`, naming the option that lists the allowed networks."""
        what = "is" if host == self.address else f"resolves to {self.address},"
        return f"refused: {host} {what} {self.kind}; to allow it, add {self.network} to {option}"


def find_refusal(address: str, allowed: Sequence[Network]) -> Refusal | None:
    """Return why the address may not be reached; None where it may.

    :param address: IPv4 or IPv6 as a socket names it, perhaps with a scope (`fe80::1%eth0`)
    :param allowed: networks that may be reached whatever their kind
    :raises ValueError: where it is no address
    """
    unscoped = address.partition("%")[0]
    parsed = ipaddress.ip_address(unscoped)
    if _is_in(parsed, allowed):
        return None
    for judged in embedded_ipv4(parsed) or (parsed,):
        kind = kind_of(judged)
        if kind and not _is_in(judged, allowed):
            return Refusal(unscoped, kind, f"{judged}/{judged.max_prefixlen}")
    return None


def kind_of(address: Address) -> str | None:
    """Return what makes the address special, with its article; None for a public one."""
    for network, kind in _SPECIAL:
        if address in network:
            return kind
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return "a reserved address"
    return None


def embedded_ipv4(address: Address) -> tuple[ipaddress.IPv4Address, ...]:
    """Return the IPv4 addresses that traffic to an IPv6 address may end at.

    Sources: RFC 4291, section 2.5.5 (mapped and compatible), RFC 6052 (NAT64), RFC 3056 (6to4), RFC 4380 (Teredo: its
    server and, inverted, its client).
    """
    return () if isinstance(address, ipaddress.IPv4Address) else tuple(_embedded(address))


def _embedded(address: ipaddress.IPv6Address) -> Iterator[ipaddress.IPv4Address]:
    number = int(address)
    low = number & 0xFFFFFFFF
    # `::` and `::1` have names of their own.
    compatible = address in _COMPATIBLE and low > 1
    if compatible or address in _MAPPED or address in _NAT64:
        yield ipaddress.IPv4Address(low)
    elif address in _SIX_TO_FOUR:
        yield ipaddress.IPv4Address(number >> 80 & 0xFFFFFFFF)
    elif address in _TEREDO:
        yield ipaddress.IPv4Address(number >> 64 & 0xFFFFFFFF)
        yield ipaddress.IPv4Address(low ^ 0xFFFFFFFF)


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
