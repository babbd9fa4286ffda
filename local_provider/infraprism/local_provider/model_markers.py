"""Markers in model names that select errors and other behaviour, so that unmodified applications can be tested."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

MARKERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "err400": "rejected: invalid request",
        "err401": "rejected: wrong key",
        "err403": "rejected: no permission",
        "err404": "rejected: no such model",
        "err429": "rejected: rate limit, with Retry-After",
        "err500": "failed: server error",
        "err529": "failed: overloaded (503 where the provider has no 529)",
        "retry429": "the first attempt is rejected with 429, the next one succeeds",
        "context-length": "rejected: the prompt is too long for the model",
        "content-filter": "rejected: content policy",
        "no-usage": "a response without usage, as of some compatible servers",
        "cached": "part of the prompt is read from and written to the prompt cache",
        "old-delta": "Anthropic streams: the final usage has only output tokens, as before 2025",
        "stream-error": "an error event in the middle of the stream",
        "drop": "the connection is closed in the middle of the response",
        "slow": "the response is delayed, also between chunks",
        "hang": "no response until the client times out",
    }
)
"""Markers in model names, and their effects."""

_MARKER: Final = re.compile("-?(" + "|".join(MARKERS) + r"|chunks(\d{1,5}))")

_SNAPSHOTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "gpt-4o": "gpt-4o-2024-08-06",
        "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
        "gpt-4.1": "gpt-4.1-2025-04-14",
        "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
        "gpt-4.1-nano": "gpt-4.1-nano-2025-04-14",
        "o3": "o3-2025-04-16",
        "o3-mini": "o3-mini-2025-01-31",
        "o4-mini": "o4-mini-2025-04-16",
        "gpt-5": "gpt-5-2025-08-07",
        "gpt-5-mini": "gpt-5-mini-2025-08-07",
        "gpt-5-nano": "gpt-5-nano-2025-08-07",
        "claude-3-5-haiku-latest": "claude-3-5-haiku-20241022",
        "claude-haiku-4-5": "claude-haiku-4-5-20251001",
        "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
        "claude-sonnet-4-0": "claude-sonnet-4-20250514",
        "claude-opus-4-1": "claude-opus-4-1-20250805",
    }
)
"""The dated snapshot that responds to an alias, and that the response contains as its model."""

_REASONING: Final = re.compile(r"(o[1-9]|gpt-[5-9])")
_CACHE_WRITES: Final = re.compile(r"gpt-(5\.[6-9]|[6-9])")


@dataclass(frozen=True)
class ModelBehaviour:
    """The behaviour that a model's name selects."""

    markers: frozenset[str]
    response_model: str
    chunks: int | None

    @property
    def reasons(self) -> bool:
        """Whether this is a reasoning model of OpenAI."""
        return _REASONING.match(self.response_model) is not None

    @property
    def bills_cache_writes(self) -> bool:
        """Whether this is a model for which OpenAI bills cache writes."""
        return _CACHE_WRITES.match(self.response_model) is not None


def behaviour_of(model: str) -> ModelBehaviour:
    """The markers in a model's name, and the model without them."""
    found = list(_MARKER.finditer(model))
    plain = _MARKER.sub("", model)
    chunks = next((int(match[2]) for match in found if match[2]), None)
    return ModelBehaviour(frozenset(match[1] for match in found), _SNAPSHOTS.get(plain, plain) or model, chunks)
