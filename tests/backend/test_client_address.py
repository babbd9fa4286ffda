"""The address of a client comes from a header only where that is configured."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from infraprism.backend.api.client_address import PEER, ClientAddresses
from infraprism.backend.networks import networks

CLOUDFLARE = "CF-Connecting-IP"


def request(peer: str, *headers: tuple[str, str]) -> Request:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    return Request({"type": "http", "headers": raw, "state": {PEER: peer}})


def test_a_header_is_ignored_unless_it_is_configured() -> None:
    spoofed = request("192.0.2.1", (CLOUDFLARE, "198.51.100.7"), ("X-Forwarded-For", "198.51.100.7"))
    assert ClientAddresses().of(spoofed) == "192.0.2.1"
    assert ClientAddresses("X-Real-IP").of(spoofed) == "192.0.2.1"
    assert ClientAddresses(CLOUDFLARE).of(spoofed) == "198.51.100.7"


def test_a_header_counts_only_from_a_trusted_proxy_if_there_is_a_list() -> None:
    found = ClientAddresses(CLOUDFLARE, networks("10.0.0.0/8, 2001:db8::/32"))
    assert found.of(request("10.1.2.3", (CLOUDFLARE, "198.51.100.7"))) == "198.51.100.7"
    assert found.of(request("2001:db8::1", (CLOUDFLARE, "198.51.100.7"))) == "198.51.100.7"
    assert found.of(request("192.0.2.1", (CLOUDFLARE, "198.51.100.7"))) == "192.0.2.1"


def test_of_a_list_of_addresses_the_one_of_the_nearest_proxy_counts() -> None:
    found = ClientAddresses("X-Forwarded-For")
    assert found.of(request("192.0.2.1", ("X-Forwarded-For", "203.0.113.9, 198.51.100.7"))) == "198.51.100.7"


@pytest.mark.parametrize("value", ["", "localhost", "1.2.3.4.5", "198.51.100.7:80", "' OR 1=1", "198.51.100.7,"])
def test_an_invalid_header_has_the_limit_of_the_connection(value: str) -> None:
    assert ClientAddresses(CLOUDFLARE).of(request("192.0.2.1", (CLOUDFLARE, value))) == "192.0.2.1"


def test_a_repeated_header_has_the_limit_of_the_connection() -> None:
    twice = request("192.0.2.1", (CLOUDFLARE, "198.51.100.7"), (CLOUDFLARE, "198.51.100.8"))
    assert ClientAddresses(CLOUDFLARE).of(twice) == "192.0.2.1"


def test_all_addresses_of_a_network_of_one_client_are_one() -> None:
    found = ClientAddresses()
    assert found.of(request("2001:db8:1:2::1")) == found.of(request("2001:db8:1:2:ffff::9")) == "2001:db8:1:2::/64"
    assert found.of(request("2001:db8:1:3::1")) == "2001:db8:1:3::/64"
    assert found.of(request("::ffff:192.0.2.1")) == "192.0.2.1"


def test_a_network_that_is_none_is_an_error_without_its_text() -> None:
    with pytest.raises(ValueError, match=r"^networks such as 10\.0\.0\.0/8, 2001:db8::/32$"):
        networks("10.0.0.0/8, example.com")
    assert networks("") == ()
