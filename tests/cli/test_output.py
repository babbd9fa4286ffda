from __future__ import annotations

from decimal import Decimal

import pytest

from infraprism.cli.costs import costs_table
from infraprism.cli.events import events_table
from infraprism.cli.table import Column, render
from infraprism.schema import exact_json

EVENT = {
    "id": "evt_1",
    "timestamp": "2026-01-31T10:00:00.123Z",
    "model": "gpt-4o",
    "provider": "openai",
    "input_tokens": 10,
    "output_tokens": None,
    "cost_usd": Decimal("0.000000000000000001"),
    "cost_status": "priced",
    "latency_ms": 12,
    "entity_type": "customer",
    "entity_id": "acme-corp",
    "session_id": None,
    "tags": {"feature": "chat"},
    "success": True,
}


@pytest.mark.parametrize("number", ["0.1", "0.000000000000000001", "123456789012345678.123456789012345678", "1e-7"])
def test_json_keeps_every_digit_of_a_decimal(number: str) -> None:
    read = exact_json.loads(f'{{"cost":{number},"text":"\\u00e9 0.1"}}')
    assert read["cost"] == Decimal(number)
    assert exact_json.loads(exact_json.dumps(read)) == read
    assert "e" not in exact_json.dumps(read["cost"])


def test_a_table_aligns_numbers_right_and_prints_a_dash_for_no_value() -> None:
    output = render([Column("name"), Column("cost", numeric=True)], [["a", Decimal("10.50")], [None, None]])
    assert output.splitlines() == ["name  cost", "a     10.5", "-        -"]


def test_a_table_fits_the_terminal_and_shortens_no_number() -> None:
    columns = [Column("name"), Column("tags"), Column("tokens", numeric=True)]
    rows = [["n" * 60, "t" * 80, 123456789]]
    lines = render(columns, rows, 60).splitlines()
    assert max(map(len, lines)) <= 60
    assert lines[1].endswith("123456789")
    assert lines[1].count("…") == 2
    assert "…" not in render(columns, rows)


def test_a_table_of_events_fits_80_columns_with_whole_entities_and_costs() -> None:
    long = EVENT | {
        "model": "claude-haiku-4-5-20251001",
        "provider": "anthropic",
        "input_tokens": 123_456,
        "output_tokens": 12_345,
        "cost_usd": Decimal("0.00003555"),
        "session_id": "ticket-1041",
        "tags": {"feature": "incidents", "channel": "email"},
        "success": False,
        "error_type": "rate_limit",
        "error_code": "429",
    }
    output = events_table([long, EVENT | {"cost_usd": Decimal("0.0065")}], 80)
    assert max(map(len, output.splitlines())) <= 80
    assert output.count("customer:acme-corp") == 2
    assert "0.00003555" in output
    assert "rate_limit 429" in output
    assert "session" in events_table([long, EVENT], None)


def test_optional_columns_are_left_out_before_texts_become_unreadable() -> None:
    columns = [Column("name", readable_width=20), Column("other", optional=1), Column("extra", optional=2)]
    rows = [["n" * 30, "o" * 10, "e" * 10]]
    assert render(columns, rows, 54).splitlines()[0].split() == ["name", "other", "extra"]
    assert render(columns, rows, 43).splitlines()[0].split() == ["name", "other"]
    assert render(columns, rows, 20).splitlines() == ["name", "n" * 19 + "…"]


def test_the_summary_has_the_exact_total_and_the_number_of_unpriced_events() -> None:
    unpriced = {**EVENT, "cost_usd": None, "cost_status": "no_usage", "success": False, "error_type": "rate_limit"}
    output = events_table([EVENT, EVENT, unpriced | {"error_code": "429"}], None)
    assert output.splitlines()[-1] == "3 events, 0.000000000000000002 USD; without a price: 1 no_usage, 2026-01-31"
    assert "rate_limit 429" in output
    assert "customer:acme-corp" in output
    assert events_table([], None) == "No events."


def test_a_table_of_costs_by_two_groups_fits_80_columns_with_whole_entities() -> None:
    numbers = {
        "total_cost": Decimal("1234.567891"),
        "total_events": 15234,
        "unpriced_events": 12,
        "failed_events": 10,
        "unpriced_failed_events": 10,
        "total_input_tokens": 2500000,
        "total_output_tokens": 8500000,
        "avg_latency_ms": 1150,
    }
    row = {"entity_type": "customer", "entity_id": "acme-corp", "model": "claude-haiku-4-5-20251001", **numbers}
    response = {"data": [row], "summary": {**numbers, "period": {"start": "2026-01-01", "end": "2026-01-31"}}}
    heading, cells, summary, period = costs_table(response, ["entity", "model"], 80).splitlines()
    assert max(map(len, (heading, cells, summary))) <= 80
    assert period == "2026-01-01 to 2026-01-31"
    assert cells.startswith("customer:acme-corp  claude-haiku-4-5")
    assert heading.split() == ["entity", "model", "cost_usd", "events", "failed", "unpriced"]
    assert cells.split()[2:] == ["1234.567891", "15234", "10", "2"]
    assert summary.startswith("15234 events, 10 failed (0.1 %), 2 without a price, 1234.567891 USD")
    assert "error %" in costs_table(response, ["entity"], 80)
