"""How a stream ends: whole, or broken off where the model's name asks for that."""

from __future__ import annotations

from dataclasses import replace

from infraprism.local_provider.call import Call
from infraprism.local_provider.errors import error_object
from infraprism.local_provider.reply import Reply


def ending(call: Call, reply: Reply, error_event: bytes) -> Reply:
    """The stream as the model's name wants it to end: whole, cut in the middle, or with an error."""
    broken = "drop" if call.asks("drop") else "stream-error" if call.asks("stream-error") else None
    if broken is None:
        return reply
    kept = list(reply.events[: max(1, len(reply.events) // 2)])
    code = None if broken == "drop" else str(error_object(broken, call).get("code") or "overloaded_error")
    events = kept if broken == "drop" else [*kept, error_event]
    return replace(reply, events=events, reported=None, error_code=code, cut=broken == "drop")
