"""What one call used, as the provider's usage object says."""

from typing import NamedTuple


class Usage(NamedTuple):
    """Counts of one call; None where the provider did not report it, never 0 instead.

    The arithmetic is that of the GenAI semantic conventions (`gen_ai.usage.*`): input includes cache reads and
    writes and audio, output includes reasoning and audio. `cache_write_1h_tokens` is the part of
    `cache_write_tokens` that is kept for an hour.
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
