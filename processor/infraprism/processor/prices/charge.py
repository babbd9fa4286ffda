"""Usage times rates: which counts a call is billed for, and at what rate each.

A `Rates` holds whole numbers of 1e-18 USD for one token, request or search; None is "no such rate". The counts are
those of the GenAI semantic conventions: input includes cache reads, cache writes and audio; output includes reasoning
and audio. A count that was not reported counts as zero beside a total that was, for then the provider billed the total
alone. A count without a rate, or counts that contradict each other, leave the call unpriced: the reasons come back
instead of the lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from infraprism.processor.usage import Usage
from infraprism.schema.fields import MAX_TOKENS

Fee = int | Mapping[str, int] | None
"""1e-18 USD a piece, or by the size of the search context (low, medium, high)."""


class Rates(NamedTuple):
    """1e-18 USD for one token of each class, one web search, one request."""

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None
    audio_cache_read: int | None = None
    web_search: Fee = None
    request: Fee = None


class Line(NamedTuple):
    """One line of a bill: so many pieces of one class at `rate` each, in 1e-18 USD."""

    name: str
    pieces: int
    rate: int


Bill = tuple[list[tuple[str, int, int]], list[str]]
"""Lines (name, count, rate), and the reasons why the bill is not complete; only without reasons is it a price."""

_MAX_PIECES: Final = 10**6


def bill(rates: Rates, usage: Usage) -> Bill:
    """The lines of one call, and what is missing."""
    lines: list[tuple[str, int, int]] = []
    missing: list[str] = []
    if rates.input is None and rates.output is None:
        missing.append("the model is not billed by text tokens alone")
    _input(rates, usage, lines, missing)
    _output(rates, usage, lines, missing)
    if usage.web_searches or rates.request is not None or rates.reasoning is not None:
        _fees(rates, usage, lines, missing)
    return lines, missing


def _input(rates: Rates, usage: Usage, lines: list[tuple[str, int, int]], missing: list[str]) -> None:
    total = usage.input_tokens
    if total is None:
        if rates.input:
            missing.append("input tokens were not reported")
        return
    plain = total
    if usage.cache_write_tokens or usage.cache_write_1h_tokens:
        plain -= _writes(rates, usage, lines, missing)
    read = usage.cache_read_tokens or 0
    if usage.audio_input_tokens:
        plain -= _audio_input(rates, usage, plain, lines, missing)
    elif read:
        plain -= read
        _line("cache_read", read, rates.cache_read, lines, missing)
    if plain > 0:
        _line("input", plain, rates.input, lines, missing)
    if not 0 <= plain <= total <= MAX_TOKENS:
        missing.append("the counts of input tokens contradict each other")


def _writes(rates: Rates, usage: Usage, lines: list[tuple[str, int, int]], missing: list[str]) -> int:
    hour = usage.cache_write_1h_tokens or 0
    written = hour if usage.cache_write_tokens is None else usage.cache_write_tokens
    if not 0 <= hour <= written:
        missing.append("more tokens were cached for an hour than were cached")
        return written
    if written > hour:
        _line("cache_write", written - hour, rates.cache_write, lines, missing)
    if hour:
        _line("cache_write_1h", hour, rates.cache_write_1h, lines, missing)
    return written


def _audio_input(
    rates: Rates, usage: Usage, unwritten: int, lines: list[tuple[str, int, int]], missing: list[str]
) -> int:
    """Audio beside cache reads: how much of the audio was cached is not reported, so its bounds must not matter."""
    audio, read = usage.audio_input_tokens or 0, usage.cache_read_tokens or 0
    least, most = max(0, audio + read - unwritten), min(audio, read)
    if least > most or audio < 0 or read < 0:
        missing.append("the counts of input tokens contradict each other")
        return audio + read
    prices = (rates.input, rates.audio_input, rates.cache_read, rates.audio_cache_read)
    if least < most and (None in prices or prices[0] + prices[3] != prices[1] + prices[2]):  # type: ignore[operator]
        missing.append("how much of the audio was read from the cache was not reported")
        return audio + read - least
    cached_audio = least
    for name, count, rate in (
        ("audio_input", audio - cached_audio, rates.audio_input),
        ("cache_read", read - cached_audio, rates.cache_read),
        ("audio_cache_read", cached_audio, rates.audio_cache_read),
    ):
        if count:
            _line(name, count, rate, lines, missing)
    return audio + read - cached_audio


def _output(rates: Rates, usage: Usage, lines: list[tuple[str, int, int]], missing: list[str]) -> None:
    total = usage.output_tokens
    if total is None:
        if rates.output:
            missing.append("output tokens were not reported")
        return
    plain = total
    if usage.audio_output_tokens:
        plain -= usage.audio_output_tokens
        _line("audio_output", usage.audio_output_tokens, rates.audio_output, lines, missing)
    if rates.reasoning is not None:
        plain -= _reasoning(rates.reasoning, usage, lines, missing)
    if plain > 0:
        _line("output", plain, rates.output, lines, missing)
    if not 0 <= plain <= total <= MAX_TOKENS or (usage.reasoning_tokens or 0) > total:
        missing.append("the counts of output tokens contradict each other")


def _reasoning(rate: int, usage: Usage, lines: list[tuple[str, int, int]], missing: list[str]) -> int:
    if usage.reasoning_tokens is None:
        missing.append("reasoning tokens have a rate of their own and were not reported")
        return 0
    if usage.reasoning_tokens:
        _line("reasoning", usage.reasoning_tokens, rate, lines, missing)
    return usage.reasoning_tokens


def _fees(rates: Rates, usage: Usage, lines: list[tuple[str, int, int]], missing: list[str]) -> None:
    if rates.request is not None:
        # One call is one request, and its fee pays for the searches that it makes.
        requests = 1 if usage.requests is None else usage.requests
        _line("request", requests, _by_size(rates.request, usage, missing), lines, missing)
    elif usage.web_searches:
        _line("web_search", usage.web_searches, _by_size(rates.web_search, usage, missing), lines, missing)
    elif usage.web_searches is None and rates.web_search is not None and rates.reasoning is not None:
        missing.append("the searches of a research call were not reported")


def _by_size(fee: Fee, usage: Usage, missing: list[str]) -> int | None:
    if not isinstance(fee, Mapping):
        return fee
    size = usage.search_context_size
    rate = fee.get(size.lower()) if isinstance(size, str) else None
    if rate is None:
        missing.append("the fee depends on the size of the search context, which was not reported")
        return 0
    return rate


def _line(name: str, count: int, rate: int | None, lines: list[tuple[str, int, int]], missing: list[str]) -> None:
    if rate is None:
        missing.append(f"no rate for {name}")
    elif not 0 <= count <= MAX_TOKENS:
        missing.append(f"no call has {count} of {name}")
    else:
        lines.append((name, count, rate))
