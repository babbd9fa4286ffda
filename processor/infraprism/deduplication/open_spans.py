"""Which spans near a call matter for settling it, though they are no calls: kept up on the application's threads.

Nothing of it is kept, and it costs nothing, until a span of another instrumentation than ours has ended. There are no
locks: a lost update makes a span that matters look as if it did not, and times and counts still tell.
"""

from __future__ import annotations

from typing import Final

from opentelemetry.sdk.trace import ReadableSpan

from infraprism.schema.call_context import INSTRUMENTATION_SCOPE

MAX_SPANS: Final = 4096
"""Spans remembered at a time, of each kind; all are forgotten when there are more."""
MAX_SCOPES: Final = 256


class OpenSpans:
    """`scopes`: the instrumentations that report calls. `awaited`: open spans with a call inside them."""

    __slots__ = ("awaited", "open_inside", "scopes")

    def __init__(self) -> None:
        self.scopes: set[str] = set()
        self.awaited: set[int] = set()
        self.open_inside: dict[int, int] = {}

    def started(self, span: ReadableSpan) -> None:
        """A span of one of `scopes` has started."""
        parent = span.parent
        if parent is not None:
            self.open_inside[parent.span_id] = self.open_inside.get(parent.span_id, 0) + 1

    def reported(self, span: ReadableSpan) -> bool:
        """A span that may be a call has ended; whether others of `scopes` that it is the parent of have not."""
        scope, parent = span.instrumentation_scope, span.parent
        name = "" if scope is None else scope.name
        if not self.scopes:
            if name == INSTRUMENTATION_SCOPE:
                return False
            self.scopes.add(INSTRUMENTATION_SCOPE)
        if len(self.scopes) < MAX_SCOPES:
            self.scopes.add(name)
        if parent is not None:
            self._count_down(parent.span_id)
            if not parent.is_remote:
                self._await(parent.span_id)
        self.awaited.discard(span.context.span_id)
        return span.context.span_id in self.open_inside

    def passed(self, span: ReadableSpan) -> None:
        """A span of `awaited` has ended, and is no call: what is around it may be."""
        self.awaited.discard(span.context.span_id)
        if span.parent is not None and not span.parent.is_remote:
            self._await(span.parent.span_id)

    def _await(self, span_id: int) -> None:
        if len(self.awaited) >= MAX_SPANS:
            self.awaited.clear()
        self.awaited.add(span_id)

    def _count_down(self, span_id: int) -> None:
        left = self.open_inside.pop(span_id, 0) - 1
        if left > 0:
            self.open_inside[span_id] = left
        elif len(self.open_inside) > MAX_SPANS:
            self.open_inside.clear()
