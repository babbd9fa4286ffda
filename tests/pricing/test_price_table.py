"""The committed table equals what is compiled from the package and the overlay, and is loaded on demand."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from genai_prices.data import providers

from infraprism.pricing import table

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts" / "prices"


def test_the_committed_table_is_compiled_from_the_package_and_the_overlay() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "compile.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert table.about()["version"] in done.stdout


def test_the_hash_is_that_of_the_committed_files() -> None:
    names = sorted(f"{name}.json" for name in table.about()["providers"])
    assert names == sorted(path.name for path in table.DATA.glob("*.json") if path.name != table.ABOUT)
    digest = hashlib.sha256("".join((table.DATA / name).read_text("utf-8") for name in names).encode()).hexdigest()
    assert table.about()["sha256"] == digest
    assert digest[:12] in table.about()["version"]


def test_the_licence_of_the_package_is_next_to_its_prices() -> None:
    text = (table.DATA / "LICENSE.genai-prices").read_text("utf-8")
    assert "MIT License" in text or "Permission is hereby granted" in text
    assert table.about()["package_version"] in text


def test_every_row_of_the_table_can_be_read_and_begins_without_a_gap() -> None:
    read = 0
    for name in table.about()["providers"]:
        for model in table.provider(name) or ():
            for tier in model.rows:
                rows = model.tier(tier)
                assert rows
                read += len(rows)
                assert tier != "standard" or (rows[0].start_ns < 0 and not rows[0].clock), f"{name} {model.id}"
    assert read > 2500


def test_every_provider_of_the_package_is_compiled_or_excluded_with_a_reason() -> None:
    excluded = {entry["provider"] for section, entry in entries() if section == "excluded"}
    assert {provider.id for provider in providers} - excluded == set(table.about()["providers"])


def entries() -> Iterator[tuple[str, dict[str, Any]]]:
    for section, listed in yaml.load((SCRIPTS / "overlay.yaml").read_text(), Loader=yaml.BaseLoader).items():
        for entry in listed:
            yield section, entry


def test_every_entry_of_the_overlay_has_source_date_and_reason() -> None:
    for section, entry in entries():
        assert "https://" in entry["source"], (section, entry)
        assert len(entry["checked"]) == len("2026-11-23")
        assert entry["why"].endswith(".")


def changes_module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return __import__("changes")


def test_each_rate_that_changed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def files(rates: dict[str, Any]) -> dict[str, str]:
        model = {"id": "m", "match": {"is": ["m"]}, "rows": {"standard": [{"from": "2026-01-01", "rates": rates}]}}
        return {"p.json": json.dumps({"id": "p", "models": [model]}), "about.json": "{}"}

    lines = list(
        changes_module(monkeypatch).between(files({"input": "1", "output": "2"}), files({"input": "3", "request": "4"}))
    )
    assert lines == [
        "p m standard from 2026-01-01 input: 1 -> 3",
        "p m standard from 2026-01-01 output: 2 -> none",
        "p m standard from 2026-01-01 request: none -> 4",
    ]


def test_an_entry_of_the_overlay_that_changes_nothing_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    overlay = __import__("overlay")
    required = 'source: "https://x", checked: "2026-11-23", why: "x."'
    for section in (
        "tier_since: [{provider: p, models: unknown, tier: batch, since: '2020-01-01', %s}]",
        "add_rates: [{provider: p, models: unknown, same_as: {cache_write: input}, %s}]",
        "redated: [{provider: p, models: '.*', from: {'2020-01-01': '2020-01-02'}, %s}]",
        "add_rates: [{provider: p, models: m, rates: {cache_read: '1'}}]",
        "unheard_of: []",
    ):
        path = tmp_path / "overlay.yaml"
        path.write_text(section % required if "%s" in section else section)
        model = {"id": "m", "match": {"is": ["m"]}, "rows": {"standard": [{"rates": {"input": "1"}}]}}
        with pytest.raises(ValueError, match=r"changes nothing|lacks its|unknown"):
            overlay.applied(path, {"p": [model]})


def test_only_the_price_list_of_the_provider_is_read_and_none_on_import() -> None:
    script = (
        "import sys\n"
        "opened = []\n"
        "sys.addaudithook(lambda event, args: event == 'open' and opened.append(str(args[0])))\n"
        "import infraprism.pricing as p\n"
        "read = lambda: [name.rpartition('/')[2] for name in opened if name.endswith('.json')]\n"
        "assert read() == []\n"
        "assert not {'yaml', 'genai_prices', 'pydantic'} & sys.modules.keys()\n"
        "from infraprism.schema.usage import Usage\n"
        "assert p.price(p.PricingRequest('openai', 'gpt-4o', Usage(1, 1), 0)).status == 'priced'\n"
        "assert read() == ['about.json', 'openai.json']\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
