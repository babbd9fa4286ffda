"""One billed call is one event, however many instrumentations report it: what is known while the call is under way.

Spans that start while a client call which our own instrumentation measures is under way belong to that call (the
anthropic package makes spans of its own, for example). They never become events. All other spans of a call are
settled when they have ended: see `infraprism.deduplication`.

Our own instrumentation starts the call's span first and then sets `call_in_progress`, so that its own span is not one
of those.

The official instrumentations have a context key of theirs by which an outer one silences an inner one
(`CLIENT_INFERENCE_CONTEXT_KEY` of opentelemetry-util-genai). Ours honours it where the application looks: while it is
set, our span is not among the application's own. It is still made, and reaches the processor beside the official one,
since its numbers are more exact and the official span may go elsewhere; settling makes one event of the two. Ours does
not set the key, which would take spans from a user who wants them.
"""

from __future__ import annotations

from contextvars import ContextVar
from enum import Enum
from typing import Final

INSTRUMENTATION_SCOPE: Final = "infraprism.instrumentation"
"""The instrumentation scope of our own spans. Their numbers are the provider's, read where the answer arrives."""


class Suppressed(Enum):
    """The type of `SUPPRESSED`."""

    SUPPRESSED = "suppressed"


SUPPRESSED: Final = Suppressed.SUPPRESSED
"""Recorded for a span that started while a measured call was in progress: it never becomes an event."""


call_in_progress: Final[ContextVar[object]] = ContextVar("infraprism.call_in_progress", default=None)
"""Something true while a client call that our own instrumentation measures is under way in this context.

A task that an application starts meanwhile, from a hook of its HTTP client for example, copies the context and may
outlive the call. So what is set must become untrue with the end of the call, in every copy: a list that is emptied.
"""
