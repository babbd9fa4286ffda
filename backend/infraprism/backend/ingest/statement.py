"""Generates the SQL statement that validates the events of many requests and converts them to rows.

The statement is generated from the field table. Each attribute key is mapped to a numeric code, and each value is
checked against the type, closed list, pattern and bounds of its field. A span that fails a check gets a reason of
`REASONS` and is not stored. No sent key or value is ever repeated in a response.

The cost of the engine is per function and row. Therefore checks that apply to all attributes of a span (types, bounds,
unknown keys) are array functions over the codes, and only stored values become columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from types import MappingProxyType
from typing import Final

from infraprism.backend.store.database import ENTRIES, STAGED, Layout
from infraprism.backend.store.quoting import array, literal
from infraprism.backend.store.schema import NULLABLE_FIELDS, STORED_FIELDS
from infraprism.schema import fields
from infraprism.schema.fields import FIELDS, Field
from infraprism.schema.wire import SCOPE_NAME

REASONS: Final = {
    "bad_ids": "trace id of 16 bytes and span id of 8, neither all zero",
    "bad_time": "start time from 2020 until one day ahead",
    "expired": "start time within the retention period of the account",
    "deleted": "no event that starts before its entity, session, tag or period was deleted",
    "not_clean": "name `{operation} {model}`, scope `infraprism`, no resource, events, links, trace state or message;"
    " from another scope: a span as cleaned by our collector configuration",
    "too_many_tags": f"at most {fields.MAX_TAGS} tags",
    "unknown_key": "only keys of the field table; from another scope only keys of the dialect tables",
    "duplicate_key": "each key once",
    "missing_key": "all required keys",
    "wrong_type": "each value of its field's type",
    "bad_value": "each value in its field's list, pattern and bounds",
    "inconsistent": "total = input + output; entity type with id; cost with its status; error only on failure",
}
"""The reasons for rejecting a span, and what is expected instead."""

NO_EARLIEST: Final[Mapping[str, int]] = MappingProxyType({})
_MAX_MEMORY_BYTES: Final = 4 * 10**9
_BLOCKS: Final = 8
"""The number of blocks per batch: the intermediate columns of one block are in memory at a time."""

_PLAIN: Final = tuple(field for field in FIELDS if field.kind != "tags")
_REQUIRED: Final = tuple(f for f in _PLAIN if f.presence == "always" and f not in NULLABLE_FIELDS)

# The code of a key is its expected kind (the numbers of the enum below) times 64, plus its index in the field table.
_KINDS: Final = {"string": 1, "decimal": 1, "tags": 1, "bool": 2, "int": 3}
_CODES: Final = {field.name: 64 * _KINDS[field.kind] + place for place, field in enumerate(FIELDS)}
_ARRAYS: Final = {"string": "strings", "decimal": "strings", "int": "integers", "bool": "truths"}

_VALUE: Final = (
    "Tuple(kind Enum8('none' = 0, 'text' = 1, 'truth' = 2, 'integer' = 3, 'fraction' = 4),"
    " string_value String, bool_value Bool, int_value Int64)"
)
_SPAN: Final = (
    "Tuple(trace_id String, span_id String, trace_state String, name String, start_time_unix_nano UInt64,"
    f" attributes Array(Tuple(key String, value {_VALUE})), events Array(String), links Array(String),"
    " status Tuple(message String))"
)
STRUCTURE: Final = (
    "account LowCardinality(String), request UInt64, usage_detail Bool,"
    " body Tuple(resource_spans Array(Tuple(resource Tuple(attributes Array(String)), schema_url String,"
    " scope_spans Array(Tuple(scope Tuple(name String, version String, attributes Array(String)), schema_url String,"
    f" spans Array({_SPAN}))))))"
)
"""The columns of an entry (entry.proto)."""


LAYOUT: Final = Layout(resources.files(__package__).joinpath("entry.proto"), "Entry", STRUCTURE)


def stage(
    *,
    latest_ms: int,
    usage_detail: bool,
    requests: int,
    earliest_ms: Mapping[str, int] = NO_EARLIEST,
    deleted: Sequence[str] = (),
) -> str:
    """The statement that checks a batch of `requests` requests, and keeps it in the table of a lane.

    `latest_ms` is the latest start time that is accepted, `earliest_ms` the earliest of some accounts. A span
    that meets a condition of `deleted` is refused. Without `usage_detail` the opt-in columns are omitted, as in most
    batches.
    """
    names = ", ".join(("request", "reason", "account", "id", "timestamp", *columns(usage_detail=usage_detail)))
    return f"""
