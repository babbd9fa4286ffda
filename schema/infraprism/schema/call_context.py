"""Context of a client call in progress: which spans belong to a call that InfraPrism's instrumentation measures.

A span that starts while such a call is in progress is part of it (the anthropic package creates spans of its own, for
example) and never becomes an event. All other spans that report a call are deduplicated after they have ended, see
`infraprism.deduplication`. The instrumentation starts its own span before it sets `call_in_progress`.

opentelemetry-util-genai has a context key (`CLIENT_INFERENCE_CONTEXT_KEY`) by which an outer instrumentation
suppresses an inner one. While it is set, InfraPrism adds no span to the application's telemetry. The span is still
created and passed to the span processor, because its counts are more exact and the other span may go elsewhere;
deduplication makes one event of both. InfraPrism does not set the key, since that would remove spans that a user wants.
"""

from __future__ import annotations

from contextvars import ContextVar
from enum import Enum
from typing import Final

INSTRUMENTATION_SCOPE: Final = "infraprism.instrumentation"
"""Name of the instrumentation scope of InfraPrism's own spans."""
BACKGROUND_STATE: Final = "infraprism.response.background"
"""Attribute of our spans of responses made in the background: BACKGROUND_PENDING or BACKGROUND_RESULT."""
BACKGROUND_PENDING: Final = "pending"
"""The request was accepted; the usage is in a response that is retrieved later."""
BACKGROUND_RESULT: Final = "result"
"""The response is complete, and the span has its usage if the provider reported any."""
CREATED_AT: Final = "infraprism.response.created_at"
"""Attribute of the same spans: when the provider created the response, in seconds since 1970."""
COMPLETED_AT: Final = "infraprism.response.completed_at"
"""The same for when it was completed."""


class Suppressed(Enum):
    """The type of `SUPPRESSED`."""

    SUPPRESSED = "suppressed"


SUPPRESSED: Final = Suppressed.SUPPRESSED
"""Recorded for a span that started while a measured call was in progress: it never becomes an event."""


call_in_progress: Final[ContextVar[object]] = ContextVar("infraprism.call_in_progress", default=None)
"""Holds a non-empty list while a measured client call is in progress in this context.

A task that the application starts during the call, for example in a hook of its HTTP client, copies the context and
may outlive the call. The end of the call empties the list, so that it is false in every copy.
"""
