from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from tests.kit.command import infraprism

KEY = "ip-NEVERSHOWNNEVERSHOWN"


@pytest.fixture(scope="module")
def endpoint() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def findings(**environment: str) -> tuple[int, dict[str, dict[str, Any]], str]:
    ran = infraprism("doctor", "--json", environment=environment)
    assert ran.stderr == ""
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    return ran.returncode, {finding["subject"]: finding for finding in found}, ran.stdout


def test_without_anything_set_only_key_and_endpoint_are_problems_with_advice(endpoint: str) -> None:
    status, found, _ = findings(INFRAPRISM_ENDPOINT=endpoint)
    assert status == 1
    assert {name for name, finding in found.items() if finding["level"] != "ok"} == {"key", "endpoint"}
    assert all(found[name]["advice"] for name in ("key", "endpoint"))
    for package in ("openai", "anthropic"):
        assert found[package]["finding"].endswith("is observed")


def test_each_setting_is_looked_at_and_the_key_is_never_shown(endpoint: str) -> None:
    _, found, output = findings(
        INFRAPRISM_ENDPOINT=endpoint,
        INFRAPRISM_API_KEY=KEY,
        INFRAPRISM_DISABLED="true",
        OTEL_SDK_DISABLED="true",
        INFRAPRISM_PREVIEW="1",
        INFRAPRISM_USAGE_DETAIL="true",
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="infraprism_openai",
        OTEL_TRACES_EXPORTER="console",
        OTEL_CONFIG_FILE="/nowhere.yaml",
    )
    assert {name: found[name]["level"] for name in found if name.isupper()} == {
        "INFRAPRISM_DISABLED": "problem",
        "OTEL_SDK_DISABLED": "problem",
        "INFRAPRISM_PREVIEW": "warning",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "warning",
        "OTEL_TRACES_EXPORTER": "ok",
        "OTEL_CONFIG_FILE": "problem",
    }
    assert "leaves too" in found["usage detail"]["finding"]
    assert KEY not in output


def test_a_setting_that_cannot_be_used_is_a_problem(endpoint: str) -> None:
    status, found, output = findings(INFRAPRISM_ENDPOINT=endpoint, INFRAPRISM_API_KEY=f"{KEY} with blanks")
    assert status == 1
    assert "INFRAPRISM_API_KEY" in found["settings"]["finding"]
    assert KEY not in output
