"""What a span of another dialect must be to be taken in: cleaned, as our collector's configuration leaves it.

Nothing of such a span is ever stored but the event that is made of it. What is more than metadata is refused all the
same, so that who sends whole spans here by mistake is told so. The keys come from the dialects' tables.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable
from typing import Final

from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from infraprism.backend.ingest.statement import EARLIEST_MS
from infraprism.dialects.guards import GUARDS, IDENTIFIER
from infraprism.providers import error_texts
from infraprism.schema import fields

SPAN_NAME: Final = "llm_call"
_DAY_MS: Final = 86_400_000
_STATUS_TEXT: Final = re.compile(error_texts.REDUCED)
_SCOPE: Final = re.compile(r"[A-Za-z0-9@._/-]{0,128}")
_SCALARS: Final = frozenset({"string_value", "bool_value", "int_value", "double_value"})


def sorted_out(groups: Iterable[ResourceSpans]) -> tuple[list[ResourceSpans], Counter[str]]:
    """The clean spans, in groups as they came, and how many others there were of each reason (`statement.REASONS`)."""
    latest_ms = time.time_ns() // 1_000_000 + _DAY_MS
    faults: Counter[str] = Counter()
    clean = []
    for group in groups:
        is_bare = not group.resource.attributes and not group.schema_url
        kept = ResourceSpans()
        for scoped in group.scope_spans:
            is_named = is_bare and _is_clean_scope(scoped)
            good = []
            for span in scoped.spans:
                fault = _fault(span, latest_ms) if is_named else "not_clean"
                if fault:
                    faults[fault] += 1
                else:
                    good.append(span)
            if good:
                kept.scope_spans.add(scope=scoped.scope, spans=good)
        clean.append(kept)
    return clean, faults


def _is_clean_scope(scoped: ScopeSpans) -> bool:
    scope = scoped.scope
    bare = not scope.version and not scope.attributes and not scoped.schema_url
    return bare and _SCOPE.fullmatch(scope.name) is not None


def _fault(span: Span, latest_ms: int) -> str:
    """Why a span is refused, the first reason that holds; empty if it is clean."""
    if len(span.trace_id) != 16 or len(span.span_id) != 8 or not any(span.trace_id) or not any(span.span_id):  # noqa: PLR2004  # OTLP's lengths
        return "bad_ids"
    if not EARLIEST_MS <= span.start_time_unix_nano // 1_000_000 <= latest_ms:
        return "bad_time"
    if not _is_bare(span):
        return "not_clean"
    return _fault_of_attributes(span)


def _is_bare(span: Span) -> bool:
    more = span.events or span.links or span.trace_state or span.name != SPAN_NAME
    return not more and _STATUS_TEXT.fullmatch(span.status.message) is not None


def _fault_of_attributes(span: Span) -> str:
    keys = [pair.key for pair in span.attributes]
    tags = [key for key in keys if key.startswith(fields.TAG_PREFIX)]
    if len(tags) > fields.MAX_TAGS:
        return "too_many_tags"
    if any(key not in GUARDS for key in keys if not key.startswith(fields.TAG_PREFIX)):
        return "unknown_key"
    if len(set(keys)) < len(keys):
        return "duplicate_key"
    return next((fault for pair in span.attributes if (fault := _fault_of_value(pair))), "")


def _fault_of_value(pair: KeyValue) -> str:
    kind = pair.value.WhichOneof("value")
    text = pair.value.string_value
    if pair.key.startswith(fields.TAG_PREFIX):
        if kind != "string_value":
            return "wrong_type"
        is_key = fields.TAG_KEY.fullmatch(pair.key.removeprefix(fields.TAG_PREFIX))
        return "" if is_key and IDENTIFIER.accepts(text) else "bad_value"
    if kind not in _SCALARS:
        return "wrong_type"
    return "" if GUARDS[pair.key].accepts(getattr(pair.value, kind)) else "bad_value"
