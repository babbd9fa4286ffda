from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from tests.kit.command import infraprism

from infraprism.schema.settings import SETTINGS

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


def test_with_default_settings_only_key_and_endpoint_are_problems_and_have_advice(endpoint: str) -> None:
    status, found, _ = findings(INFRAPRISM_ENDPOINT=endpoint)
    assert status == 1
    assert {name for name, finding in found.items() if finding["level"] != "ok"} == {"key", "endpoint"}
    assert all(found[name]["advice"] for name in ("key", "endpoint"))
    for package in ("openai", "anthropic"):
        assert found[package]["finding"].endswith(", can be instrumented")


def test_each_setting_is_checked_and_the_key_is_never_printed(endpoint: str) -> None:
    _, found, output = findings(
        INFRAPRISM_ENDPOINT=endpoint,
        INFRAPRISM_API_KEY=KEY,
        INFRAPRISM_DISABLED="true",
        OTEL_SDK_DISABLED="true",
        INFRAPRISM_PREVIEW="1",
        INFRAPRISM_USAGE_DETAIL="true",
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="infraprism_openai",
        OTEL_TRACES_EXPORTER="console",
        OTEL_CONFIG_FILE="/missing.yaml",
    )
    assert {name: found[name]["level"] for name in found if name.isupper()} == {
        "INFRAPRISM_DISABLED": "problem",
        "OTEL_SDK_DISABLED": "problem",
        "INFRAPRISM_PREVIEW": "warning",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "warning",
        "OTEL_TRACES_EXPORTER": "ok",
        "OTEL_CONFIG_FILE": "problem",
    }
    assert "is sent" in found["usage detail"]["finding"]
    assert KEY not in output


def test_a_setting_that_cannot_be_used_is_a_problem(endpoint: str) -> None:
    status, found, output = findings(INFRAPRISM_ENDPOINT=endpoint, INFRAPRISM_API_KEY=f"{KEY} with blanks")
    assert status == 1
    assert "INFRAPRISM_API_KEY" in found["settings"]["finding"]
    assert KEY not in output


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("INFRAPRISM_ENDPIONT", "Did you mean INFRAPRISM_ENDPOINT?"),
        ("INFRAPRISM_KEY", "Did you mean INFRAPRISM_API_KEY?"),
        ("INFRAPRISM_DISABLE", "Did you mean INFRAPRISM_DISABLED?"),
        ("infraprism_preview", "Did you mean INFRAPRISM_PREVIEW?"),
        ("INFRAPRISM_SAMPLING", "Known are INFRAPRISM_ENDPOINT, INFRAPRISM_API_KEY, "),
    ],
)
def test_an_unknown_variable_is_reported_with_the_nearest_known_name(name: str, advice: str, endpoint: str) -> None:
    _, found, output = findings(**{"INFRAPRISM_ENDPOINT": endpoint, name: KEY})
    assert (found[name]["level"], found[name]["finding"]) == (
        "warning",
        "is not a setting of InfraPrism and has no effect",
    )
    assert found[name]["advice"].startswith(advice)
    assert KEY not in output


def test_each_unreadable_boolean_is_a_problem_with_its_effect(endpoint: str) -> None:
    booleans = [setting for setting in SETTINGS if setting.kind == "boolean"]
    status, found, output = findings(
        INFRAPRISM_ENDPOINT=endpoint, **{setting.name: f"{KEY} ture" for setting in booleans}
    )
    assert status == 1
    for setting in booleans:
        assert found[setting.name]["level"] == "problem"
        assert found[setting.name]["finding"] == f"is not a boolean, so {setting.unreadable}"
        assert found[setting.name]["advice"] == "Set it to 1, true, yes or on, or 0, false, no or off, or unset it."
    assert KEY not in output


@pytest.mark.parametrize(
    ("sampler", "level"),
    [
        ("traceidratio", "warning"),
        ("parentbased_traceidratio", "warning"),
        ("always_off", "warning"),
        ("always_on", None),
        ("parentbased_always_on", None),
    ],
)
def test_a_sampler_that_drops_spans_is_a_warning(endpoint: str, sampler: str, level: str | None) -> None:
    _, found, _ = findings(INFRAPRISM_ENDPOINT=endpoint, OTEL_TRACES_SAMPLER=sampler)
    assert found.get("OTEL_TRACES_SAMPLER", {}).get("level") == level


def test_requests_that_are_not_observed_are_named(endpoint: str) -> None:
    _, found, _ = findings(INFRAPRISM_ENDPOINT=endpoint)
    for request in ("images", "audio", "batches", "realtime", "responses over WebSocket"):
        assert request in found["openai requests"]["finding"]
    assert "message batches" in found["anthropic requests"]["finding"]
