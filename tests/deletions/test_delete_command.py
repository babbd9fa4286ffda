"""`infraprism delete` and `infraprism receipt`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kit.backend import Backend, span
from tests.kit.command import infraprism
from tests.kit.events import event


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with Backend(tmp_path_factory.mktemp("delete") / "data") as running:
        yield running


@pytest.fixture
def environment(backend: Backend) -> dict[str, str]:
    return {"INFRAPRISM_ENDPOINT": backend.url, "INFRAPRISM_API_KEY": backend.key}


def test_a_deletion_prints_its_receipt_which_can_be_verified(
    backend: Backend, environment: dict[str, str], tmp_path: Path
) -> None:
    assert backend.export(*(span(event(number, entity_id=f"e{number % 2}")) for number in range(1, 11))).rejected == 0
    file = tmp_path / "receipt.json"
    ran = infraprism("delete", "--entity", "customer:e1", "--yes", "--receipt", str(file), environment=environment)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("5 events were deleted. Receipt rcp_")
    assert {one["entity_id"] for one in backend.events()} == {"e0"}
    verified = infraprism("receipt", "verify", str(file))
    assert (verified.returncode, verified.stdout.split(":")[0]) == (0, "1 receipts are valid")
    assert infraprism("receipt", "verify", "--all", environment=environment).stdout.startswith(
        "1 receipts are valid: they are a"
    )
    listed = infraprism("receipt", "list", environment=environment)
    assert json.loads(listed.stdout) == json.loads(file.read_text())
    file.write_text(file.read_text().replace('"before": 5', '"before": 4').replace('"before":5', '"before":4'))
    broken = infraprism("receipt", "verify", str(file))
    assert broken.returncode == 1
    assert "was changed" in broken.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["delete"], "name what is to be deleted"),
        (["delete", "--everything"], "--confirm everything"),
        (["delete", "--session", "s1"], "--yes"),
        (["delete", "--everything", "--start", "2026-01-01", "--confirm", "everything"], "no other scope"),
        (["receipt", "verify"], "name a file"),
        (["receipt", "verify", "/does/not/exist"], "cannot be read"),
    ],
)
def test_a_command_that_is_not_complete_changes_nothing_and_says_why(
    environment: dict[str, str], arguments: list[str], message: str
) -> None:
    ran = infraprism(*arguments, environment=environment)
    assert ran.returncode == 1
    assert message in ran.stderr
    assert ran.stderr.count("\n") == 1
