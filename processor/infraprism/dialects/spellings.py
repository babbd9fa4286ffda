"""Calls that nobody's instrumentation wrote: of applications, gateways and tools whose names nobody published.

What they write is recombined from what others do: `llm.usage.prompt_tokens`, `gen_ai.usage.inputTokens`,
`ai.usage.completion_tokens`, or the provider's usage as a JSON text or a map under `llm.usage`. Each word that is used
for a count is read under each beginning that is used for usage. A span of which these keys say no model is no call,
since summaries and budgets have counts as well; one that names an operation is what that says.
"""

from __future__ import annotations

from typing import Final

from infraprism.dialects import semconv
from infraprism.dialects.table import Dialect, Entry, key_of

_OBJECTS: Final = ("gen_ai.usage", "llm.usage", "ai.usage")
"""Beginnings of keys, and keys of usage as a JSON text or a map."""
_BEGINNINGS: Final = (*_OBJECTS, "usage")
"""Alone, `usage` may be that of anything."""
_WORDS: Final = {
    "input_tokens": ("input_tokens", "prompt_tokens", "inputTokens", "promptTokens"),
    "output_tokens": ("output_tokens", "completion_tokens", "outputTokens", "completionTokens"),
    "total_tokens": ("total_tokens", "totalTokens"),
    **semconv.PARTS,
}
_COUNT: Final = "llm.token_count"
_ALONE: Final = {
    "input_tokens": (f"{_COUNT}.prompt", "llm.prompt_tokens", "llm.input_tokens"),
    "output_tokens": (f"{_COUNT}.completion", "llm.completion_tokens", "llm.output_tokens"),
    "total_tokens": (f"{_COUNT}.total",),
    "cache_read_tokens": (f"{_COUNT}.prompt_details.cache_read",),
    "cache_write_tokens": (f"{_COUNT}.prompt_details.cache_write",),
    "reasoning_tokens": (f"{_COUNT}.completion_details.reasoning",),
}
"""Spellings with a beginning of their own."""


def _counts(field: str) -> tuple[Entry, ...]:
    """The keys of a count: the conventions' first."""
    spelled = (f"{beginning}.{word}" for beginning in _BEGINNINGS for word in _WORDS[field])
    return tuple(dict.fromkeys((*semconv.KEYS[field], *spelled, *_ALONE[field])))


_WHOLES: Final = tuple(_counts(field) for field in ("input_tokens", "output_tokens"))
_CONVENTIONS: Final = semconv.SEMCONV.slots.keys()

SPELLINGS: Final = Dialect(
    name="Other spellings",
    required_any=frozenset({*_OBJECTS, *(key_of(entry) for keys in _WHOLES for entry in keys)}) - _CONVENTIONS,
    unnamed_operation=semconv.SEMCONV.unnamed_operation,
    operation_by_model=True,
    operations=semconv.SEMCONV.operations,
    streams=semconv.SEMCONV.streams,
    needs=("request_model", "response_model"),
    keys={
        **semconv.SEMCONV.keys,
        **{field: _counts(field) for field in _WORDS},
        **{field: semconv.KEYS[field] for field in ("audio_input_tokens", "audio_output_tokens")},
        "request_model": (
            *semconv.SEMCONV.keys["request_model"],
            *("llm.request.model", "llm.model", "llm.model_name", "ai.model.id", "ai.model", "gen_ai.model", "model"),
        ),
        "response_model": (*semconv.SEMCONV.keys["response_model"], "llm.response.model", "ai.response.model"),
        "provider": (
            *semconv.SEMCONV.keys["provider"],
            *("llm.provider", "llm.vendor", "llm.system", "ai.model.provider", "ai.provider", "gen_ai.provider"),
        ),
        "streamed": (*semconv.SEMCONV.keys["streamed"], "llm.is_streaming", "gen_ai.is_streaming", "llm.stream"),
    },
    json_texts=frozenset(_OBJECTS),
    rank=1,
)
