"""The regions as data. A server with a region serves the accounts of this region only, and one without those without.

So the data of an account is in the data directory (or the ClickHouse server) of one region, also if several regions
share a database of accounts.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

TITLES: Final[Mapping[str, str]] = {"us": "United States", "eu": "European Union"}
"""The regions that have a title. Any other name is a region too."""
SEPARATOR: Final = ">"
"""Between the regions of an account that is moved from one to the other (moving.py)."""
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")


class RegionsError(ValueError):
    """A name or a URL of a region is not valid. The message is shown to the user."""


class Regions:
    """The region of a server, and the URLs of all regions. Thread-safe. Raises RegionsError."""

    def __init__(self, own: str | None = None, urls: Mapping[str, str] = MappingProxyType({})) -> None:
        for name in (*urls, *((own,) if own is not None else ())):
            if not _NAME.fullmatch(name):
                raise RegionsError("a region is a letter, and up to 31 letters, digits or hyphens, in lower case: eu")
        for name, url in urls.items():
            if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname or "@" in url:
                raise RegionsError(f"the URL of the region {name} is not one such as https://{name}.example.com")
        self.own: Final = own
        self._urls = dict(urls)
        self._lock = threading.Lock()
        self._refused = 0

    def elsewhere(self, region: str | None) -> str | None:
        """Why an account with a region is not served here, and where it is, for its owner. None: it is served here.

        A refusal is counted.
        """
        if region == self.own:
            return None
        with self._lock:
            self._refused += 1
        if region is not None and SEPARATOR in region:
            target = described(region.partition(SEPARATOR)[2])
            return f"the account is being moved to the region {target}: try again later"
        if region is None:
            return "the account has no region yet: ask the operator of the server"
        url = self._urls.get(region)
        where = f"use {url}" if url else "ask the operator for its URL"
        return f"the account is in the region {described(region)}: {where}"

    def gauges(self) -> dict[str, tuple[str, Callable[[], int]]]:
        """The value for `/metrics`, by name: the description, and what returns the value."""
        return {
            "wrong_region_requests": (
                "Requests that were refused because their account is in another region.",
                lambda: self._refused,
            )
        }


NO_REGIONS: Final = Regions()
"""A server without a region."""


def parsed(text: str) -> dict[str, str]:
    """The URLs of the regions in a text such as `us=https://us.example.com,eu=https://eu.example.com`.

    Raises RegionsError.
    """
    found: dict[str, str] = {}
    for item in filter(None, (item.strip() for item in text.split(","))):
        name, separator, url = item.partition("=")
        if not separator:
            raise RegionsError("regions are name=URL, separated by commas: us=https://us.example.com")
        if name.strip() in found:
            raise RegionsError("a region has two URLs")
        found[name.strip()] = url.strip().rstrip("/")
    Regions(None, found)
    return found


def described(region: str) -> str:
    """The name of a region with its title, if it has one."""
    return f"{region} ({TITLES[region]})" if region in TITLES else region
