"""Behaviour by model name: a marker in the name provokes it, so that any unmodified app can."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

MARKERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "err400": "refused: invalid request",
        "err401": "refused: wrong key",
        "err403": "refused: no permission",
        "err404": "refused: no such model",
        "err429": "refused: rate limit, with Retry-After",
        "err500": "failed: server error",
        "err529": "failed: overloaded (503 where the provider has no 529)",
        "retry429": "the first attempt is refused with 429, the next one is answered",
        "context-length": "refused: the prompt is too long for the model",
        "content-filter": "refused: content policy",
        "no-usage": "answered without a usage object, as some compatible servers do",
        "cached": "part of the prompt is read from and written to the prompt cache",
        "old-delta": "Anthropic streams: the last usage has only output tokens, as before 2025",
        "stream-error": "an error event in the middle of the stream",
        "drop": "the connection is cut in the middle of the answer",
        "slow": "the answer takes its time, between chunks as well",
        "hang": "no answer until the client gives up",
    }
)
"""Markers in model names, and what they do."""

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
"""Aliases are answered by a dated snapshot, and the answer says so."""

_REASONING: Final = re.compile(r"(o[1-9]|gpt-[5-9])")
_CACHE_WRITES: Final = re.compile(r"gpt-(5\.[6-9]|[6-9])")


@dataclass(frozen=True)
class Behaviour:
    """What the model's name asks for."""

    markers: frozenset[str]
    answered_by: str
    chunks: int | None

    @property
    def reasons(self) -> bool:
        """OpenAI's reasoning models think before they answer."""
        return _REASONING.match(self.answered_by) is not None

    @property
    def bills_cache_writes(self) -> bool:
        """OpenAI models that bill what they write to the cache."""
        return _CACHE_WRITES.match(self.answered_by) is not None


def behaviour_of(model: str) -> Behaviour:
    """The markers in a model's name, and the model that answers once they are taken out."""
    found = list(_MARKER.finditer(model))
    plain = _MARKER.sub("", model)
    chunks = next((int(match[2]) for match in found if match[2]), None)
    return Behaviour(frozenset(match[1] for match in found), _SNAPSHOTS.get(plain, plain) or model, chunks)
