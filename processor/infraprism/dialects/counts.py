"""The arithmetic of token counts: from what a dialect includes in its input and output to counts that add up.

In a `Usage` the input includes cache reads and writes, and the output includes reasoning. Parts that a table marks as
excluded are added, and so are parts that the counts prove to be excluded: a part larger than its total, or a provider's
total that agrees only with the parts added. Counts are added, never reduced. Counts that no addition makes agree with
the total, or more than one, stay as reported and are marked as contradictory. An input of 0 next to an output of 0 was
not reported: no call is free of tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from infraprism.dialects.table import POSITION, Dialect
from infraprism.providers.detection import provider_of
from infraprism.schema.usage import Usage

_FIRST: Final = POSITION["input_tokens"]
_COUNTS: Final = slice(_FIRST, POSITION["web_searches"] + 1)
_CACHE_READ: Final = POSITION["cache_read_tokens"]
_CACHE_WRITE: Final = POSITION["cache_write_tokens"]
_CACHE_WRITE_1H: Final = POSITION["cache_write_1h_tokens"]
_REASONING: Final = POSITION["reasoning_tokens"]
_AUDIO_IN: Final = POSITION["audio_input_tokens"]
_AUDIO_OUT: Final = POSITION["audio_output_tokens"]
_TOTAL: Final = POSITION["total_tokens"]
_PARTS_INCLUDED: Final = POSITION["parts_included"]
_HOST: Final = POSITION["host"]
_PROVIDER: Final = POSITION["provider"]
_MODELS: Final = (POSITION["response_model"], POSITION["request_model"])
# The generated constructors of named tuples take five times as long.
_tuple: Final[Callable[..., Any]] = tuple.__new__


def usage(dialect: Dialect, found: list[Any], ranks: dict[int, int]) -> tuple[Usage, bool]:
    """The usage of the counts in `found`, which has the positions of `SpanFields`; and whether they contradict.

    `ranks` has, by position, the rank of the key that a value came from. Changes `found` and `ranks`.
    """
    counts = found[_COUNTS]
    contradicts = False
    reported_input, reported_output, read, written, _, reasoning, _, _, _ = counts
    total = found[_TOTAL]
    plain = dialect.parts_are_within and reported_input and reported_output
    plain = plain and (total is None or total == reported_input + reported_output)
    if plain and (read or 0) + (written or 0) <= reported_input and (reasoning or 0) <= reported_output:
        # Most calls: nothing to add, and nothing contradicts.
        return _tuple(Usage, (*counts, None, None)), False
    if any(counts[2:]) or found[_TOTAL] is not None:
        if _excluded(dialect, found, ranks, _CACHE_WRITE_1H):
            counts[_CACHE_WRITE - _FIRST] = found[_CACHE_WRITE] = (found[_CACHE_WRITE] or 0) + found[_CACHE_WRITE_1H]
            ranks[_CACHE_WRITE] = ranks[_CACHE_WRITE_1H]
        if not found[_PARTS_INCLUDED]:
            counts[0], counts[1], contradicts = _with_parts(dialect, found, ranks)
    if dialect.zero_is_unreported and not counts[0]:
        counts[0] = None
        counts[1] = counts[1] or None
    elif counts[0] == 0 and counts[1] == 0:
        counts = [count or None for count in counts]
    return _tuple(Usage, (*counts, None, None)), contradicts


def _with_parts(dialect: Dialect, found: list[Any], ranks: dict[int, int]) -> tuple[int | None, int | None, bool]:
    """Input and output with all their parts, and whether the provider's total contradicts them."""
    reported_input, reported_output, total = found[_FIRST], found[_FIRST + 1], found[_TOTAL]
    cached, excluded_input = _cache(dialect, found, ranks)
    excluded_output = _excluded(dialect, found, ranks, _REASONING, _AUDIO_OUT)
    reasoning = 0 if excluded_output else found[_REASONING] or 0
    input_tokens, output_tokens = reported_input, reported_output
    if input_tokens is not None:
        input_tokens += excluded_input
        if cached > input_tokens:
            input_tokens, cached = input_tokens + cached, 0
    if output_tokens is not None:
        output_tokens += excluded_output
        if reasoning > output_tokens:
            output_tokens, reasoning = output_tokens + reasoning, 0
    if not total or input_tokens is None or output_tokens is None:
        return input_tokens, output_tokens, False
    if total == input_tokens + output_tokens:
        return input_tokens, output_tokens, False
    if total == reported_input + reported_output:
        # Either the counts include the parts after all, or the total is no more than the sum of the two.
        is_sum = dialect.total_is_computed or dialect.input_excludes_cache or cached == 0
        return (input_tokens, output_tokens, False) if is_sum else (reported_input, reported_output, False)
    missing = total - input_tokens - output_tokens
    added = [parts for parts in ((cached, 0), (0, reasoning), (cached, reasoning)) if sum(parts) == missing]
    if not added or (len(added) > 1 and cached and reasoning):
        return input_tokens, output_tokens, True
    return input_tokens + added[0][0], output_tokens + added[0][1], False


def _cache(dialect: Dialect, found: list[Any], ranks: dict[int, int]) -> tuple[int, int]:
    """The tokens of the cache: those that the input may include, and those that it is known to exclude."""
    cached = (found[_CACHE_READ] or 0) + (found[_CACHE_WRITE] or 0)
    if dialect.input_excludes_cache:
        return 0, cached + _excluded(dialect, found, ranks, _AUDIO_IN)
    known = _excluded(dialect, found, ranks, _CACHE_READ, _CACHE_WRITE)
    return cached - known, known + _excluded(dialect, found, ranks, _AUDIO_IN)


def _excluded(dialect: Dialect, found: list[Any], ranks: dict[int, int], *positions: int) -> int:
    """The sum of the parts at the positions that came from keys that are `NotInTotal` for the provider."""
    total = 0
    for position in positions:
        value = found[position]
        if value and position in dialect.not_in_total:
            providers = dialect.not_in_total[position].get(ranks.get(position, 0))
            if providers is not None and (not providers or _billing_provider(found) in providers):
                total += value
    return total


def _billing_provider(found: list[Any]) -> str:
    models = [found[position] for position in _MODELS if found[position] is not None]
    return provider_of(found[_HOST], found[_PROVIDER], models[0] if models else None)
