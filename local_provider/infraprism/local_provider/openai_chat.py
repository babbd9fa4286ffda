"""Chat completions of OpenAI and Azure OpenAI, and the legacy completions."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from infraprism.local_provider import billing
from infraprism.local_provider.billing_record import BilledTokens
from infraprism.local_provider.errors import error_body, error_object
from infraprism.local_provider.generated_text import chosen_tool, generated_text, instance_of, split_text
from infraprism.local_provider.provider_request import ProviderRequest
from infraprism.local_provider.provider_response import ProviderResponse, data_event, encoded
from infraprism.local_provider.stream_end import end_stream

_FINGERPRINT: Final = "fp_50cad350e4"
_DONE: Final = b"data: [DONE]\n\n"
_AUDIO: Final = "UklGRiQAAABXQVZFZm10IBAAAAABAAEA"
_SAFE: Final = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}


def chat(request: ProviderRequest) -> ProviderResponse:
    """POST /chat/completions."""
    choices = [_choice(request, index) for index in range(max(1, int(request.body.get("n") or 1)))]
    usage = _chat_usage(request, choices)
    head: dict[str, Any] = {
        "id": f"chatcmpl-{secrets.token_hex(14)}",
        "created": int(time.time()),
        "model": request.behaviour.response_model,
    }
    tier = service_tier(request)
    if request.streamed:
        return _stream(request, head, choices, usage, tier)
    body = {
        **head,
        "object": "chat.completion",
        "choices": choices,
        "usage": usage_json(usage),
        "service_tier": tier,
        "system_fingerprint": _FINGERPRINT,
    }
    if request.provider == "azure":
        body["prompt_filter_results"] = [{"prompt_index": 0, "content_filter_results": _SAFE}]
    without_usage = request.has_marker("no-usage")
    if without_usage:
        del body["usage"]
    return ProviderResponse(
        body=encoded(body),
        model=head["model"],
        response_id=head["id"],
        usage=usage,
        reported=None if without_usage else usage,
        service_tier=tier,
    )


def service_tier(request: ProviderRequest) -> str:
    """The service tier of the response: the requested one."""
    tier = request.body.get("service_tier")
    return {"flex": "flex", "priority": "priority", "fast": "priority"}.get(str(tier), "default")


def _choice(request: ProviderRequest, index: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None, "annotations": []}
    finish = "stop"
    definitions = [tool["function"] for tool in request.body.get("tools", []) if tool.get("type") == "function"]
    choice = request.body.get("tool_choice")
    tool = None
    if request.body["messages"][-1].get("role") != "tool":
        tool = chosen_tool(definitions, choice.get("function") if isinstance(choice, Mapping) else choice, request)
    if tool:
        function = {"name": tool[0], "arguments": tool[1]}
        message["tool_calls"] = [{"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}]
        finish = "tool_calls"
    elif "audio" in (request.body.get("modalities") or ()):
        message["audio"] = {
            "id": f"audio_{secrets.token_hex(12)}",
            "data": _AUDIO,
            "expires_at": int(time.time()) + 3600,
            "transcript": generated_text(request, index),
        }
    else:
        message["content"] = _content(request, index)
    return {"index": index, "message": message, "logprobs": None, "finish_reason": finish} | (
        {"content_filter_results": _SAFE} if request.provider == "azure" else {}
    )


def _content(request: ProviderRequest, index: int) -> str:
    response_format = request.body.get("response_format") or {}
    if response_format.get("type") == "json_schema":
        return encoded(instance_of(response_format["json_schema"].get("schema", {}), request)).decode()
    if response_format.get("type") == "json_object":
        return encoded({"answer": generated_text(request, index)}).decode()
    return generated_text(request, index)


def _chat_usage(request: ProviderRequest, choices: list[dict[str, Any]]) -> BilledTokens:
    text = "".join(_output_text(choice["message"]) for choice in choices)
    reasoning = billing.reasoning_tokens(request)
    audio_output = 25 + request.seed[4] % 60 if any("audio" in choice["message"] for choice in choices) else 0
    audio = billing.audio_input_tokens(request)
    total = billing.input_tokens(request) + audio
    cached = billing.cached_tokens(request, total)
    return BilledTokens(
        input_tokens=total,
        output_tokens=billing.output_tokens(request, text) + reasoning + audio_output,
        cache_read_tokens=cached,
        cache_write_tokens=cached // 3 if request.behaviour.bills_cache_writes else None,
        reasoning_tokens=reasoning,
        audio_input_tokens=audio,
        audio_output_tokens=audio_output,
    )


def _output_text(message: Mapping[str, Any]) -> str:
    tools = "".join(t["function"]["name"] + t["function"]["arguments"] for t in message.get("tool_calls", []))
    return tools or message["content"] or ""


def usage_json(usage: BilledTokens) -> dict[str, Any]:
    """The usage object of chat completions."""
    prompt = {"cached_tokens": usage.cache_read_tokens, "audio_tokens": usage.audio_input_tokens}
    if usage.cache_write_tokens is not None:
        prompt["cache_write_tokens"] = usage.cache_write_tokens
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": (usage.input_tokens or 0) + (usage.output_tokens or 0),
        "prompt_tokens_details": prompt,
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": usage.audio_output_tokens,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _stream(
    request: ProviderRequest, head: dict[str, Any], choices: list[dict[str, Any]], usage: BilledTokens, tier: str
) -> ProviderResponse:
    has_usage = bool((request.body.get("stream_options") or {}).get("include_usage")) and not request.has_marker(
        "no-usage"
    )
    common = {
        **head,
        "object": "chat.completion.chunk",
        "service_tier": tier,
        "system_fingerprint": _FINGERPRINT,
    } | ({"usage": None} if has_usage else {})

    def chunk(choice: dict[str, Any], delta: dict[str, Any], finish: str | None = None) -> bytes:
        entry = {"index": choice["index"], "delta": delta, "logprobs": None, "finish_reason": finish}
        return data_event(common | {"choices": [entry], "obfuscation": secrets.token_hex(3)})

    events = []
    if request.provider == "azure":
        # Azure's first chunk has an empty id, model and object, and no choices.
        filters = [{"prompt_index": 0, "content_filter_results": _SAFE}]
        blank = {"id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": filters}
        events.append(data_event(blank))
    for choice in choices:
        first, *rest = _deltas(request, choice["message"])
        events.append(chunk(choice, first))
        events += [chunk(choice, delta) for delta in rest]
        events.append(chunk(choice, {}, choice["finish_reason"]))
    if has_usage:
        events.append(data_event(common | {"choices": [], "usage": usage_json(usage), "obfuscation": ""}))
    events.append(_DONE)
    return end_stream(
        request,
        ProviderResponse(
            events=events,
            model=head["model"],
            response_id=head["id"],
            usage=usage,
            reported=usage if has_usage else None,
            service_tier=tier,
        ),
        data_event(error_body(error_object("stream-error", request), request)),
    )


def _deltas(request: ProviderRequest, message: Mapping[str, Any]) -> list[dict[str, Any]]:
    count = request.behaviour.chunks
    if tools := message.get("tool_calls"):
        first = {"index": 0, **tools[0], "function": {**tools[0]["function"], "arguments": ""}}
        arguments = split_text(tools[0]["function"]["arguments"], count)
        return [
            {"role": "assistant", "content": None, "tool_calls": [first], "refusal": None},
            *({"tool_calls": [{"index": 0, "function": {"arguments": part}}]} for part in arguments),
        ]
    if audio := message.get("audio"):
        transcript = [
            {"audio": {"id": audio["id"], "transcript": part}} for part in split_text(audio["transcript"], count)
        ]
        closing = [{"audio": {"data": audio["data"]}}, {"audio": {"expires_at": audio["expires_at"]}}]
        return [{"role": "assistant", "content": None, "refusal": None}, *transcript, *closing]
    opening = {"role": "assistant", "content": "", "refusal": None}
    return [opening, *({"content": part} for part in split_text(message["content"], count))]


def completion(request: ProviderRequest) -> ProviderResponse:
    """POST /completions, the legacy one."""
    prompt = request.body.get("prompt")
    count = (len(prompt) if isinstance(prompt, list) and prompt and isinstance(prompt[0], str) else 1) * max(
        1, int(request.body.get("n") or 1)
    )
    answers = [generated_text(request, index) for index in range(count)]
    usage = BilledTokens(
        input_tokens=billing.input_tokens(request), output_tokens=billing.output_tokens(request, "".join(answers))
    )
    counts = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": (usage.input_tokens or 0) + (usage.output_tokens or 0),
    }
    has_usage = not request.has_marker("no-usage")
    if request.streamed:
        has_usage = has_usage and bool((request.body.get("stream_options") or {}).get("include_usage"))
    head: dict[str, Any] = {
        "id": f"cmpl-{secrets.token_hex(14)}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": request.behaviour.response_model,
        "system_fingerprint": _FINGERPRINT,
    }

    def choice(index: int, text: str, finish: str | None) -> dict[str, Any]:
        return {"text": text, "index": index, "logprobs": None, "finish_reason": finish}

    response = ProviderResponse(
        model=head["model"], response_id=head["id"], usage=usage, reported=usage if has_usage else None
    )
    if not request.streamed:
        body = head | {"choices": [choice(index, text, "stop") for index, text in enumerate(answers)]}
        return replace(response, body=encoded(body | ({"usage": counts} if has_usage else {})))
    events = [
        data_event(head | {"choices": [choice(index, part, None)]})
        for index, text in enumerate(answers)
        for part in split_text(text, request.behaviour.chunks)
    ]
    events += [data_event(head | {"choices": [choice(index, "", "stop")]}) for index in range(count)]
    if has_usage:
        events.append(data_event(head | {"choices": [], "usage": counts}))
    events.append(_DONE)
    return end_stream(
        request,
        replace(response, events=events),
        data_event(error_body(error_object("stream-error", request), request)),
    )
