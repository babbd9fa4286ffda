"""Embeddings of OpenAI, and the list of models of OpenAI and Anthropic."""

from __future__ import annotations

import sys
from array import array
from base64 import b64encode
from typing import Any, Final

from infraprism.local_provider import billing
from infraprism.local_provider.billing_record import BilledTokens
from infraprism.local_provider.provider_request import ProviderRequest
from infraprism.local_provider.provider_response import ProviderResponse, encoded

_DIMENSIONS: Final = {"text-embedding-3-large": 3072}
_MODELS: Final = ("gpt-4o-2024-08-06", "gpt-4o-mini-2024-07-18", "gpt-5-mini-2025-08-07", "text-embedding-3-small")
_CREATED: Final = 1_721_172_741


def embeddings(request: ProviderRequest) -> ProviderResponse:
    """POST /embeddings: numbers, or base64 of little-endian 32-bit floats, which the vendor's client requests."""
    texts = request.body.get("input")
    # A list of texts or of lists of tokens is a batch; a text or a list of tokens is one input.
    count = len(texts) if isinstance(texts, list) and texts and not isinstance(texts[0], int) else 1
    size = request.body.get("dimensions") or _DIMENSIONS.get(request.behaviour.response_model, 1536)
    usage = BilledTokens(input_tokens=billing.input_tokens(request))
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(request, index, size)} for index in range(count)
    ]
    body: dict[str, Any] = {"object": "list", "data": data, "model": request.behaviour.response_model}
    without_usage = request.has_marker("no-usage")
    if not without_usage:
        body["usage"] = {"prompt_tokens": usage.input_tokens, "total_tokens": usage.input_tokens}
    return ProviderResponse(
        body=encoded(body),
        model=request.behaviour.response_model,
        usage=usage,
        reported=None if without_usage else usage,
    )


def _vector(request: ProviderRequest, index: int, size: int) -> list[float] | str:
    seed = request.seed
    numbers = array("f", ((seed[(place + index) % 32] - 127.5) / 4096 for place in range(size)))
    if request.body.get("encoding_format") != "base64":
        return numbers.tolist()
    if sys.byteorder == "big":
        numbers.byteswap()
    return b64encode(numbers.tobytes()).decode()


def models(request: ProviderRequest) -> ProviderResponse:
    """GET /models, of OpenAI or Anthropic."""
    if request.provider == "anthropic":
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
        return ProviderResponse(body=encoded(page))
    data = [{"id": name, "object": "model", "created": _CREATED, "owned_by": "system"} for name in _MODELS]
    return ProviderResponse(body=encoded({"object": "list", "data": data}))
