"""Token counts of a request: computed from the request alone, and different for every prompt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from infraprism.local_provider.provider_request import ProviderRequest

_CHARACTERS_PER_TOKEN: Final = 4
CACHEABLE: Final = 1024
"""The least tokens of a prompt that OpenAI caches."""
_CACHE_STEP: Final = 128
"""The unit in which OpenAI caches a prompt."""


def tokens_of(text: str | bytes) -> int:
    """About one token per four characters, at least one."""
    return max(1, len(text) // _CHARACTERS_PER_TOKEN)


def input_tokens(request: ProviderRequest) -> int:
    """Tokens of the prompt, the same for each endpoint that counts them."""
    earlier = request.state.stored_tokens(str(request.body.get("previous_response_id"))) or 0
    return 7 + tokens_of(request.prompt) + request.seed[0] % 29 + earlier


def output_tokens(request: ProviderRequest, text: str) -> int:
    """Tokens of a response with this text."""
    return 3 + tokens_of(text) + request.seed[1] % 11


def reasoning_tokens(request: ProviderRequest) -> int:
    """Reasoning tokens of OpenAI's reasoning models. They are part of the output tokens."""
    return 64 + request.seed[2] if request.behaviour.reasons else 0


def cached_tokens(request: ProviderRequest, total: int) -> int:
    """Input tokens read from OpenAI's cache: of a long prompt that was sent before, or if the model has the marker."""
    if request.has_marker("cached"):
        return max(1, total // 2)
    if total < CACHEABLE or not request.state.is_cached(request.seed):
        return 0
    return total - total % _CACHE_STEP


def audio_input_tokens(request: ProviderRequest) -> int:
    """Tokens of the audio in the prompt."""
    return 20 + request.seed[3] % 50 if b'"input_audio"' in request.prompt else 0


def anthropic_cache(request: ProviderRequest, total: int) -> tuple[int, int, int]:
    """Tokens read from the cache, written to it for five minutes, and written for an hour.

    A prefix that ends with `cache_control` is written the first time and read from then on.
    """
    if request.has_marker("cached"):
        return total // 3, total // 4, total // 5
    sizes = {"read": 0, "5m": 0, "1h": 0}
    prefix = request.behaviour.response_model.encode()
    for block in _blocks(request.body):
        prefix += json.dumps({key: value for key, value in block.items() if key != "cache_control"}).encode()
        control = block.get("cache_control")
        if isinstance(control, Mapping):
            size = min(tokens_of(prefix), total) - sum(sizes.values())
            lifetime = "1h" if control.get("ttl") == "1h" else "5m"
            sizes["read" if request.state.is_cached(prefix) else lifetime] += size
    return sizes["read"], sizes["5m"], sizes["1h"]


def _blocks(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Every block of an Anthropic prompt in the order that its cache reads them."""
    found = [*body.get("tools", []), *_content(body.get("system"))]
    for message in body.get("messages", []):
        found += _content(message.get("content"))
    return [block for block in found if isinstance(block, Mapping)]


def _content(content: object) -> list[Any]:
    return list(content) if isinstance(content, list) else [{"type": "text", "text": content or ""}]
