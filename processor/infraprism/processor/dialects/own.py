"""Reads the spans of our own instrumentation, of which it is known what they hold: with a third of the engine's work.

Whatever is on a span beyond what our instrumentation writes, or does not add up, is left to the engine, which says the
same of all others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from infraprism.processor.dialects import engine, values
from infraprism.processor.dialects.engine import Reading
from infraprism.processor.dialects.semconv import KEYS, OPERATIONS, SEMCONV
from infraprism.processor.dialects.table import READERS, Said
from infraprism.processor.once import OUR_SCOPE
from infraprism.processor.usage import Usage
from infraprism.schema.fields import MAX_TOKENS

_WRITTEN: Final = (
    *("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.request.stream"),
    *("gen_ai.response.model", "gen_ai.response.id", "gen_ai.response.time_to_first_chunk", "server.address"),
    *("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "gen_ai.usage.cache_read.input_tokens"),
    *("gen_ai.usage.cache_write.input_tokens", "anthropic.usage.cache_creation.ephemeral_1h_input_tokens"),
    *("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.audio.input_tokens", "gen_ai.usage.audio.output_tokens"),
    *("openai.response.service_tier", "anthropic.response.service_tier", "error.type", "http.response.status_code"),
    *("infraprism.usage.web_searches", "infraprism.reported_cost_usd"),
)


_SAID: Final = Said._fields


def _key(name: str) -> str:
    """The key under which our instrumentation writes a field; "" if it does not."""
    return next((key for key in KEYS.get(name, ()) if isinstance(key, str) and key in _WRITTEN), "")


_KEYS: Final = tuple(map(_key, _SAID))
_OTHER_TIER: Final = "anthropic.response.service_tier"
_TIER: Final = _SAID.index("service_tier")
_READ: Final = tuple(
    (_SAID.index(name), READERS[name])
    for name in ("streamed", "time_to_first_token_ms", "service_tier", "reported_cost_usd")
)
_TEXTS: Final = slice(0, _SAID.index("input_tokens"))
_COUNTS: Final = slice(_SAID.index("input_tokens"), _SAID.index("web_searches") + 1)
_NUMBERS: Final = slice(_COUNTS.start, _SAID.index("http_status") + 1)
_HTTP_STATUS: Final = _SAID.index("http_status")
_RESPONSE_ID: Final = _SAID.index("response_id")
_BEYOND_SAID: Final = (None,) * (len(Usage._fields) - (_COUNTS.stop - _COUNTS.start))
_is_text: Final = frozenset({str, type(None)}).issuperset
_is_count: Final = frozenset({int, type(None)}).issuperset
_tuple: Final[Callable[..., Any]] = tuple.__new__


def read(attributes: Mapping[str, Any]) -> Reading | None:
    """The billed call that the attributes of a span of ours are about; the same as `engine.read` says."""
    # One look at each key and one check of each kind of value, all within functions of the interpreter.
    found: list[Any] = list(map(attributes.get, _KEYS))
    known = len(found) - found.count(None) + ("server.port" in attributes) + ("openai.api.type" in attributes)
    if found[_TIER] is None and _OTHER_TIER in attributes:
        found[_TIER] = attributes[_OTHER_TIER]
        known += 1
    texts, numbers, counts = found[_TEXTS], found[_NUMBERS], found[_COUNTS]
    texts.append(found[_RESPONSE_ID])
    if (
        known != len(attributes)
        or not _is_text(map(type, texts))
        or not _is_count(map(type, numbers))
        or max(map(len, filter(None, texts)), default=0) > values.MAX_TEXT
        or "" in texts
        or not _add_up(*counts)
        or not 0 <= (found[_HTTP_STATUS] or 0) <= MAX_TOKENS
    ):
        return engine.read(attributes, OUR_SCOPE)
    operation = OPERATIONS.get(found[0])
    if operation is None:
        return None
    for position, reader in _READ:
        if found[position] is not None:
            found[position] = reader(found[position])
    usage: Usage = _tuple(Usage, (*counts, *_BEYOND_SAID))
    reading: Reading = _tuple(
        Reading, (operation, _tuple(Said, found), usage, {}, False, SEMCONV.name, SEMCONV.layer, SEMCONV.rank)
    )
    return reading


def _add_up(given: int | None, answered: int | None, *parts: int | None) -> bool:
    """Whether no count is beyond its bounds, and no part larger than its whole."""
    read_from_cache, written, _, reasoning, *_ = parts
    least = min(filter(None, (given, answered, *parts)), default=0)
    most = max(filter(None, (given, answered, *parts)), default=0)
    return (
        least >= 0
        and most <= MAX_TOKENS
        and (given is None or (read_from_cache or 0) + (written or 0) <= given)
        and (answered is None or (reasoning or 0) <= answered)
    )
