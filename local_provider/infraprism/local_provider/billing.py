"""How many tokens a request costs: from the request alone, different for every prompt, never a constant."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from infraprism.local_provider.call import Call

_CHARACTERS_PER_TOKEN: Final = 4
CACHEABLE: Final = 1024
"""Tokens from which on OpenAI reads a prompt that it has seen from its cache, and in steps of which."""
_CACHE_STEP: Final = 128


def tokens_of(text: str | bytes) -> int:
    """About four characters a token, at least one."""
    return max(1, len(text) // _CHARACTERS_PER_TOKEN)


def input_tokens(call: Call) -> int:
    """Tokens of the whole prompt; the same whichever endpoint counts them."""
    earlier = call.memory.stored_tokens(str(call.body.get("previous_response_id"))) or 0
    return 7 + tokens_of(call.prompt) + call.seed[0] % 29 + earlier


def output_tokens(call: Call, said: str) -> int:
    """Tokens of an answer."""
    return 3 + tokens_of(said) + call.seed[1] % 11


def reasoning_tokens(call: Call) -> int:
    """Hidden thoughts of OpenAI's reasoning models; part of the output tokens."""
    return 64 + call.seed[2] if call.behaviour.reasons else 0


def cached_tokens(call: Call, total: int) -> int:
    """Input tokens that OpenAI reads from its cache: of a long prompt seen before, or where the model's name says."""
    if call.asks("cached"):
        return max(1, total // 2)
    if total < CACHEABLE or not call.memory.is_cached(call.seed):
        return 0
    return total - total % _CACHE_STEP


def audio_input_tokens(call: Call) -> int:
    """Tokens of the audio in the prompt."""
    return 20 + call.seed[3] % 50 if b'"input_audio"' in call.prompt else 0


def anthropic_cache(call: Call, total: int) -> tuple[int, int, int]:
    """Tokens read from the cache, written to it for five minutes, and written for an hour.

    What stands before a `cache_control` mark is written the first time and read from then on.
    """
    if call.asks("cached"):
        return total // 3, total // 4, total // 5
    sizes = {"read": 0, "5m": 0, "1h": 0}
    prefix = call.behaviour.answered_by.encode()
    for block in _blocks(call.body):
        prefix += json.dumps({key: value for key, value in block.items() if key != "cache_control"}).encode()
        control = block.get("cache_control")
        if isinstance(control, Mapping):
            size = min(tokens_of(prefix), total) - sum(sizes.values())
            lifetime = "1h" if control.get("ttl") == "1h" else "5m"
            sizes["read" if call.memory.is_cached(prefix) else lifetime] += size
    return sizes["read"], sizes["5m"], sizes["1h"]


def _blocks(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Every block of an Anthropic prompt in the order that its cache reads them."""
    found = [*body.get("tools", []), *_content(body.get("system"))]
    for message in body.get("messages", []):
        found += _content(message.get("content"))
    return [block for block in found if isinstance(block, Mapping)]


def _content(content: object) -> list[Any]:
    return list(content) if isinstance(content, list) else [{"type": "text", "text": content or ""}]
