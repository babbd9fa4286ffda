"""Whatever is sent, only what the field table allows is stored, and nothing of the rest touches the disk."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.kit.any_event import any_event
from tests.kit.backend import Backend, set_attribute, span
from tests.kit.events import event
from tests.kit.search import traces

from infraprism.backend.store import schema
from infraprism.schema import FIELDS, Event, wire
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
def test_what_is_stored_satisfies_the_table(backend: Backend, made: list[tuple[Event, dict[str, Any]]]) -> None:
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


def test_any_event_of_the_client_is_accepted_as_it_is(
    backend: Backend, account: str, new_event: Callable[..., Event]
) -> None:
    made = new_event(tags={f"k{number}": "v" for number in range(32)}, success=False, error_code="429")
    assert backend.export(span(made), key=account).rejected == 0
    assert_same(backend.events(account)[0] | dict.fromkeys(f.name for f in FIELDS if f.presence == "opt_in"), made)


def _spoiled() -> list[Span]:
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


def test_nothing_of_what_was_refused_is_on_the_disk(tmp_path: Path) -> None:
    with Backend(tmp_path / "data", key="ip-canary9zq8secret") as backend:
        kept = event(100, session_id="the-kept-session")
        for compress in (False, True):
            answer = backend.export(*_spoiled(), span(kept), compress=compress)
            assert answer.rejected == 9
            assert not traces(CANARIES, answer.body)
        backend.export(body=CANARIES[10].encode())
        backend.http("/v1/traces", CANARIES[11].encode(), {"content-type": "application/json"})
        backend.get("/v1/events", entity_id=CANARIES[10], nothing=CANARIES[11])
        assert len(backend.events()) == 1
        # While it runs, and after it has stopped.
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert not [found for path in files for found in traces(CANARIES, path.read_bytes())]
        _, errors = backend.stop()
        assert not traces(CANARIES, (errors + "".join(backend.lines)).encode())
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not [found for path in files for found in traces(CANARIES, path.read_bytes())]


_COLUMN = re.compile(r"^    (\w+) (.+?),?$", re.MULTILINE)
_TYPES = {
    "string": ("LowCardinality(String)", "String"),
    "bool": ("Bool", "Nullable(Bool)"),
    "decimal": ("Nullable(Decimal(38, 18))",),
    "tags": ("Map(LowCardinality(String), String)",),
    "int": ("Nullable(UInt64)", "UInt32", "Nullable(UInt32)"),
}


def _columns(table: str) -> dict[str, str]:
    return dict(_COLUMN.findall(schema.statement(table).partition("ENGINE")[0]))


def test_the_columns_are_the_field_table() -> None:
    columns = _columns("events")
    assert list(columns)[:3] == ["account", "id", "timestamp"]
    assert columns.pop("total_tokens") == "Nullable(UInt64) ALIAS input_tokens + output_tokens"
    named = [field for field in FIELDS if field.name != "total_tokens"]
    assert list(columns)[3:] == [field.name for field in named]
    for field in named:
        assert columns[field.name] in _TYPES[field.kind], field.name
        assert ("64" in columns[field.name]) >= (field.kind == "int" and field.maximum >= 2**32), field.name


def test_the_inbox_is_the_events_and_what_is_said_of_a_request() -> None:
    inbox = _columns("inbox")
    assert list(inbox)[:2] == ["request", "reason"]
    stored = [name for name in _columns("events") if name != "total_tokens"]
    assert list(inbox)[2:] == stored
