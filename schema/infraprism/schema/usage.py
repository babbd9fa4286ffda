"""Usage of one call, as reported by the provider."""

from typing import NamedTuple


class Usage(NamedTuple):
    """Counts of one call; None if the provider did not report a count, never 0 instead.

    As in the GenAI semantic conventions (`gen_ai.usage.*`), input includes cache reads, cache writes and audio, and
    output includes reasoning and audio. `cache_write_1h_tokens` is the part of `cache_write_tokens` with a lifetime of
    one hour.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    reasoning_tokens: int | None = None
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None
    web_searches: int | None = None
    search_context_size: str | None = None
    requests: int | None = None
