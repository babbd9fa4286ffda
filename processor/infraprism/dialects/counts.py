"""The arithmetic of usage: whatever a dialect counts inside or beside its wholes, buckets that add up come out.

Input includes cache reads and writes, output includes reasoning. What a dialect is known to leave out is added, and
so is what the counts prove to be left out: a part larger than its whole, or the provider's own total. Counts are added
up, never cut; where no reading of them agrees with the total they stay as reported and are said to contradict.
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
_HOST: Final = POSITION["host"]
_PROVIDER: Final = POSITION["provider"]
_MODELS: Final = (POSITION["response_model"], POSITION["request_model"])
# The generated constructors of named tuples take five times as long.
_tuple: Final[Callable[..., Any]] = tuple.__new__


def usage(dialect: Dialect, found: list[Any], ranks: dict[int, int]) -> tuple[Usage, bool]:
    """The counts among the fields of `SpanFields` that were found, made whole; and whether they contradict each other.

    `ranks` says for the fields which of a dialect's keys they came from.
    """
    counts = found[_COUNTS]
    contradicts = False
    given, answered, read, written, _, reasoning, _, _, _ = counts
    plain = dialect.parts_are_within and found[_TOTAL] is None and given and answered
    if plain and (read or 0) + (written or 0) <= given and (reasoning or 0) <= answered:
        # Most calls: nothing to add, and nothing that speaks against it.
        return _tuple(Usage, (*counts, None, None)), False
    if any(counts[2:]) or found[_TOTAL] is not None:
        if _beside(dialect, found, ranks, _CACHE_WRITE_1H):
            counts[_CACHE_WRITE - _FIRST] = found[_CACHE_WRITE] = (found[_CACHE_WRITE] or 0) + found[_CACHE_WRITE_1H]
            ranks[_CACHE_WRITE] = ranks[_CACHE_WRITE_1H]
        counts[0], counts[1], contradicts = _whole(dialect, found, ranks)
    if dialect.zero_is_unreported and not counts[0]:
        counts[0] = None
        counts[1] = counts[1] or None
    return _tuple(Usage, (*counts, None, None)), contradicts


def _whole(dialect: Dialect, found: list[Any], ranks: dict[int, int]) -> tuple[int | None, int | None, bool]:
    """Input and output with all their parts in them, and whether the provider's total contradicts that."""
    reported_input, reported_output, total = found[_FIRST], found[_FIRST + 1], found[_TOTAL]
    cached, beside_input = _cache(dialect, found, ranks)
    beside_output = _beside(dialect, found, ranks, _REASONING, _AUDIO_OUT)
    reasoning = 0 if beside_output else found[_REASONING] or 0
    input_tokens, output_tokens = reported_input, reported_output
    if input_tokens is not None:
        input_tokens += beside_input
        if cached > input_tokens:
            input_tokens, cached = input_tokens + cached, 0
    if output_tokens is not None:
        output_tokens += beside_output
        if reasoning > output_tokens:
            output_tokens, reasoning = output_tokens + reasoning, 0
    if not total or input_tokens is None or output_tokens is None:
        return input_tokens, output_tokens, False
    if total == input_tokens + output_tokens:
        return input_tokens, output_tokens, False
    if total == reported_input + reported_output:
        # Either the parts are within their wholes after all, or somebody added the two up and called it the total.
        added_up = dialect.total_is_its_own and not (dialect.total_of and _billing(found) in dialect.total_of)
        proven = added_up or dialect.input_excludes_cache or (cached == 0 and not dialect.total_is_its_own)
        return (input_tokens, output_tokens, False) if proven else (reported_input, reported_output, False)
    for more_input, more_output in ((cached, 0), (0, reasoning), (cached, reasoning)):
        if input_tokens + more_input + output_tokens + more_output == total:
            return input_tokens + more_input, output_tokens + more_output, False
    return input_tokens, output_tokens, True


def _cache(dialect: Dialect, found: list[Any], ranks: dict[int, int]) -> tuple[int, int]:
    """What was read from and written to the cache: what may be within the input, and what is known to be beside it."""
    cached = (found[_CACHE_READ] or 0) + (found[_CACHE_WRITE] or 0)
    if dialect.input_excludes_cache:
        return 0, cached + _beside(dialect, found, ranks, _AUDIO_IN)
    known = _beside(dialect, found, ranks, _CACHE_READ, _CACHE_WRITE)
    return cached - known, known + _beside(dialect, found, ranks, _AUDIO_IN)


def _beside(dialect: Dialect, found: list[Any], ranks: dict[int, int], *positions: int) -> int:
    """The sum of the parts that came from keys whose counts are beside their whole."""
    total = 0
    for position in positions:
        value = found[position]
        if value and position in dialect.not_in_total:
            providers = dialect.not_in_total[position].get(ranks.get(position, 0))
            if providers is not None and (not providers or _billing(found) in providers):
                total += value
    return total


def _billing(found: list[Any]) -> str:
    models = [found[position] for position in _MODELS if found[position] is not None]
    return provider_of(found[_HOST], found[_PROVIDER], models[0] if models else None)
