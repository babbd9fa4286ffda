"""The examples in docs/prices.md work as shown."""

from __future__ import annotations

import re
import shlex
from decimal import Decimal
from pathlib import Path

import pytest

from infraprism.cli.main import main
from infraprism.pricing import Prices, PricingRequest
from infraprism.schema import fields
from infraprism.schema.usage import Usage

DOCS = (Path(__file__).parents[2] / "docs" / "prices.md").read_text("utf-8")
NOW = 1_795_435_200 * 10**9
MILLION = Usage(10**6, 10**6)


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_example_of_the_command_prints_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    command, _, expected = block("console").partition("\n")
    assert main(shlex.split(command.removeprefix("$ infraprism "))) == 0
    assert capsys.readouterr().out.startswith(expected)


def test_the_example_of_a_file_has_the_prices_in_its_comments(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(block("yaml"))
    known = Prices(path)

    def cost(provider: str, model: str, usage: Usage = MILLION, **more: str) -> Decimal | None:
        return known.price(PricingRequest(provider, model, usage, NOW, **more)).cost_usd

    assert cost("openai", "gpt-4o-2024-08-06") == 10
    assert cost("openai", "gpt-4o", tier="batch") == 5
    assert cost("openai", "gpt-4o", Usage(10, 10, cache_write_tokens=1)) is None
    assert cost("azure", "chat-prod-eu", deployment="chat-prod-eu") == Decimal("13.75")
    assert cost("google_vertex", "claude-haiku-4-5@20251001") == Decimal("6.6")
    assert cost("other", "our-llama", Usage(100_000, 0)) == Decimal("0.02")
    assert cost("other", "our-llama", Usage(100_001, 0)) == Decimal("0.0400004")


def test_every_status_is_explained() -> None:
    assert all(f"| `{status}` |" in DOCS for status in fields.COST_STATUSES)
