"""schemathesis reads the published OpenAPI document and sends requests that follow it and that do not."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tests.kit.backend import Backend, span
from tests.kit.command import clean_environment
from tests.kit.random_calls import random_calls

from infraprism.backend.accounts import Accounts
from infraprism.backend.audit.audit_log import OPERATOR, AuditLog

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "ignored_auth",
)
SEED = "20"
REQUESTS_BY_OPERATION = "12"
HOOKS = Path(__file__).parents[1] / "kit" / "schemathesis_hooks.py"
ENDING = ("DELETE /v1/account", "DELETE /v1/keys/{key_id}", "POST /v1/keys/{key_id}/rotate")
"""Operations that may end the key: schemathesis sends ids of earlier responses. They have a run of their own."""


def excluded(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(option for name in names for option in ("--exclude-name", name))


@pytest.fixture
def key(backend: Backend) -> str:
    """The key of an account with events and entries of the audit log."""
    found = backend.add_account(usage_detail=True)
    assert backend.export(*(span(one) for one in random_calls(200, first=90_000)), key=found).rejected == 0
    account = backend.get("/v1/me", found).json["id"]
    with closing(Accounts(backend.data_dir / "accounts.sqlite")) as accounts:
        AuditLog(accounts.database).append(account, OPERATOR, "key.created", "key_000000000001")
    return found


@pytest.mark.parametrize(
    ("seconds", "options"),
    [
        (40, ("--phases", "examples,coverage,fuzzing", *excluded(ENDING))),
        # Requests with the ids of earlier responses.
        (15, ("--phases", "stateful", "--exclude-method", "DELETE", *excluded(ENDING))),
        (10, tuple(option for name in ENDING for option in ("--include-name", name))),
    ],
    ids=["by the document", "by earlier responses", "that end the key"],
)
def test_every_response_is_documented_and_none_is_an_error_of_the_server(
    backend: Backend, key: str, tmp_path: Path, seconds: int, options: tuple[str, ...]
) -> None:
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{backend.url}/openapi.json"),
            *("--header", f"Authorization: Bearer {key}", "--checks", ",".join(CHECKS)),
            *("--seed", SEED, "--max-examples", REQUESTS_BY_OPERATION, "--max-time", str(seconds)),
            *("--workers", "2", "--continue-on-failure", "--no-color", "--warnings", "off", "--no-shrink"),
            *options,
        ],
        cwd=tmp_path,
        env=clean_environment(SCHEMATHESIS_HOOKS=str(HOOKS)),
        capture_output=True,
        text=True,
        timeout=seconds * 4,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr
    assert "passed" in ran.stdout
    if "--include-name" not in options:
        assert backend.get("/v1/events", key).status == 200
    assert backend.get("/v1/events").status == 200
