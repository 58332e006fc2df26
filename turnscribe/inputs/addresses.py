"""Host names to public addresses: what nobody outside may be sent to is refused here."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence

from turnscribe.errors import BadAudio

# Addresses of a cloud's own services, which some versions of `ipaddress` call global.
CLOUDS = tuple(
    map(
        ipaddress.ip_network,
        (
            "168.63.129.16/32",  # Azure: learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
            "192.0.0.0/24",  # IETF's (RFC 6890); Oracle Cloud's metadata are at 192.0.0.192
            "100.64.0.0/10",  # RFC 6598; Alibaba Cloud's metadata are at 100.100.100.200
            "169.254.0.0/16",  # RFC 3927; metadata of AWS, Azure and Google Cloud at 169.254.169.254
            "fd00::/8",  # RFC 4193; AWS's metadata at fd00:ec2::254, Google Cloud's at fd20:ce::254
        ),
    )
)

Resolve = Callable[[str, int], Sequence[str]]  # host, port: its addresses


def is_public(address: str) -> bool:
    """Whether an IPv4 or IPv6 address is global unicast, looking through mapped, NAT64 and 6to4 forms.

    >>> is_public("1.1.1.1"), is_public("10.0.0.1"), is_public("::ffff:127.0.0.1"), is_public("nowhere")
    (True, False, False, False)
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if any(ip in network for network in CLOUDS if network.version == ip.version):
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in ipaddress.IPv6Network("64:ff9b::/96"):  # RFC 6052: the last 32 bits are an IPv4 address
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(str(inner))
        return ip.is_global and not ip.is_multicast and ip in ipaddress.IPv6Network("2000::/3")
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def public_address(host: str, port: int, resolve: Resolve) -> str:
    """The first address of `host`, once all of them are known to be public.

    Raises `BadAudio`, in the same words for a name that is private and one that does not exist: nobody learns which
    names a private network has.
    """
    try:
        addresses = list(resolve(host, port))
    except (OSError, UnicodeError):
        addresses = []
    if not addresses or not all(is_public(address) for address in addresses):
        raise BadAudio(f"The host {host} has no public address; check the URL, or send the audio itself.")
    return addresses[0]


def resolve_host(host: str, port: int) -> list[str]:
    """The addresses of `host`, as the operating system knows them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [str(sockaddr[0]) for *_, sockaddr in found]
