"""Networks of IP addresses in settings, and which addresses can be reached from other machines."""

from __future__ import annotations

import socket
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network


def networks(texts: str) -> tuple[Network, ...]:
    """The networks of a text such as `10.0.0.0/8, 2001:db8::/32`. Raises ValueError, without the text."""
    try:
        return tuple(ip_network(text.strip()) for text in texts.split(",") if text.strip())
    except ValueError:
        raise ValueError("networks such as 10.0.0.0/8, 2001:db8::/32") from None


def is_loopback(host: str) -> bool:
    """Whether a host has only addresses that other machines cannot reach. An unknown host has none of another kind."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return True
    return all(ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)
