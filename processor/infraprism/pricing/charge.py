"""Multiplies the usage of a call with rates: one line for each class of usage that is billed.

The counts are those of the GenAI semantic conventions: input tokens include cache reads, cache writes and audio; output
tokens include reasoning and audio. Where the total is reported and a part is not, the part counts as zero, since the
provider billed the total. A count without a rate, or counts that contradict each other, leave the call unpriced; the
reasons are then in `Bill.missing`.
"""

from collections.abc import Mapping
from typing import NamedTuple

from infraprism.schema.fields import MAX_TOKENS
from infraprism.schema.usage import Usage

Fee = int | Mapping[str, int] | None
"""1e-24 USD for one piece, or by the size of the search context (low, medium, high)."""


class Rates(NamedTuple):
    """Rates in 1e-24 USD for one token of each class, one web search, one request. None: there is no such rate."""

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
    """One line of a bill: a number of pieces of one class, each at `rate` in 1e-24 USD."""

    name: str
    pieces: int
    rate: int


_Parts = list[tuple[str, int, int | None]]
"""Class, pieces and rate of every part of a call; a part of no pieces is not billed."""


class Bill:
    """The bill of one call: `cost` in 1e-24 USD, which is its price if `missing`, the reasons against it, is empty."""

    __slots__ = ("_parts", "cost", "missing")

    def __init__(self, rates: Rates, usage: Usage) -> None:
        self._parts: _Parts = []
        self.missing: list[str] = []
        self.cost = 0
        if rates.input is None and rates.output is None:
            self.missing.append("the model is not billed by text tokens alone")
        self._input(rates, usage)
        self._output(rates, usage)
        if rates.request is not None or usage.web_searches is not None:
            self._fees(rates, usage)
        elif rates.web_search is not None and rates.reasoning is not None:
            self.missing.append("the searches of a research call were not reported")
        for name, pieces, rate in self._parts:
            if not 0 <= pieces <= MAX_TOKENS:
                self.missing.append(f"no call has {pieces} of {name}")
            elif rate is not None:
                self.cost += pieces * rate
            elif pieces:
                self.missing.append(f"no rate for {name}")

    @property
    def lines(self) -> tuple[Line, ...]:
        """The parts that are billed."""
        return tuple(
            Line(name, pieces, rate)
            for name, pieces, rate in self._parts
            if rate is not None and 0 < pieces <= MAX_TOKENS
        )

    def _input(self, rates: Rates, usage: Usage) -> None:
        total = usage.input_tokens
        if total is None:
            if rates.input:
                self.missing.append("input tokens were not reported")
            return
        rest = total
        if usage.cache_write_tokens or usage.cache_write_1h_tokens:
            rest -= self._cache_writes(rates, usage)
        if usage.audio_input_tokens:
            rest -= self._audio_and_cache_reads(rates, usage, rest)
        elif read := usage.cache_read_tokens:
            self._parts.append(("cache_read", read, rates.cache_read))
            rest -= read
        if 0 <= rest <= total <= MAX_TOKENS:
            self._parts.append(("input", rest, rates.input))
        else:
            self.missing.append("the counts of input tokens contradict each other")

    def _cache_writes(self, rates: Rates, usage: Usage) -> int:
        one_hour = usage.cache_write_1h_tokens or 0
        written = one_hour if usage.cache_write_tokens is None else usage.cache_write_tokens
        if not 0 <= one_hour <= written:
            self.missing.append("more tokens were written to the cache for an hour than were written to the cache")
            return written
        self._parts.append(("cache_write", written - one_hour, rates.cache_write))
        self._parts.append(("cache_write_1h", one_hour, rates.cache_write_1h))
        return written

    def _audio_and_cache_reads(self, rates: Rates, usage: Usage, unwritten: int) -> int:
        """Add audio and cache reads, and return how many tokens they are.

        How much of the audio was read from the cache is not reported. It lies between two bounds, and there is a price
        only if both bounds cost the same.
        """
        audio, read = usage.audio_input_tokens or 0, usage.cache_read_tokens or 0
        least, most = max(0, audio + read - unwritten), min(audio, read)
        if not 0 <= least <= most:
            self.missing.append("the counts of input tokens contradict each other")
            return 0
        if least < most and not _same_sum(rates.input, rates.audio_cache_read, rates.audio_input, rates.cache_read):
            self.missing.append("how much of the audio was read from the cache was not reported")
        self._parts.append(("cache_read", read - least, rates.cache_read))
        self._parts.append(("audio_input", audio - least, rates.audio_input))
        self._parts.append(("audio_cache_read", least, rates.audio_cache_read))
        return audio + read - least

    def _output(self, rates: Rates, usage: Usage) -> None:
        total = usage.output_tokens
        if total is None:
            if rates.output:
                self.missing.append("output tokens were not reported")
            return
        rest = total
        if audio := usage.audio_output_tokens:
            self._parts.append(("audio_output", audio, rates.audio_output))
            rest -= audio
        if usage.reasoning_tokens or rates.reasoning is not None:
            rest -= self._reasoning(rates, usage, total)
        if 0 <= rest <= total <= MAX_TOKENS:
            self._parts.append(("output", rest, rates.output))
        else:
            self.missing.append("the counts of output tokens contradict each other")

    def _reasoning(self, rates: Rates, usage: Usage, total: int) -> int:
        """Add reasoning, which is part of the output, and return how many tokens have a rate of their own."""
        reasoning = usage.reasoning_tokens or 0
        if not 0 <= reasoning <= total:
            self.missing.append("there were more reasoning tokens than output tokens")
        if rates.reasoning is None:
            return 0
        if usage.reasoning_tokens is None:
            self.missing.append("reasoning tokens have a rate of their own and were not reported")
        self._parts.append(("reasoning", reasoning, rates.reasoning))
        return reasoning

    def _fees(self, rates: Rates, usage: Usage) -> None:
        if rates.request is not None:
            # One call is one request, and its fee includes the searches that it makes.
            requests = 1 if usage.requests is None else usage.requests
            self._parts.append(("request", requests, self._by_size(rates.request, usage)))
        elif usage.web_searches is not None:
            self._parts.append(("web_search", usage.web_searches, self._by_size(rates.web_search, usage)))

    def _by_size(self, fee: Fee, usage: Usage) -> int | None:
        if not isinstance(fee, Mapping):
            return fee
        size = usage.search_context_size
        rate = fee.get(size.lower()) if isinstance(size, str) else None
        if rate is None:
            self.missing.append("the fee depends on the size of the search context, which was not reported")
        return rate


def _same_sum(one: int | None, other: int | None, third: int | None, fourth: int | None) -> bool:
    """Whether two pairs of rates cost the same; not if a rate is missing."""
    return not (one is None or other is None or third is None or fourth is None) and one + other == third + fourth
