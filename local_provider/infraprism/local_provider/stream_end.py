"""The end of a stream: complete, truncated, or with an error event."""

from __future__ import annotations

from dataclasses import replace

from infraprism.local_provider.errors import error_object
from infraprism.local_provider.provider_request import ProviderRequest
from infraprism.local_provider.provider_response import ProviderResponse


def end_stream(request: ProviderRequest, response: ProviderResponse, error_event: bytes) -> ProviderResponse:
    """The stream complete, or cut or failing in the middle if the model has a marker for that."""
    failure = "drop" if request.has_marker("drop") else "stream-error" if request.has_marker("stream-error") else None
    if failure is None:
        return response
    sent = list(response.events[: max(1, len(response.events) // 2)])
    code = None if failure == "drop" else str(error_object(failure, request).get("code") or "overloaded_error")
    events = sent if failure == "drop" else [*sent, error_event]
    return replace(response, events=events, reported=None, error_code=code, cut=failure == "drop")