INSERT INTO {STAGED} ({names})
SELECT {names}
FROM ({_checked(latest_ms, earliest_ms, deleted, usage_detail=usage_detail)})
SETTINGS input_format_protobuf_oneof_presence = 1, short_circuit_function_evaluation = 'disable',
    optimize_and_compare_chain = 0, max_memory_usage = {_MAX_MEMORY_BYTES}, max_threads = 1,
    query_plan_merge_expressions = 0, max_block_size = {max(1, requests // _BLOCKS)}"""


def columns(*, usage_detail: bool) -> list[str]:
    """The columns of the fields that are stored."""
    return [field.name for field in _stored(usage_detail=usage_detail)]


def _checked(latest_ms: int, earliest_ms: Mapping[str, int], deleted: Sequence[str], *, usage_detail: bool) -> str:
    """One row per span: its request, account, reason (empty if accepted), identity and columns."""
    checks = (*_checks(earliest_ms), *(("deleted", condition) for condition in deleted))
    return f"""
SELECT
    request, account,
    multiIf({", ".join(f"fault_{i}, {literal(reason)}" for i, (reason, _) in enumerate(checks))}, '') AS reason,
    CAST(substring(SHA256(concat(trace_id, span_id)), 1, 16), 'FixedString(16)') AS id,
    fromUnixTimestamp64Milli(if(in_time, start_ms, 0), 'UTC') AS timestamp,
    {_lines(_column(field) for field in _stored(usage_detail=usage_detail))}
FROM (
SELECT *, {_lines(f"{check} AS fault_{i}" for i, (_, check) in enumerate(checks))}
FROM ({_found(latest_ms, usage_detail=usage_detail)}))"""


def _stored(*, usage_detail: bool) -> tuple[Field, ...]:
    return tuple(field for field in STORED_FIELDS if usage_detail or field.presence != "opt_in")


def _found(latest_ms: int, *, usage_detail: bool) -> str:
    # One subquery per step: an alias is analysed again at every use in its own subquery.
    checked = [field for field in _PLAIN if field.values or usage_detail or field.presence != "opt_in"]
    tag = _CODES["tags"]
    return f"""
SELECT *, {_lines(f"{_ARRAYS[field.kind]}[at_{field.name}] AS raw_{field.name}" for field in checked)}
FROM (
SELECT *, start_ms BETWEEN {fields.EARLIEST_TIMESTAMP_MS} AND {latest_ms} AS in_time,
    arrayMap(key -> substring(key, {len(fields.TAG_PREFIX) + 1}),
        arrayFilter((key, code) -> code = {tag}, keys, codes)) AS tag_keys,
    arrayFilter((text, code) -> code = {tag}, strings, codes) AS tag_values,
    {_lines(f"indexOf(codes, {_CODES[field.name]}) AS at_{field.name}" for field in checked)}
FROM (
SELECT *, arrayMap(key -> transform(key, {array(field.key for field in _PLAIN)},
        {[_CODES[field.name] for field in _PLAIN]},
        if(startsWith(key, {literal(fields.TAG_PREFIX)}), {tag}, 0)), keys) AS codes
FROM (
SELECT
    request, account, usage_detail, clean,
    span.trace_id AS trace_id, span.span_id AS span_id, span.name AS name,
    concat(span.trace_state, span.status.message) AS other_text, empty(span.events) AND empty(span.links) AS bare,
    toInt64(intDiv(span.start_time_unix_nano, 1000000)) AS start_ms,
    span.attributes.key AS keys, CAST(span.attributes.value.kind, 'Array(Int8)') AS kinds,
    span.attributes.value.string_value AS strings, span.attributes.value.int_value AS integers,
    span.attributes.value.bool_value AS truths
FROM ({_spans()}))))"""


def _spans() -> str:
    # Lambdas get parallel arrays and capture single bytes only: a captured resource or request would be copied for each
    # of its spans.
    return f"""
SELECT request, account, usage_detail, pair.1 AS span, pair.2 AS clean
FROM (
SELECT request, account, usage_detail, arrayJoin(arrayZip(spans, arrayFlatten(arrayMap((resource, scopes, counts) ->
    arrayMap((scope, count) -> arrayResize(emptyArrayUInt8(), count, toUInt8(resource AND scope)), scopes, counts),
    clean_resource, clean_scope, lengths)))) AS pair
FROM (
SELECT
    request, account, usage_detail,
    arrayFlatten(body.resource_spans.scope_spans.spans) AS spans,
    arrayMap(scopes -> arrayMap(spans -> length(spans), scopes), body.resource_spans.scope_spans.spans) AS lengths,
    arrayMap((attributes, url) -> empty(attributes) AND url = '',
        body.resource_spans.resource.attributes, body.resource_spans.schema_url) AS clean_resource,
    arrayMap((names, versions, attributes, urls) -> arrayMap(
            (name, version, attribute, url) -> name = {literal(SCOPE_NAME)}
                AND match(version, '^[0-9A-Za-z.+-]{{0,32}}$') AND empty(attribute) AND url = '',
            names, versions, attributes, urls),
        body.resource_spans.scope_spans.scope.name, body.resource_spans.scope_spans.scope.version,
        body.resource_spans.scope_spans.scope.attributes, body.resource_spans.scope_spans.schema_url) AS clean_scope
FROM {ENTRIES}))"""


def _checks(earliest_ms: Mapping[str, int]) -> tuple[tuple[str, str], ...]:
    # The first check that fails determines the reason.
    required = [_CODES[field.name] for field in _REQUIRED]
    return (
        ("bad_ids", _BAD_IDS),
        ("bad_time", "NOT in_time"),
        *_expired(earliest_ms),
        ("not_clean", "NOT (clean AND bare AND other_text = '')"),
        ("too_many_tags", f"length(tag_keys) > {fields.MAX_TAGS}"),
        ("unknown_key", "has(codes, 0)"),
        ("duplicate_key", "length(codes) + notEmpty(tag_keys) > arrayUniq(codes) + arrayUniq(tag_keys)"),
        ("missing_key", f"NOT hasAll(codes, {required})"),
        ("wrong_type", "arrayExists((code, kind) -> bitShiftRight(code, 6) != kind, codes, kinds)"),
        ("bad_value", f"NOT ({' AND '.join(_values_fit())})"),
        ("not_clean", "name != concat(raw_operation, ' ', raw_model)"),
        ("inconsistent", f"NOT ({' AND '.join(_CONSISTENT)})"),
    )


def _expired(earliest_ms: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    if earliest_ms:  # most batches have no event that may be expired
        earliest = f"transform(toString(account), {array(earliest_ms)}, {list(earliest_ms.values())}, toInt64(0))"
        yield "expired", f"start_ms < {earliest}"


_BAD_IDS: Final = (
    "length(trace_id) != 16 OR length(span_id) != 8 OR trace_id = unhex(repeat('00', 16))"
    " OR span_id = unhex(repeat('00', 8))"
)
_CONSISTENT: Final = (
    "(at_total_tokens > 0) = (at_input_tokens > 0 AND at_output_tokens > 0)",
    "(at_total_tokens = 0 OR raw_total_tokens = raw_input_tokens + raw_output_tokens)",
    "(at_entity_type > 0) = (at_entity_id > 0)",
    "(at_cost_usd > 0) = (raw_cost_status IN ('priced', 'provider_reported'))",
    "raw_success != (at_error_type > 0)",
    "NOT (raw_success AND at_error_code > 0)",
)
_TEXT_OF_CLASS: Final = re.compile(r"\^\(\?:(\[\^.*\])\{([01]),(\d+)\}\)\$", re.DOTALL)


def _values_fit() -> Iterator[str]:
    integers = [field for field in _PLAIN if field.kind == "int"]
    codes, limits = [_CODES[field.name] for field in integers], [field.maximum for field in integers]
    yield f"arrayAll((code, value) -> value BETWEEN 0 AND transform(code, {codes}, {limits}, 0), codes, integers)"
    one_line: dict[str, list[str]] = {}
    for field in FIELDS:
        text = "arrayStringConcat(tag_values)" if field.kind == "tags" else f"raw_{field.name}"
        if found := _TEXT_OF_CLASS.fullmatch(field.re2):
            # RE2 expands a counted Unicode class and then matches slowly. Therefore the excluded class is searched
            # once, in all strings together, and the length is checked separately.
            excluded, least, most = found.groups()
            one_line.setdefault(excluded.replace("[^", "[", 1), []).append(text)
            if field.kind == "tags":
                yield f"arrayAll(text -> lengthUTF8(text) <= {most}, tag_values)"
            else:
                yield f"lengthUTF8({text}) <= {most}" + (f" AND (at_{field.name} = 0 OR {text} != '')" if least else "")
        elif field.values or field.pattern:
            fits = f"IN {field.values}" if field.values else f"REGEXP {literal(field.re2)}"
            yield f"({'' if field in _REQUIRED else f'at_{field.name} = 0 OR '}{text} {fits})"
    for excluded, texts in one_line.items():
        joined = f"concat({', '.join(texts)})"
        yield f"NOT match({joined}, {literal(excluded)}) AND isValidUTF8({joined})"
    yield f"arrayAll(key -> match(key, {literal(f'^(?:{fields.TAG_KEY.pattern})$')}), tag_keys)"


def _column(field: Field) -> str:
    """The column of a checked value. An absent string is the empty string; other absent values are NULL."""
    if field.kind == "tags":
        pairs = "arraySort(pair -> pair.1, arrayZip(tag_keys, tag_values))"
        return f"CAST({pairs}, 'Map(LowCardinality(String), String)') AS tags"
    value = f"raw_{field.name}"
    if field.presence == "opt_in":
        present = f"usage_detail AND at_{field.name} > 0"
        return f"if({present}, {value}, {'NULL' if field.kind != 'string' else literal('')}) AS {field.name}"
    if field.kind == "decimal":
        return f"toDecimal128OrNull({value}, {fields.MAX_COST_DIGITS}) AS {field.name}"
    if field in NULLABLE_FIELDS:
        return f"if(at_{field.name} > 0, {value}, NULL) AS {field.name}"
    return f"{value} AS {field.name}"


def _lines(parts: Iterable[str]) -> str:
    return ",\n    ".join(parts)
