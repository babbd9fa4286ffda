"""OpenAI's embeddings, and the list of models."""

from __future__ import annotations

import sys
from array import array
from base64 import b64encode
from typing import Any, Final

from infraprism.local_provider import billing
from infraprism.local_provider.call import Call
from infraprism.local_provider.reply import Reply, encoded
from infraprism.local_provider.truth import Billed

_DIMENSIONS: Final = {"text-embedding-3-large": 3072}
_MODELS: Final = ("gpt-4o-2024-08-06", "gpt-4o-mini-2024-07-18", "gpt-5-mini-2025-08-07", "text-embedding-3-small")
_CREATED: Final = 1_721_172_741


def embeddings(call: Call) -> Reply:
    """POST /embeddings; numbers, or base64 of little-endian 32-bit floats, which the vendor's client asks for."""
    given = call.body.get("input")
    # A list of texts or of lists of tokens is a batch; a text or a list of tokens is one input.
    count = len(given) if isinstance(given, list) and given and not isinstance(given[0], int) else 1
    size = call.body.get("dimensions") or _DIMENSIONS.get(call.behaviour.answered_by, 1536)
    usage = Billed(input_tokens=billing.input_tokens(call))
    data = [{"object": "embedding", "index": index, "embedding": _vector(call, index, size)} for index in range(count)]
    body: dict[str, Any] = {"object": "list", "data": data, "model": call.behaviour.answered_by}
    silent = call.asks("no-usage")
    if not silent:
        body["usage"] = {"prompt_tokens": usage.input_tokens, "total_tokens": usage.input_tokens}
    return Reply(body=encoded(body), model=call.behaviour.answered_by, usage=usage, reported=None if silent else usage)


def _vector(call: Call, index: int, size: int) -> list[float] | str:
    seed = call.seed
    numbers = array("f", ((seed[(place + index) % 32] - 127.5) / 4096 for place in range(size)))
    if call.body.get("encoding_format") != "base64":
        return numbers.tolist()
    if sys.byteorder == "big":
        numbers.byteswap()
    return b64encode(numbers.tobytes()).decode()


def models(call: Call) -> Reply:
    """GET /models, as OpenAI and as Anthropic answer it."""
    if call.provider == "anthropic":
        known = [
            {
                "type": "model",
                "id": name,
                "display_name": name,
                "created_at": "2025-09-29T00:00:00Z",
                "lifecycle": "active",
            }
            for name in ("claude-sonnet-4-5-20250929", "claude-haiku-4-5-20251001")
        ]
        page = {"data": known, "has_more": False, "first_id": known[0]["id"], "last_id": known[-1]["id"]}
        return Reply(body=encoded(page))
    data = [{"id": name, "object": "model", "created": _CREATED, "owned_by": "system"} for name in _MODELS]
    return Reply(body=encoded({"object": "list", "data": data}))
