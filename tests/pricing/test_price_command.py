"""`infraprism price`: one call from options, or one per line."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from infraprism.cli.main import main
from infraprism.pricing import table

ONE = ["price", "--provider", "openai", "--model", "gpt-4o", "--at", "2026-11-23T12:00:00Z"]


def lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *calls: Any) -> list[dict[str, Any]]:
    text = "".join(call if isinstance(call, str) else json.dumps(call) + "\n" for call in calls)
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    main(["price", "--jsonl"])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_one_call_has_cost_status_lines_source_and_table(capsys: pytest.CaptureFixture[str]) -> None:
    counts = ["--input-tokens", "10000", "--output-tokens", "750", "--cache-read-tokens", "6000", "--web-searches", "2"]
    assert main([*ONE, *counts]) == 0
    out = capsys.readouterr().out
    assert "cost    0.045 USD\nstatus  priced\nmodel   gpt-4o of openai, tier standard\n" in out
    assert "cache_read                6,000 at      1.25 per million  = 0.0075" in out
    assert "web_search                    2 at        10 per thousand = 0.02" in out
    assert f"table   {table.about()['version']}" in out
    assert "source  genai-prices" in out


def test_a_call_without_a_price_names_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ONE, "--input-tokens", "5", "--output-tokens", "5", "--cache-write-1h-tokens", "5"]) == 0
    out = capsys.readouterr().out
    assert "cost    unknown\nstatus  incomplete\n" in out
    assert "missing no rate for cache_write_1h" in out


@pytest.mark.parametrize(
    "arguments",
    [["price"], ["price", "--model", "x"], [*ONE, "--prices", "/nonexistent.json"]],
)
def test_invalid_input_is_one_line_of_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert not captured.out
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    "option", [["--at", "noon"], ["--input-tokens", "-1"], ["--tier", "cheap"], ["--requests", "x"]]
)
def test_an_invalid_option_is_an_error(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*ONE, *option])
    assert stopped.value.code == 2
    assert option[0] in capsys.readouterr().err


def test_every_line_of_input_has_a_line_of_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = {
        "input_tokens": 10_000,
        "output_tokens": 100,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 6000,
        "cache_creation_5m_input_tokens": 2000,
        "cache_creation_1h_input_tokens": 4000,
        "reasoning_output_tokens": 50,
        "web_searches": 1,
    }
    call = {"id": "a", "provider": "anthropic", "model": "claude-sonnet-4-5", "at": "2026-11-23T12:00:00Z"}
    batch = {**call, "id": 2, "tier": "batch", "usage": {**usage, "cache_creation_input_tokens": None}}
    found = lines(
        monkeypatch,
        capsys,
        {**call, "usage": usage},
        batch,
        {"provider": "anthropic", "model": "claude-sonnet-4-5", "usage": {"input_tokens": 1, "output_tokens": 1}},
        {**call, "id": [1], "model": "nope", "usage": {"input_tokens": 1}},
        {**call, "id": None, "usage": {}},
    )
    assert found == [
        {"id": "a", "cost_usd": "0.0523", "cost_status": "priced"},
        {"id": 2, "cost_usd": "0.03115", "cost_status": "priced"},
        {"id": None, "cost_usd": "0.000018", "cost_status": "priced"},
        {"id": [1], "cost_usd": None, "cost_status": "unknown_model"},
        {"id": None, "cost_usd": None, "cost_status": "no_usage"},
    ]


def test_an_invalid_line_has_a_line_of_output_and_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call = {"id": 1, "provider": "openai", "model": "gpt-4o"}
    bad: list[Any] = [
        "no json\n",
        "5\n",
        {**call, "usage": {"input_tokens": 1.5}},
        {**call, "usage": {"input_tokens": -1}},
        {**call, "usage": {"input_tokens": True}},
        {**call, "usage": {"image_tokens": 1}},
        {**call, "usage": 5},
        {**call, "usage": {"input_tokens": 1, "output_tokens": 1}, "at": "soon"},
        {**call, "usage": {"cache_creation_input_tokens": 5, "cache_creation_5m_input_tokens": 4}},
        {**call, "provider": 5},
    ]
    monkeypatch.setattr(
        "sys.stdin", io.StringIO("".join(b if isinstance(b, str) else json.dumps(b) + "\n" for b in bad))
    )
    assert main(["price", "--jsonl"]) == 2
    captured = capsys.readouterr()
    assert [json.loads(line)["cost_status"] for line in captured.out.splitlines()] == ["incomplete"] * len(bad)
    assert [line.split(":")[0] for line in captured.err.splitlines()] == [f"line {n + 1}" for n in range(len(bad))]


def test_a_file_of_prices_on_the_command_line_has_precedence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.json"
    entry = {"provider": "openai", "model": "gpt-4o", "rates": {"input": "1", "output": "1"}, "source": "contract"}
    path.write_text(json.dumps({"prices": [entry]}))
    assert main([*ONE, "--input-tokens", "1000000", "--output-tokens", "0", "--prices", str(path)]) == 0
    out = capsys.readouterr().out
    assert "cost    1 USD" in out
    assert "source  mine.json: contract" in out
