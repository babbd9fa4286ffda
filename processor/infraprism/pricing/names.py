"""Finds the price list of a provider's name, and the names under which a model may be listed in it.

Only parts that do not affect the price are removed from a model's name. A name that is then not in the table stays
unknown: a newer model never gets the price of an older one.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from infraprism.providers.detection import provider_named
from infraprism.providers.model_names import resource_name
from infraprism.schema.patterns import compiled

MAX_NAME: Final = 512
"""Longer names are not model names; an inference profile's ARN has some 150 characters."""

_NOT_ALPHANUMERIC: Final = r"[^a-z0-9]"
_BEDROCK_PREFIX: Final = r"(?:converse|invoke)/|(?:us|eu|ap|ca|sa|me|af|il|mx)-[a-z]+-[0-9]/"
_BEDROCK_PLACE: Final = r"(?:.*/)?((?:us|eu|ap|ca|sa|me|af|il|mx)(?:-gov)?-[a-z]+-[0-9])/.*"
_PROFILE: Final = r"(?:global|us|eu|apac|au|jp|ca|in|us-gov)\."
_PROFILE_PLACE: Final = r"(?:.*[/:])?(eu|apac|au|jp|ca|in|us-gov)\..*"
"""Profiles with prices of their own, whichever region was called. `us` has those of the region that was called."""
_BEDROCK_MAKERS: Final = (
    "amazon",
    "meta",
    "cohere",
    "mistral",
    "deepseek",
    "google",
    "moonshotai",
    "nvidia",
    "openai",
    "qwen",
    "writer",
)
"""Makers that are part of the model ids in the table; Anthropic's models are listed without the maker too."""
_COMPACT_DATE: Final = r"(?<=-)(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=$|[-:])"


def alphanumeric(name: str) -> str:
    """A name in lower case without punctuation: `Data Zone (US)` and `data-zone-us` are equal."""
    return compiled(_NOT_ALPHANUMERIC).sub("", name.lower())


@lru_cache(maxsize=1024)
def price_list_of(provider: str) -> str:
    """The price list of a provider in any spelling, such as `google` for `gcp.gemini`; "" if it has none."""
    known = provider_named(provider)
    return "" if known is None else known.price_list or ""


@lru_cache(maxsize=1024)
def price_key(provider: str) -> str:
    """What prices are looked up by: the price list, else the provider's name in the event, else the name as given.

    Providers without a price list have the user's own prices alone; a name as given may be that of a price list.
    """
    known = provider_named(provider)
    return provider.lower() if known is None else known.price_list or known.name


def routed(price_list: str, model: str) -> tuple[str, str]:
    """Price list and model, where the model's name routes: Hugging Face forwards `org/model:novita` to Novita."""
    if price_list != "huggingface":
        return price_list, model
    name, _, server = model.rpartition(":")
    return (f"huggingface_{server.strip().lower()}", name) if name else (price_list, model)


def region_of(price_list: str, model: str, region: str) -> str:
    """The region that determines the price: in a model's name, or `region`, which was called; "" if neither has one.

    Names of Bedrock models can begin with an inference profile or a region, and ARNs and resource names of Vertex AI
    contain a region.
    """
    name = model.strip().lower()
    if price_list == "aws" and (profile := compiled(_PROFILE_PLACE).fullmatch(name)):
        return profile[1]
    if region or price_list not in {"aws", "google"}:
        return region
    found = resource_name(name)
    if found and found.is_public:
        return found.region
    place = compiled(_BEDROCK_PLACE).fullmatch(name) if price_list == "aws" else None
    return place[1] if place else ""


def candidates(price_list: str, model: str, region: str | None = None) -> Iterator[str]:
    """The names under which a model may be in a price list, the most specific first, in lower case."""
    name = model.strip().lower()
    if not name or len(name) > MAX_NAME:
        return
    bare = _bare(price_list, name)
    if price_list == "aws" and region and not compiled(_PROFILE).match(bare):
        # An id without the prefix of an inference profile, called through the profile of that region.
        profile = f"{region.strip().lower()}."
        if compiled(_PROFILE).fullmatch(profile):
            yield profile + bare
    yield name
    if bare != name:
        yield bare
    dashed = compiled(_COMPACT_DATE).sub(r"\1-\2-\3", bare)
    if dashed != bare:
        yield dashed
    if price_list == "aws" and "." not in bare.partition("-")[0]:
        # OpenLLMetry removes profile and maker from an id.
        for maker in _BEDROCK_MAKERS:
            yield f"{maker}.{bare}"


def _bare(price_list: str, name: str) -> str:
    found = resource_name(name)
    if found and found.is_public:
        return found.model
    name = name.removeprefix("models/")
    # The provider's own name as a prefix: "openai/gpt-4o" on a compatible host, "azure/gpt-4o", "bedrock/converse/...".
    while "/" in name:
        head, rest = name.split("/", 1)
        if not rest or price_list_of(head) != price_list:
            break
        name = rest
    if price_list == "azure" and name.startswith("openai/"):
        return name.removeprefix("openai/")
    if price_list == "google" and name.startswith(("anthropic/", "google/")):
        return name.split("/", 1)[1]
    while price_list == "aws" and (found_prefix := compiled(_BEDROCK_PREFIX).match(name)):
        name = name[found_prefix.end() :]
    return name
