"""Each command in the README and the other pages runs in a test, or has a reason why it does not."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from tests.kit.command import clean_environment
from tests.kit.documented_commands import PAGES, ROOT, Command, commands, inline

from infraprism.cli.main import parser

RUN_ELSEWHERE = {
    "opentelemetry-instrument python app.py": "tests/packaging/test_first_hour.py",
    "infraprism serve": "tests/packaging/test_first_hour.py",
    "infraprism events": "tests/packaging/test_first_hour.py",
    "infraprism export": "tests/docs/test_export.py",
    "infraprism store ": "tests/faults/test_damaged_parts.py",
    "infraprism backup ": "tests/backups/test_backups.py",
    "infraprism account create": "tests/regions/test_two_regions.py",
    "infraprism account move": "tests/regions/test_move.py",
    "infraprism costs --by entity": "tests/packaging/test_first_hour.py",
    "infraprism delete ": "tests/deletions/test_delete_command.py",
    "infraprism receipt ": "tests/deletions/test_delete_command.py",
    "infraprism price": "tests/pricing/test_price_docs.py",
    "curl ": "tests/docs/test_api.py",
    "infraprism keys ": "tests/cli/test_members.py",
    "infraprism members ": "tests/cli/test_members.py",
    "make demo": "tests/cli/test_demo.py",
}
"""The start of a command, and the file with the test that runs it."""
NOT_RUN = {
    "pip install 'infraprism-opentelemetry": "installs from PyPI; test_first_hour.py installs the built wheel",
    "make test": "is the command that runs this test",
    "python benchmarks/": "takes minutes; test_performance.py imports each benchmark",
    "python -m benchmarks.": "takes minutes; test_performance.py imports each benchmark",
    "otelcol-contrib --config collector-config.yaml": "needs the collector; tests/collector starts it if installed",
    "OTELCOL=$(which otelcol-contrib) make collector-tests": "needs the collector; it starts tests/collector",
    "docker ": "needs Docker",
    "kubectl ": "needs a cluster",
}
"""The start of a command, and why no test runs it."""
COMMANDS = sorted({command for page in PAGES for command in commands(page)})


def matching(command: Command, table: dict[str, str]) -> list[str]:
    return [start for start in table if command.text.startswith(start)]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command.page}: {command.text[:50]}")
def test_each_command_is_run_or_has_a_reason(command: Command) -> None:
    if command.text.startswith("export "):
        script = f"set -eu; {command.text}; env"
        ran = subprocess.run(
            ["/bin/sh", "-c", script], env=clean_environment(), capture_output=True, text=True, check=True, timeout=60
        )
        for assignment in shlex.split(command.text)[1:]:
            assert assignment in ran.stdout.splitlines()
        return
    assert matching(command, RUN_ELSEWHERE) or matching(command, NOT_RUN)


def test_each_entry_of_the_tables_is_a_command_of_a_page() -> None:
    for table in (RUN_ELSEWHERE, NOT_RUN):
        used = {start for command in COMMANDS for start in matching(command, table)}
        assert used == set(table)
    assert all((ROOT / file).is_file() for file in RUN_ELSEWHERE.values())


def test_the_arguments_of_each_infraprism_command_are_valid() -> None:
    lines = [command.text for command in COMMANDS if command.text.startswith("infraprism ")]
    lines += [line for page in PAGES for line in inline(page, "infraprism")]
    assert lines
    for line in lines:
        arguments = [part for part in shlex.split(line)[1:] if part != "--help"]
        assert parser().parse_args(arguments).run, line


def test_each_program_that_a_page_names_inline_exists() -> None:
    modules = {name for page in PAGES for name in re.findall(r"`python -m ([\w.]+)", page.read_text("utf-8"))}
    for module in modules:
        path = Path(*module.split("."))
        places = [ROOT, *ROOT.glob("*/")]
        assert any((place / path).with_suffix(".py").is_file() for place in places), module
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
