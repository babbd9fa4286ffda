"""Determines which provider bills a call, from the host, the recorded provider name and the model name.

The host has precedence, since a client of one provider is often configured for another one's API. Where the host is
unknown, a gateway or a loopback address, the recorded name decides, then a model that one provider alone serves.
"""

from __future__ import annotations

import re
import string
from functools import lru_cache
from typing import Final

from infraprism.providers.regions import host_name
from infraprism.providers.table import PROVIDERS, VAGUE_SPELLINGS, Provider
from infraprism.schema.patterns import compiled

OTHER: Final = "other"
"""The provider of the event where no evidence names one of the table."""

HOSTS: Final = {host: provider.name for provider in PROVIDERS for host in provider.hosts}
"""Provider names by domain."""
HOST_PATTERNS: Final = tuple((pattern, provider.name) for provider in PROVIDERS for pattern in provider.host_patterns)
"""Patterns of whole host names, with the provider's name."""
SPELLINGS: Final = {
    spelling: provider.name for provider in PROVIDERS for spelling in (provider.name, *provider.spellings)
}
"""Provider names by spelling, as the table writes it."""

_PUNCTUATION: Final = str.maketrans("", "", string.punctuation + string.whitespace)
_MODELS: Final = tuple((pattern, provider.name) for provider in PROVIDERS for pattern in provider.models)
_BY_NAME: Final = {provider.name: provider for provider in PROVIDERS}


def _comparable(spelling: str) -> str:
    """A spelling in lower case without punctuation: `azure.ai.openai` and `AzureAIOpenAI` are equal."""
    return spelling.lower().translate(_PUNCTUATION)


_BY_SPELLING: Final = {_comparable(spelling): name for spelling, name in SPELLINGS.items()}
_VAGUE: Final = frozenset(map(_comparable, VAGUE_SPELLINGS))


@lru_cache(maxsize=1024)
def provider_of(host: str | None, spelling: str | None, model: str | None) -> str:
    """The provider's name, one of `infraprism.schema.fields.PROVIDERS`; `other` if nothing names one.

    `host` is the name or URL of the server that was called, `spelling` the provider's name as the instrumentation
    recorded it, `model` the model's name.
    """
    known = _by_host(host or "")
    if known is None and is_vague(spelling or ""):
        # The model's name may determine the service, or begin with the name of another provider.
        known = _by_model(model or "") or (_by_spelling(model or "") if "/" in (model or "") else None)
    return known or _by_spelling(spelling or "") or _by_model(model or "") or OTHER


def provider_named(spelling: str) -> Provider | None:
    """The provider that a name means, in any spelling; None if the name is not known."""
    name = _by_spelling(spelling)
    return None if name is None else _BY_NAME[name]


def is_vague(spelling: str) -> bool:
    """Whether a provider's name does not determine which service bills: any other evidence has precedence."""
    return _comparable(spelling) in _VAGUE


def provider_in_scope(scope: str) -> str | None:
    """The provider's name in the name of an instrumentation scope, as it is spelled there.

    `opentelemetry.instrumentation.vertexai` has `vertexai`.
    """
    words = re.split(r"[./@]|instrumentation-", scope.lower())
    return next((word for word in reversed(words) if _comparable(word) in _BY_SPELLING), None)


def _by_host(host: str) -> str | None:
    name = host_name(host)
    suffix = name
    while suffix:
        if suffix in HOSTS:
            return HOSTS[suffix]
        suffix = suffix.partition(".")[2]
    return next((provider for pattern, provider in HOST_PATTERNS if compiled(pattern).fullmatch(name)), None)


def _by_spelling(spelling: str) -> str | None:
    """The provider of a name, or of the longest known prefix of a dotted one, up to the first slash.

    `openai.chat` and `openai/gpt-4o` are `openai`, also in the quotes of a JSON string.
    """
    name = spelling.partition("/")[0]
    while name:
        known = _BY_SPELLING.get(_comparable(name))
        if known is not None:
            return known
        name = name.rpartition(".")[0]
    return None


def _by_model(model: str) -> str | None:
    name = model.lower()
    return next((provider for pattern, provider in _MODELS if compiled(pattern).fullmatch(name)), None)
