"""The region of a call, as the host names it. One table for the process, the backend and the Collector.

Sources, read on 2026-11-30: https://developers.openai.com/api/docs/guides/data-residency and the list of
`data_residency` in the openai package 3.57; https://docs.cloud.google.com/gemini-enterprise-agent-platform/resources/locations
(regional and multi-region hosts); https://docs.aws.amazon.com/general/latest/gr/bedrock.html;
https://learn.microsoft.com/en-us/azure/azure-government/compare-azure-government-global-azure;
https://docs.mistral.ai/inference/regional-inference.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from infraprism.schema.patterns import compiled

UNKNOWN: Final = "unknown"
"""A region outside the table."""


BEDROCK_REGIONS: Final = (
    *("us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1", "ap-south-1"),
    *("eu-west-1", "eu-west-2", "eu-west-3"),
)
"""The commercial regions with known prices of models that do not cost the same everywhere."""


class RegionalHosts(NamedTuple):
    """Hosts of one provider that name a region.

    `pattern` matches a whole host name; its group is the region, or `region` is. `closed` is the host that the
    Collector writes in place of a matching one. In it `{}` stands for the region if that is one of `words`, else for
    `unknown`.
    """

    pattern: str
    closed: str
    words: tuple[str, ...] = ()
    region: str = ""


REGIONAL_HOSTS: Final = (
    RegionalHosts(
        r"([a-z0-9-]+)\.api\.openai\.com",
        "{}.api.openai.com",
        ("us", "eu", "ae", "au", "in", "jp"),
    ),
    RegionalHosts(r"([a-z0-9-]+)-aiplatform\.googleapis\.com", "{}-aiplatform.googleapis.com", ("global", "us", "eu")),
    RegionalHosts(r"aiplatform\.([a-z0-9-]+)\.rep\.googleapis\.com", "{}-aiplatform.googleapis.com", ("us", "eu")),
    RegionalHosts(
        r"(?:.*[.-])?bedrock(?:-runtime|-mantle)?(?:-fips)?\.(us-gov|cn)-[a-z0-9-]+\.(?:.*\.)?(?:amazonaws\.com(?:\.cn)?|api\.aws)",
        "bedrock.{}-any.amazonaws.com",
        ("us-gov", "cn"),
    ),
    RegionalHosts(
        r"(?:.*[.-])?bedrock(?:-runtime|-mantle)?(?:-fips)?\.([a-z0-9-]+)\.(?:.*\.)?(?:amazonaws\.com(?:\.cn)?|api\.aws)",
        "bedrock.{}.amazonaws.com",
        BEDROCK_REGIONS,
    ),
    RegionalHosts(r"(?:.*\.)?(?:openai|cognitiveservices)\.azure\.us", "openai.azure.us", region="usgov"),
    RegionalHosts(r"(?:.*\.)?([a-z0-9]+)\.(?:models\.ai|inference\.ml)\.azure\.com", "models.ai.azure.com"),
    RegionalHosts(r"api\.([a-z0-9-]+)\.mistral\.ai", "api.{}.mistral.ai", ("us", "eu")),
)
"""The first pattern that matches decides."""


def closed_hosts() -> tuple[str, ...]:
    """Every host with a region that the Collector can write."""
    found: list[str] = []
    for hosts in REGIONAL_HOSTS:
        if "{}" in hosts.closed:
            words = hosts.words if _is_complete(hosts) else (*hosts.words, UNKNOWN)
            found += (hosts.closed.format(word) for word in words)
    return tuple(dict.fromkeys(found))


def closed_pattern() -> str:
    """A pattern of all of `closed_hosts`."""
    found = []
    for hosts in REGIONAL_HOSTS:
        if "{}" in hosts.closed:
            words = hosts.words if _is_complete(hosts) else (*hosts.words, UNKNOWN)
            found.append(hosts.closed.replace(".", "[.]").format(f"(?:{'|'.join(words)})"))
    return "|".join(dict.fromkeys(found))


def closed_forms() -> tuple[tuple[str, str], ...]:
    """Patterns of whole hosts, each with the host that replaces it; `$1` in that is the pattern's group."""
    found: list[tuple[str, str]] = []
    for hosts in REGIONAL_HOSTS:
        if "{}" in hosts.closed:
            pattern = hosts.pattern.replace(_group(hosts.pattern), _words(hosts), 1)
            found.append((pattern, hosts.closed.format("$1")))
            if not _is_complete(hosts):
                found.append((hosts.pattern, hosts.closed.format(UNKNOWN)))
    return tuple(found)


def _is_complete(hosts: RegionalHosts) -> bool:
    """Whether the pattern matches no other region than the listed ones."""
    return _group(hosts.pattern) == _words(hosts)


def _words(hosts: RegionalHosts) -> str:
    return f"({'|'.join(hosts.words)})"


def _group(pattern: str) -> str:
    """The one group of a pattern, with its parentheses."""
    found = re.search(r"\([^?)][^)]*\)", pattern)
    assert found, f"{pattern} has no group"
    return found[0]


@lru_cache(maxsize=1024)
def region_of(host: str | None) -> str | None:
    """The region that a host name or URL contains, in lower case; None if it contains none."""
    name = host_name(host or "")
    for hosts in REGIONAL_HOSTS:
        found = compiled(hosts.pattern).fullmatch(name)
        if found is not None:
            return hosts.region or found[1]
    return None


def host_name(host: str) -> str:
    """The host name of a URL or address, in lower case."""
    return host.strip().lower().rpartition("://")[2].partition("/")[0].rpartition("@")[2].partition(":")[0].rstrip(".")
