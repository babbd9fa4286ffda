"""Compares the model names of two spans: the same model, a deployment's name, or two models."""

from __future__ import annotations

import re
from enum import IntEnum
from functools import lru_cache
from typing import Final

from infraprism.providers.detection import OTHER, provider_of
from infraprism.schema.patterns import compiled

_DATE: Final = r"[-@](?:20\d\d-?\d\d-?\d\d|\d{4}|\d{3}|latest)$"
_BEDROCK: Final = r"^(?:[a-z-]{2,8}\.)?(?:anthropic|meta|amazon|mistral|cohere|ai21|deepseek|openai|qwen)\."
_BEDROCK_VERSION: Final = r"-v\d+(?::\d+)*$"
_SEPARATORS: Final = r"[-_./: ]+"
_VARIANTS: Final = frozenset(
    (
        *(
            "audio",
            "chat",
            "codex",
            "fast",
            "flash",
            "haiku",
            "high",
            "instruct",
            "large",
            "lite",
            "low",
            "max",
            "medium",
        ),
        *("micro", "mini", "nano", "opus", "preview", "pro", "realtime", "reasoning", "search", "small", "sonnet"),
        *("thinking", "transcribe", "tts", "turbo", "ultra", "vision"),
    )
)
"""Words that make another model of a model's name: `gpt-4o-mini` is not a deployment of `gpt-4o`."""


class ModelMatch(IntEnum):
    """How the model names of two spans compare."""

    SAME = 0
    """A common name, or one is named after the other: `gpt-4o-mini-prod` and `gpt-4o-mini`."""
    ALIAS = 1
    """Nothing in common; one can be a name that the user chose, as on Azure: `my-deployment` and `gpt-4o-mini`."""
    DIFFERENT = 2
    """Two models of providers: `gpt-4o` and `gpt-4o-mini`."""


@lru_cache(maxsize=1024)
def plain_model(name: str) -> str:
    """A model's name without the provider before it and the date behind it."""
    plain = name.lower().rpartition("/")[2]
    plain = compiled(_BEDROCK_VERSION).sub("", compiled(_BEDROCK).sub("", plain))
    return compiled(_DATE).sub("", plain.partition(":")[0])


def compare_models(one: frozenset[str], other: frozenset[str]) -> ModelMatch:
    """Compare two sets of plain names: a span has the requested model, the response model, both or neither."""
    if one & other or any(_is_named_after(a, b) or _is_named_after(b, a) for a in one for b in other):
        return ModelMatch.SAME
    if one and other and all(map(_is_provider_model, one | other)):
        return ModelMatch.DIFFERENT
    return ModelMatch.ALIAS


@lru_cache(maxsize=1024)
def _is_named_after(name: str, model: str) -> bool:
    if model not in name:
        return False
    added = re.split(_SEPARATORS, name.replace(model, " ", 1))
    return not any(word in _VARIANTS or word.isdigit() for word in added)


@lru_cache(maxsize=1024)
def _is_provider_model(name: str) -> bool:
    """Whether the name alone identifies the provider."""
    return provider_of(None, None, name) != OTHER
