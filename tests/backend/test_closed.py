"""Only what the field table allows is stored, and nothing else is written to the disk."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.kit.any_event import any_event
from tests.kit.backend import Backend, set_attribute, span
from tests.kit.events import event
from tests.kit.search import find_canaries

from infraprism.backend.store import schema
from infraprism.schema import FIELDS, Event, Field, wire
from infraprism.schema.event import MAX_TIMESTAMP_NS

CANARIES = [f"canary{number}zq8secret" for number in range(12)]
BY_NAME = {field.name: field for field in FIELDS}

_values = st.one_of(
    st.text(max_size=300),
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.floats(),
    st.binary(max_size=5),
    st.sampled_from([value for field in FIELDS for value in (field.example, *field.values)]),
    st.just(["x"]),
)
_keys = (
    st.sampled_from([field.key for field in FIELDS]) | st.from_regex(r"infraprism\.tags\..{0,6}") | st.text(max_size=9)
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(any_event(), st.dictionaries(_keys, _values, max_size=3)), min_size=10, max_size=60))
def test_every_stored_event_satisfies_the_field_table(
    backend: Backend, made: list[tuple[Event, dict[str, Any]]]
) -> None:
    key = backend.add_account(usage_detail=True)
    sent = [span(one, usage_detail=True, **changes) for one, changes in made]
    answer = backend.export(*sent, key=key)
    stored = {found["id"]: found for found in backend.events(key)}
    assert answer.rejected + len(stored) <= len(sent)
    originals = {original.id: original for original, _ in made}
    for event_id, found in stored.items():
        for name, value in found.items():
            if name in BY_NAME and value is not None:
                assert_allowed(name, value)
        assert set(found) == {"id", "timestamp", *BY_NAME}
        assert event_id in originals
    by_id: dict[str, int] = {}
    for one, _ in made:
        by_id[one.id] = by_id.get(one.id, 0) + 1
    for one, changes in made:
        if not changes and by_id[one.id] == 1 and _has_identity(one):
            assert_same(stored[one.id], one)


def _has_identity(one: Event) -> bool:
    latest_ns = time.time_ns() + 86_000 * 10**9
    return bool(one.trace_id and one.span_id) and 1_577_836_800 * 10**9 <= one.timestamp_ns < min(
        latest_ns, MAX_TIMESTAMP_NS
    )


def assert_allowed(name: str, value: Any) -> None:
    field = BY_NAME[name]
    if field.kind == "int":
        assert type(value) is int
        assert 0 <= value <= field.maximum
    elif field.kind == "bool":
        assert type(value) is bool
    elif field.kind == "tags":
        assert len(value) <= 32
        assert all(re.fullmatch(r"[a-z][a-z0-9_.-]{0,63}", key) for key in value)
        assert all(field.regex.fullmatch(text) for text in value.values())
    elif field.kind == "string":
        assert field.regex.fullmatch(value)


def assert_same(stored: dict[str, Any], one: Event) -> None:
    for name in BY_NAME:
        expected = dict(one.tags) if name == "tags" else getattr(one, name)
        assert stored[name] == expected, name


def test_an_event_of_the_exporter_is_stored_unchanged(
    backend: Backend, account: str, new_event: Callable[..., Event]
) -> None:
    made = new_event(tags={f"k{number}": "v" for number in range(32)}, success=False, error_code="429")
    assert backend.export(span(made), key=account).rejected == 0
    assert_same(backend.events(account)[0] | dict.fromkeys(f.name for f in FIELDS if f.presence == "opt_in"), made)


def _invalid_spans() -> list[Span]:
    made = [span(event(number)) for number in range(1, 10)]
    set_attribute(made[0], "gen_ai.prompt", CANARIES[0])
    set_attribute(made[1], CANARIES[1], "x")
    made[2].name = CANARIES[2]
    made[3].status.message = CANARIES[3]
    made[4].events.add(name=CANARIES[4]).attributes.add(key="x").value.string_value = CANARIES[4]
    made[5].trace_state = CANARIES[5]
    set_attribute(made[6], "infraprism.tags.a", f"{CANARIES[6]}\nsecond line")
    del made[7].attributes[:]
    for key, value in wire.attributes(event(8)).items():
        set_attribute(made[7], key, f"{CANARIES[7]} and more" if key == "infraprism.model" else value)
    made[8].links.add(trace_state=CANARIES[8])
    return made


def test_nothing_of_a_rejected_span_is_written_to_the_disk(tmp_path: Path) -> None:
    with Backend(tmp_path / "data", key="ip-canary9zq8secret") as backend:
        kept = event(100, session_id="the-kept-session")
        for compress in (False, True):
            answer = backend.export(*_invalid_spans(), span(kept), compress=compress)
            assert answer.rejected == 9
            assert not find_canaries(CANARIES, answer.body)
        backend.export(body=CANARIES[10].encode())
        backend.http("/v1/traces", CANARIES[11].encode(), {"content-type": "application/json"})
        backend.get("/v1/events", entity_id=CANARIES[10], nothing=CANARIES[11])
        assert len(backend.events()) == 1
        # While the server runs, and after it has stopped.
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert not [found for path in files for found in find_canaries(CANARIES, path.read_bytes())]
        _, errors = backend.stop()
        assert not find_canaries(CANARIES, (errors + "".join(backend.lines)).encode())
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not [found for path in files for found in find_canaries(CANARIES, path.read_bytes())]


STORED_COLUMNS = {
    "model": "LowCardinality(String)",
    "provider": "LowCardinality(String)",
    "operation": "LowCardinality(String)",
    "input_tokens": "Nullable(UInt64)",
    "output_tokens": "Nullable(UInt64)",
    "latency_ms": "UInt32",
    "cost_usd": "Nullable(Decimal(38, 18))",
    "cost_status": "LowCardinality(String)",
    "success": "Bool",
    "entity_type": "LowCardinality(String)",
    "entity_id": "String",
    "session_id": "String",
    "tags": "Map(LowCardinality(String), String)",
    "error_type": "LowCardinality(String)",
    "error_code": "LowCardinality(String)",
    "cache_read_tokens": "Nullable(UInt64)",
    "cache_write_tokens": "Nullable(UInt64)",
    "cache_write_1h_tokens": "Nullable(UInt64)",
    "reasoning_tokens": "Nullable(UInt64)",
    "audio_input_tokens": "Nullable(UInt64)",
    "audio_output_tokens": "Nullable(UInt64)",
    "web_searches": "Nullable(UInt32)",
    "time_to_first_token_ms": "Nullable(UInt32)",
    "service_tier": "LowCardinality(String)",
    "streamed": "Nullable(Bool)",
}
"""The columns of existing data directories. A changed type needs a migration."""
_COLUMNS_PROGRAM = """
import json, sys
from pathlib import Path
from infraprism.backend.store.embedded import EmbeddedDatabase
database = EmbeddedDatabase(Path(sys.argv[1]))
columns = "SELECT table, name, type FROM system.columns WHERE database IN ('default', 'ingest')"
print(json.dumps([json.loads(row) for row in database.read(columns + " ORDER BY table, position", {})]))
database.close()
"""


def test_the_stored_columns_are_the_fields_of_the_field_table(tmp_path: Path) -> None:
    output = subprocess.run(
        [sys.executable, "-c", _COLUMNS_PROGRAM, str(tmp_path / "store")], capture_output=True, text=True, check=True
    ).stdout
    tables: dict[str, dict[str, str]] = defaultdict(dict)
    for row in json.loads(output):
        tables[row["table"]][row["name"]] = row["type"]
    identity = {"account": "LowCardinality(String)", "id": "FixedString(16)", "timestamp": "DateTime64(3, 'UTC')"}
    events, staged = tables["events"], tables["staged_0"]
    assert set(events) == {*identity, *BY_NAME}
    assert events.pop("total_tokens") == "Nullable(UInt64)"
    assert events == {**identity, **STORED_COLUMNS}
    assert staged == {"request": "UInt64", "reason": "LowCardinality(String)", **events}


@pytest.mark.parametrize("field", [field for field in FIELDS if field.kind == "int"], ids=lambda field: field.name)
def test_an_integer_column_holds_the_maximum_of_its_field(field: Field) -> None:
    bits = 64 if "UInt64" in schema.column_type(field) else 32
    assert field.maximum < 2**bits
