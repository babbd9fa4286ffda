"""The table of regions: names, URLs, and what an account of another region is answered."""

from __future__ import annotations

import pytest

from infraprism.backend.regions import Regions, RegionsError
from infraprism.backend.regions.regions import parsed

URLS = {"us": "https://us.example.com", "eu": "https://eu.example.com", "ch-1": "https://ch.example.com:8443"}


def test_a_server_serves_the_accounts_of_its_region_only() -> None:
    regions = Regions("eu", URLS)
    assert regions.elsewhere("eu") is None
    assert regions.elsewhere("us") == "the account is in the region us (United States): use https://us.example.com"
    assert regions.elsewhere("ch-1") == "the account is in the region ch-1: use https://ch.example.com:8443"
    assert "ask the operator" in (regions.elsewhere("br") or "")
    assert "has no region yet" in (regions.elsewhere(None) or "")
    assert regions.gauges()["wrong_region_requests"][1]() == 4


def test_a_server_without_a_region_serves_accounts_without_one() -> None:
    assert Regions().elsewhere(None) is None
    assert Regions().elsewhere("us")


def test_the_text_of_the_setting_is_a_list_of_names_and_urls() -> None:
    assert parsed(" us=https://us.example.com/, eu=https://eu.example.com,ch-1=https://ch.example.com:8443") == URLS
    assert parsed("") == {}


@pytest.mark.parametrize(
    "text",
    ["us", "US=https://us.example.com", "us=ftp://us.example.com", "us=https://", "us=https://key@host", "=https://a.b",
     "us=https://a.example.com,us=https://b.example.com", "../us=https://us.example.com", f"{'a' * 33}=https://a.b"],
)  # fmt: skip
def test_what_is_no_region_is_refused(text: str) -> None:
    with pytest.raises(RegionsError):
        parsed(text)
