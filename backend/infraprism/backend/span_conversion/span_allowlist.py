"""What a span of another dialect must be to be taken in: cleaned, as our collector's configuration leaves it.

Nothing of such a span is ever stored but the event that is made of it. What is more than metadata is refused all the
same, so that who sends whole spans here by mistake is told so. The keys come from the dialects' tables.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from infraprism.backend.ingest.statement import EARLIEST_MS
from infraprism.dialects import DIALECTS, values
from infraprism.dialects.table import READERS, As, Dialect, Entry, key_of
from infraprism.providers import error_messages
from infraprism.schema import fields

SPAN_NAME: Final = "llm_call"
EXCEPTION_TYPE: Final = "exception.type"
"""Where the class of an exception stands that the span recorded."""
_DAY_MS: Final = 86_400_000
_FREE: Final = frozenset({"session_on_span"})
"""Fields that may be anything, which no key of stands on a cleaned span."""

_WORD: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:/@+-]{0,127}")
_FINGERPRINT: Final = re.compile("[0-9a-f]{64}")
_AMOUNT: Final = re.compile(r"[0-9][0-9.eE+-]{0,40}")
_STATUS_TEXT: Final = re.compile(error_messages.REDUCED_MESSAGE)
_SCOPE: Final = re.compile(r"[A-Za-z0-9@._/-]{0,128}")
_NUMBERS: Final = frozenset({values.count, values.flag, values.failure, values.seconds, values.milliseconds})
_SCALARS: Final = frozenset({"bool_value", "int_value", "double_value"})

Texts = tuple[re.Pattern[str], ...]
"""The patterns of which a key's text must match one; with none, only numbers and yes or no may stand there."""


def _texts() -> dict[str, Texts]:
    found: dict[str, set[re.Pattern[str]]] = {EXCEPTION_TYPE: {_WORD}}
    for dialect in DIALECTS:
        for field, entries in dialect.keys.items():
            for entry in entries if field not in _FREE else ():
                found.setdefault(key_of(entry), set()).update(_patterns(dialect, field, entry))
        for key in dialect.marker_keys():
            found.setdefault(key, set())
    for of in (fields.ENTITY_TYPE, fields.ENTITY_ID, fields.SESSION_ID):
        found[of.key] = {of.regex}
    return {key: tuple(patterns) for key, patterns in found.items()}


def _patterns(dialect: Dialect, field: str, entry: Entry) -> Iterator[re.Pattern[str]]:
    reader = entry.reader if isinstance(entry, As) else READERS[field]
    if isinstance(reader, values.Words):
        yield re.compile("|".join(re.escape(word) for word, _ in reader.means))
    elif field == "response_id":
        yield _FINGERPRINT
    elif reader is values.money:
        yield _AMOUNT
    elif reader not in _NUMBERS:
        yield _WORD
        if field == "operation":
            yield re.compile("|".join(map(re.escape, dialect.operations)))


KEYS: Final[Mapping[str, Texts]] = _texts()
"""Every key that may stand on a cleaned span, but for the tags'."""


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
    if any(key not in KEYS for key in keys if not key.startswith(fields.TAG_PREFIX)):
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
        return "" if is_key and fields.TAGS.regex.fullmatch(text) else "bad_value"
    if kind in _SCALARS:
        return ""
    if kind != "string_value":
        return "wrong_type"
    return "" if any(pattern.fullmatch(text) for pattern in KEYS[pair.key]) else "bad_value"
