"""The address of a client, which limits the attempts to log in. It is neither stored nor logged."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final, NamedTuple

from starlette.datastructures import Headers
from starlette.requests import Request

from infraprism.backend.networks import Network

PEER: Final = "peer_address"
"""The key of the connection's address in the state of a request. No log format reads it."""
_UNKNOWN: Final = "unknown"
_IPV6_PREFIX: Final = 64


class ClientAddresses(NamedTuple):
    """Where the address of a client is found.

    Without `header` it is the address of the connection. With it, the last address of this header counts, if the
    connection comes from one of `trusted_proxies`, or if that is empty: the nearest proxy has written it.
    """

    header: str | None = None
    trusted_proxies: tuple[Network, ...] = ()

    def of(self, request: Request) -> str:
        """The address of the client of a request.

        An IPv6 address is that of its /64 network, which one client has as a whole. A request without the header, or
        with the header twice or without a valid address in it, has the address of the connection: all of them share it.
        """
        state: Mapping[str, Any] = request.scope.get("state", {})
        peer = _parsed(str(state.get(PEER, "")))
        if peer is None:
            return _UNKNOWN
        return _limited(self._of_header(request.headers) or peer if self._is_trusted(peer) else peer)

    def _is_trusted(self, peer: IPv4Address | IPv6Address) -> bool:
        if self.header is None:
            return False
        return not self.trusted_proxies or any(peer in network for network in self.trusted_proxies)

    def _of_header(self, headers: Headers) -> IPv4Address | IPv6Address | None:
        values = headers.getlist(self.header or "")
        return _parsed(values[0].rpartition(",")[2].strip()) if len(values) == 1 else None


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _limited(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(ip_network((int(address), _IPV6_PREFIX), strict=False))
