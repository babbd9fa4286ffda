"""Usage times rates: which counts a call is billed for, and at what rate each.

A `Rates` holds whole numbers of 1e-24 USD for one token, request or search; None is "no such rate". The counts are
those of the GenAI semantic conventions: input includes cache reads, cache writes and audio; output includes reasoning
and audio. A count that was not reported counts as zero beside a total that was, for then the provider billed the total
alone. A count without a rate, or counts that contradict each other, leave the call unpriced: the reasons come back
instead of the lines.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, NamedTuple

from infraprism.pricing import money
from infraprism.schema.fields import MAX_TOKENS
from infraprism.schema.usage import Usage

Fee = int | Mapping[str, int] | None
"""1e-24 USD a piece, or by the size of the search context (low, medium, high)."""


class Rates(NamedTuple):
    """1e-24 USD for one token of each class, one web search, one request."""

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
    """One line of a bill: so many pieces of one class at `rate` each, in 1e-24 USD."""

    name: str
    pieces: int
    rate: int


class Plain(NamedTuple):
    """The rates of most calls, with text and cached text alone: what their counts are multiplied with.

    It gives the same sum as `Bill`, which knows what to say of all other calls. What is None has no rate.
    """

    until_tokens: int = 0
    """The number of input tokens from which on other rates hold."""
    input: int = 0
    output: int = 0
    read_more: int | None = None
    """How much more (or, negative, less) than another input token one that was read from the cache costs."""
    write_more: int | None = None
    hour_more: int | None = None
    """How much more it costs to keep a token for an hour than to write it."""
    unit: Decimal | None = None
    """What all of these are multiples of, in USD: a power of ten."""


NOT_PLAIN: Final = Plain()
"""Stands for rates that have no short form."""


def plain(rates: Rates, until_tokens: int) -> Plain:
    """The short form of rates that hold up to a number of input tokens.

    There is none where a request has a fee, reasoning a rate of its own, or a rate more digits than a cost can have.
    """
    given, answered = rates.input, rates.output
    if given is None or answered is None or rates.reasoning is not None or rates.request is not None:
        return NOT_PLAIN
    read, written, hour = rates.cache_read, rates.cache_write, rates.cache_write_1h
    places = money.places(given, answered, read or 0, written or 0, hour or 0)
    if places > money.COST_PLACES:
        return NOT_PLAIN
    unit = 10 ** (money.PLACES - places)

    def more(rate: int | None, than: int | None) -> int | None:
        return None if rate is None or than is None else (rate - than) // unit

    return Plain(
        min(until_tokens, MAX_TOKENS + 1),
        given // unit,
        answered // unit,
        more(read, given),
        more(written, given),
        more(hour, written),
        money.power(places),
    )


class Bill:
    """The lines of one call, and the reasons why they are not all: only without reasons is their sum a price."""

    __slots__ = ("lines", "missing")

    def __init__(self, rates: Rates, usage: Usage) -> None:
        self.lines: list[Line] = []
        self.missing: list[str] = []
        if rates.input is None and rates.output is None:
            self.missing.append("the model is not billed by text tokens alone")
        self._input(rates, usage)
        self._output(rates, usage)
        self._fees(rates, usage)

    @property
    def cost(self) -> int:
        """The sum of the lines, in 1e-24 USD."""
        return sum(line.pieces * line.rate for line in self.lines)

    def _add(self, name: str, pieces: int, rate: int | None) -> None:
        if not 0 <= pieces <= MAX_TOKENS:
            self.missing.append(f"no call has {pieces} of {name}")
        elif rate is None:
            if pieces:
                self.missing.append(f"no rate for {name}")
        elif pieces:
            self.lines.append(Line(name, pieces, rate))

    def _rest(self, side: str, plain: int, total: int, rate: int | None) -> None:
        if not 0 <= plain <= total <= MAX_TOKENS:
            self.missing.append(f"the counts of {side} tokens contradict each other")
        else:
            self._add(side, plain, rate)

    def _input(self, rates: Rates, usage: Usage) -> None:
        if usage.input_tokens is None:
            if rates.input:
                self.missing.append("input tokens were not reported")
            return
        plain = usage.input_tokens - self._writes(rates, usage)
        plain -= self._reads_and_audio(rates, usage, plain)
        self._rest("input", plain, usage.input_tokens, rates.input)

    def _writes(self, rates: Rates, usage: Usage) -> int:
        hour = usage.cache_write_1h_tokens or 0
        written = hour if usage.cache_write_tokens is None else usage.cache_write_tokens
        if not 0 <= hour <= written:
            self.missing.append("more tokens were cached for an hour than were cached")
            return written
        self._add("cache_write", written - hour, rates.cache_write)
        self._add("cache_write_1h", hour, rates.cache_write_1h)
        return written

    def _reads_and_audio(self, rates: Rates, usage: Usage, unwritten: int) -> int:
        """Cache reads, and audio beside them.

        How much of the audio was read from the cache is not reported. It lies between two bounds, and only where it
        makes no difference which of them holds is there a price.
        """
        audio, read = usage.audio_input_tokens or 0, usage.cache_read_tokens or 0
        least, most = max(0, audio + read - unwritten), min(audio, read)
        if not 0 <= least <= most:
            self.missing.append("the counts of input tokens contradict each other")
            return 0
        if least < most and not _is_the_same(rates.input, rates.audio_cache_read, rates.audio_input, rates.cache_read):
            self.missing.append("how much of the audio was read from the cache was not reported")
        self._add("cache_read", read - least, rates.cache_read)
        self._add("audio_input", audio - least, rates.audio_input)
        self._add("audio_cache_read", least, rates.audio_cache_read)
        return audio + read - least

    def _output(self, rates: Rates, usage: Usage) -> None:
        total = usage.output_tokens
        if total is None:
            if rates.output:
                self.missing.append("output tokens were not reported")
            return
        audio = usage.audio_output_tokens or 0
        self._add("audio_output", audio, rates.audio_output)
        # Reasoning is part of the output; few providers have a rate of its own for it.
        reasoning = usage.reasoning_tokens or 0
        if not 0 <= reasoning <= total:
            self.missing.append("there was more reasoning than output")
        if rates.reasoning is None:
            reasoning = 0
        elif usage.reasoning_tokens is None:
            self.missing.append("reasoning tokens have a rate of their own and were not reported")
        self._add("reasoning", reasoning, rates.reasoning)
        self._rest("output", total - audio - reasoning, total, rates.output)

    def _fees(self, rates: Rates, usage: Usage) -> None:
        if rates.request is not None:
            # One call is one request, and its fee pays for the searches that it makes.
            requests = 1 if usage.requests is None else usage.requests
            self._add("request", requests, self._by_size(rates.request, usage))
        elif usage.web_searches is not None:
            self._add("web_search", usage.web_searches, self._by_size(rates.web_search, usage))
        elif rates.web_search is not None and rates.reasoning is not None:
            self.missing.append("the searches of a research call were not reported")

    def _by_size(self, fee: Fee, usage: Usage) -> int | None:
        if not isinstance(fee, Mapping):
            return fee
        size = usage.search_context_size
        rate = fee.get(size.lower()) if isinstance(size, str) else None
        if rate is None:
            self.missing.append("the fee depends on the size of the search context, which was not reported")
        return rate


def _is_the_same(one: int | None, other: int | None, third: int | None, fourth: int | None) -> bool:
    """Whether two pairs of rates cost the same; not if one of them is missing."""
    return not (one is None or other is None or third is None or fourth is None) and one + other == third + fourth
