"""Records which spans deduplication needs although they report no call. Used on the application's threads.

Records nothing until a span of another instrumentation than ours has ended. There are no locks: a lost update means
that one such span is missed, and times and counts still show which spans report the same call.
"""

from __future__ import annotations

from typing import Final

from opentelemetry.sdk.trace import ReadableSpan

from infraprism.schema.call_context import INSTRUMENTATION_SCOPE

MAX_SPANS: Final = 4096
"""Spans remembered at a time, of each kind; if there are more, all are removed."""
MAX_SCOPES: Final = 256


class OpenSpans:
    """`scopes`: the scopes that report calls. `awaited`: span ids of open spans that have a call nested in them."""

    __slots__ = ("_open_children", "awaited", "scopes")

    def __init__(self) -> None:
        self.scopes: set[str] = set()
        self.awaited: set[int] = set()
        self._open_children: dict[int, int] = {}

    def started(self, span: ReadableSpan) -> None:
        """Record the start of a span by one of `scopes`."""
        parent = span.parent
        if parent is not None:
            self._open_children[parent.span_id] = self._open_children.get(parent.span_id, 0) + 1

    def reported(self, span: ReadableSpan) -> bool:
        """Record the end of a span that may report a call. Returns whether it has open child spans by `scopes`."""
        scope, parent = span.instrumentation_scope, span.parent
        name = "" if scope is None else scope.name
        if not self.scopes:
            if name == INSTRUMENTATION_SCOPE:
                return False
            self.scopes.add(INSTRUMENTATION_SCOPE)
        if len(self.scopes) < MAX_SCOPES:
            self.scopes.add(name)
        if parent is not None:
            self._remove_open_child(parent.span_id)
            if not parent.is_remote:
                self._await(parent.span_id)
        self.awaited.discard(span.context.span_id)
        return span.context.span_id in self._open_children

    def passed(self, span: ReadableSpan) -> None:
        """Record the end of an awaited span that reports no call; its parent is awaited then."""
        self.awaited.discard(span.context.span_id)
        if span.parent is not None and not span.parent.is_remote:
            self._await(span.parent.span_id)

    def _await(self, span_id: int) -> None:
        if len(self.awaited) >= MAX_SPANS:
            self.awaited.clear()
        self.awaited.add(span_id)

    def _remove_open_child(self, span_id: int) -> None:
        remaining = self._open_children.pop(span_id, 0) - 1
        if remaining > 0:
            self._open_children[span_id] = remaining
        elif len(self._open_children) > MAX_SPANS:
            self._open_children.clear()
