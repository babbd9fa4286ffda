"""Names as the world spells them: of providers, and of models with all that is put around them.

Only what is known to say nothing about the price is taken off a name. A name that is then not in the table stays
unknown: a newer model is never taken for an older one.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from infraprism.pricing.spellings import SPELLINGS
from infraprism.schema.patterns import compiled

MAX_NAME: Final = 512
"""Longer names are no names of models; an inference profile's ARN has some 150 characters."""

_SQUASHED: Final = r"[^a-z0-9]"
_BEDROCK_ARN: Final = (
    r"arn:aws[a-z-]*:bedrock:[a-z0-9-]*:[0-9]*:"
    r"(?:foundation-model|inference-profile|prompt-router)/(?P<model>[a-z0-9.:-]+)"
)
_GOOGLE_PATH: Final = (
    r"(?:projects/[^/]+/locations/(?P<region>[^/]+)/)?publishers/(?P<publisher>[^/]+)/models/(?P<model>[^/]+)"
)
_BEDROCK_PREFIX: Final = r"(?:converse|invoke)/|(?:us|eu|ap|ca|sa|me|af|il|mx)-[a-z]+-[0-9]/"
_PROFILE: Final = r"(?:global|us|eu|apac|au|jp|ca|us-gov)\."
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
"""Whose models are in the table under the maker's name; Anthropic's are there without it as well."""
_COMPACT_DATE: Final = r"(?<=-)(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=$|[-:])"


def squashed(name: str) -> str:
    """A name in lower case without punctuation: `Data Zone (US)` and `data-zone-us` are one."""
    return compiled(_SQUASHED).sub("", name.lower())


@lru_cache(maxsize=1024)
def provider_of(spelling: str) -> str:
    """The table's name of a provider: `azure.ai.openai` is `azure`, `gcp.gen_ai` is `google`; "" if unknown.

    The spellings are those of the GenAI semantic conventions (old and new), of the event's own closed list, and of
    the instrumentations that name providers otherwise.
    """
    return SPELLINGS.get(squashed(spelling), "")


def routed(provider: str, model: str) -> tuple[str, str]:
    """Provider and model where the name says who serves it: Hugging Face routes `org/model:novita` to Novita."""
    if provider != "huggingface":
        return provider, model
    name, _, server = model.rpartition(":")
    return (f"huggingface_{server.strip().lower()}", name) if name else (provider, model)


def region_in(provider: str, model: str) -> str:
    """The region that a name says itself, as a path of Vertex AI does; "" if it says none."""
    found = compiled(_GOOGLE_PATH).fullmatch(model.strip().lower()) if provider == "google" else None
    return (found["region"] or "") if found else ""


def candidates(provider: str, model: str, region: str | None = None) -> Iterator[str]:
    """The names under which a model may stand in the table of a provider, the most specific first, in lower case."""
    name = model.strip().lower()
    if not name or len(name) > MAX_NAME:
        return
    bare = _bare(provider, name)
    if provider == "aws" and region and not compiled(_PROFILE).match(bare):
        # An id without a profile in front, called through the profile that the region names.
        profile = f"{region.strip().lower()}."
        if compiled(_PROFILE).fullmatch(profile):
            yield profile + bare
    yield name
    if bare != name:
        yield bare
    dashed = compiled(_COMPACT_DATE).sub(r"\1-\2-\3", bare)
    if dashed != bare:
        yield dashed
    if provider == "aws" and "." not in bare.partition("-")[0]:
        # OpenLLMetry takes profile and maker off an id.
        for maker in _BEDROCK_MAKERS:
            yield f"{maker}.{bare}"


def _bare(provider: str, name: str) -> str:
    found = compiled(_BEDROCK_ARN).fullmatch(name)
    if found:
        return found["model"]
    found = compiled(_GOOGLE_PATH).fullmatch(name)
    if found:
        return found["model"]
    name = name.removeprefix("models/")
    # "openai/gpt-4o" on a compatible host, "azure/gpt-4o", "bedrock/converse/...": the provider's own name in front.
    while "/" in name:
        head, rest = name.split("/", 1)
        if not rest or provider_of(head) != provider:
            break
        name = rest
    if provider == "azure" and name.startswith("openai/"):
        return name.removeprefix("openai/")
    if provider == "google" and name.startswith(("anthropic/", "google/")):
        return name.split("/", 1)[1]
    while provider == "aws" and (found := compiled(_BEDROCK_PREFIX).match(name)):
        name = name[found.end() :]
    return name
