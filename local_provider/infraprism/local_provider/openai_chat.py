"""OpenAI chat completions, of OpenAI and of Azure, and the legacy completions beside them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from infraprism.local_provider import billing
from infraprism.local_provider.answers import answer_text, chosen_tool, instance_of, pieces
from infraprism.local_provider.call import Call
from infraprism.local_provider.errors import error_body, error_object
from infraprism.local_provider.reply import Reply, data_event, encoded
from infraprism.local_provider.stream_end import ending
from infraprism.local_provider.truth import Billed

_FINGERPRINT: Final = "fp_50cad350e4"
_DONE: Final = b"data: [DONE]\n\n"
_AUDIO: Final = "UklGRiQAAABXQVZFZm10IBAAAAABAAEA"
_SAFE: Final = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}


def chat(call: Call) -> Reply:
    """POST /chat/completions."""
    choices = [_choice(call, index) for index in range(max(1, int(call.body.get("n") or 1)))]
    usage = _chat_usage(call, choices)
    head: dict[str, Any] = {
        "id": f"chatcmpl-{secrets.token_hex(14)}",
        "created": int(time.time()),
        "model": call.behaviour.answered_by,
    }
    tier = service_tier(call)
    if call.streamed:
        return _stream(call, head, choices, usage, tier)
    body = {
        **head,
        "object": "chat.completion",
        "choices": choices,
        "usage": usage_json(usage),
        "service_tier": tier,
        "system_fingerprint": _FINGERPRINT,
    }
    if call.provider == "azure":
        body["prompt_filter_results"] = [{"prompt_index": 0, "content_filter_results": _SAFE}]
    silent = call.asks("no-usage")
    if silent:
        del body["usage"]
    return Reply(
        body=encoded(body),
        model=head["model"],
        response_id=head["id"],
        usage=usage,
        reported=None if silent else usage,
        service_tier=tier,
    )


def service_tier(call: Call) -> str:
    """The tier that serves the request: the one asked for."""
    asked = call.body.get("service_tier")
    return {"flex": "flex", "priority": "priority", "fast": "priority"}.get(str(asked), "default")


def _choice(call: Call, index: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None, "annotations": []}
    finish = "stop"
    definitions = [tool["function"] for tool in call.body.get("tools", []) if tool.get("type") == "function"]
    choice = call.body.get("tool_choice")
    tool = None
    if call.body["messages"][-1].get("role") != "tool":
        tool = chosen_tool(definitions, choice.get("function") if isinstance(choice, Mapping) else choice, call)
    if tool:
        function = {"name": tool[0], "arguments": tool[1]}
        message["tool_calls"] = [{"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}]
        finish = "tool_calls"
    elif "audio" in (call.body.get("modalities") or ()):
        message["audio"] = {
            "id": f"audio_{secrets.token_hex(12)}",
            "data": _AUDIO,
            "expires_at": int(time.time()) + 3600,
            "transcript": answer_text(call, index),
        }
    else:
        message["content"] = _content(call, index)
    return {"index": index, "message": message, "logprobs": None, "finish_reason": finish} | (
        {"content_filter_results": _SAFE} if call.provider == "azure" else {}
    )


def _content(call: Call, index: int) -> str:
    wanted = call.body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        return encoded(instance_of(wanted["json_schema"].get("schema", {}), call)).decode()
    if wanted.get("type") == "json_object":
        return encoded({"answer": answer_text(call, index)}).decode()
    return answer_text(call, index)


def _chat_usage(call: Call, choices: list[dict[str, Any]]) -> Billed:
    said = "".join(_said(choice["message"]) for choice in choices)
    reasoning = billing.reasoning_tokens(call)
    spoken = 25 + call.seed[4] % 60 if any("audio" in choice["message"] for choice in choices) else 0
    audio = billing.audio_input_tokens(call)
    total = billing.input_tokens(call) + audio
    cached = billing.cached_tokens(call, total)
    return Billed(
        input_tokens=total,
        output_tokens=billing.output_tokens(call, said) + reasoning + spoken,
        cache_read_tokens=cached,
        cache_write_tokens=cached // 3 if call.behaviour.bills_cache_writes else None,
        reasoning_tokens=reasoning,
        audio_input_tokens=audio,
        audio_output_tokens=spoken,
    )


def _said(message: Mapping[str, Any]) -> str:
    calls = "".join(call["function"]["name"] + call["function"]["arguments"] for call in message.get("tool_calls", []))
    return calls or message["content"] or ""


def usage_json(usage: Billed) -> dict[str, Any]:
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


def _stream(call: Call, head: dict[str, Any], choices: list[dict[str, Any]], usage: Billed, tier: str) -> Reply:
    told = bool((call.body.get("stream_options") or {}).get("include_usage")) and not call.asks("no-usage")
    common = {
        **head,
        "object": "chat.completion.chunk",
        "service_tier": tier,
        "system_fingerprint": _FINGERPRINT,
    } | ({"usage": None} if told else {})

    def chunk(choice: dict[str, Any], delta: dict[str, Any], finish: str | None = None) -> bytes:
        entry = {"index": choice["index"], "delta": delta, "logprobs": None, "finish_reason": finish}
        return data_event(common | {"choices": [entry], "obfuscation": secrets.token_hex(3)})

    events = []
    if call.provider == "azure":
        # Azure's first chunk has an empty id, model and object, and no choices.
        filters = [{"prompt_index": 0, "content_filter_results": _SAFE}]
        blank = {"id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": filters}
        events.append(data_event(blank))
    for choice in choices:
        first, *rest = _deltas(call, choice["message"])
        events.append(chunk(choice, first))
        events += [chunk(choice, delta) for delta in rest]
        events.append(chunk(choice, {}, choice["finish_reason"]))
    if told:
        events.append(data_event(common | {"choices": [], "usage": usage_json(usage), "obfuscation": ""}))
    events.append(_DONE)
    return ending(
        call,
        Reply(
            events=events,
            model=head["model"],
            response_id=head["id"],
            usage=usage,
            reported=usage if told else None,
            service_tier=tier,
        ),
        data_event(error_body(error_object("stream-error", call), call)),
    )


def _deltas(call: Call, message: Mapping[str, Any]) -> list[dict[str, Any]]:
    count = call.behaviour.chunks
    if tools := message.get("tool_calls"):
        first = {"index": 0, **tools[0], "function": {**tools[0]["function"], "arguments": ""}}
        arguments = pieces(tools[0]["function"]["arguments"], count)
        return [
            {"role": "assistant", "content": None, "tool_calls": [first], "refusal": None},
            *({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in arguments),
        ]
    if audio := message.get("audio"):
        spoken = [{"audio": {"id": audio["id"], "transcript": piece}} for piece in pieces(audio["transcript"], count)]
        closing = [{"audio": {"data": audio["data"]}}, {"audio": {"expires_at": audio["expires_at"]}}]
        return [{"role": "assistant", "content": None, "refusal": None}, *spoken, *closing]
    opening = {"role": "assistant", "content": "", "refusal": None}
    return [opening, *({"content": piece} for piece in pieces(message["content"], count))]


def completion(call: Call) -> Reply:
    """POST /completions, the legacy one."""
    prompt = call.body.get("prompt")
    count = (len(prompt) if isinstance(prompt, list) and prompt and isinstance(prompt[0], str) else 1) * max(
        1, int(call.body.get("n") or 1)
    )
    said = [answer_text(call, index) for index in range(count)]
    usage = Billed(input_tokens=billing.input_tokens(call), output_tokens=billing.output_tokens(call, "".join(said)))
    counts = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": (usage.input_tokens or 0) + (usage.output_tokens or 0),
    }
    told = not call.asks("no-usage")
    if call.streamed:
        told = told and bool((call.body.get("stream_options") or {}).get("include_usage"))
    head: dict[str, Any] = {
        "id": f"cmpl-{secrets.token_hex(14)}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": call.behaviour.answered_by,
        "system_fingerprint": _FINGERPRINT,
    }

    def choice(index: int, text: str, finish: str | None) -> dict[str, Any]:
        return {"text": text, "index": index, "logprobs": None, "finish_reason": finish}

    truth = Reply(model=head["model"], response_id=head["id"], usage=usage, reported=usage if told else None)
    if not call.streamed:
        body = head | {"choices": [choice(index, text, "stop") for index, text in enumerate(said)]}
        return replace(truth, body=encoded(body | ({"usage": counts} if told else {})))
    events = [
        data_event(head | {"choices": [choice(index, piece, None)]})
        for index, text in enumerate(said)
        for piece in pieces(text, call.behaviour.chunks)
    ]
    events += [data_event(head | {"choices": [choice(index, "", "stop")]}) for index in range(count)]
    if told:
        events.append(data_event(head | {"choices": [], "usage": counts}))
    events.append(_DONE)
    return ending(call, replace(truth, events=events), data_event(error_body(error_object("stream-error", call), call)))
