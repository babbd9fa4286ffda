from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.kit.command import infraprism

from infraprism.cli.doctor.unobserved_packages import UNOBSERVED
from infraprism.instrumentation import status as client_status
from infraprism.schema.settings import SETTINGS

KEY = "ip-NEVERSHOWNNEVERSHOWN"
OF_TESTS = {"boto3", "botocore"}
"""Packages of the tests of backups, which the doctor does not know as observed."""


@pytest.fixture(scope="module")
def endpoint() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@contextmanager
def server(me: dict[str, Any], health: dict[str, Any] | None = None) -> Iterator[tuple[str, list[str]]]:
    """A backend with these responses, and the authorization of each request."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("authorization", ""))
            body = json.dumps((health or {"status": "ok"}) if self.path == "/readyz" else me).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}", seen
        http.shutdown()


def installed(folder: Path, **versions: str) -> str:
    """A PYTHONPATH on which these distributions seem to be installed."""
    for name, version in versions.items():
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n")
    return str(folder)


def findings(**environment: str) -> tuple[int, dict[str, dict[str, Any]], str]:
    ran = infraprism("doctor", "--json", environment=environment)
    assert ran.stderr == ""
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    return ran.returncode, {finding["subject"]: finding for finding in found}, ran.stdout


def test_with_default_settings_only_key_and_endpoint_are_problems_and_have_advice(endpoint: str) -> None:
    status, found, _ = findings(INFRAPRISM_ENDPOINT=endpoint)
    assert status == 1
    assert {name for name, finding in found.items() if finding["level"] != "ok"} - OF_TESTS == {"key", "endpoint"}
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
        ("INFRAPRISM_SAMPLING_RATIO", "Known are INFRAPRISM_ENDPOINT, INFRAPRISM_API_KEY, "),
    ],
)
def test_an_unknown_variable_is_reported_with_the_nearest_known_name(name: str, advice: str, endpoint: str) -> None:
    _, found, output = findings(**{"INFRAPRISM_ENDPOINT": endpoint, name: KEY})
    assert (found[name]["level"], found[name]["finding"]) == (
        "problem",
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


@pytest.mark.parametrize(
    ("url", "is_named"),
    [("http://gateway.internal:4000/v1", True), ("https://api.openai.com/v1", False), ("", False)],
)
def test_a_server_that_may_be_a_gateway_is_named_without_its_url(endpoint: str, url: str, is_named: bool) -> None:
    _, found, output = findings(INFRAPRISM_ENDPOINT=endpoint, OPENAI_BASE_URL=url)
    assert ("OPENAI_BASE_URL" in found) is is_named
    if is_named:
        assert "INFRAPRISM_DISABLED=true" in found["OPENAI_BASE_URL"]["advice"]
    assert "gateway.internal" not in output


def test_requests_that_are_not_observed_are_named(endpoint: str) -> None:
    _, found, _ = findings(INFRAPRISM_ENDPOINT=endpoint)
    for request in ("images", "audio", "batches", "realtime", "responses over WebSocket"):
        assert request in found["openai requests"]["finding"]
    assert "message batches" in found["anthropic requests"]["finding"]


def test_a_variable_with_a_misspelt_prefix_is_a_problem(endpoint: str) -> None:
    _, found, output = findings(INFRAPRISM_ENDPOINT=endpoint, INFRAPRSIM_API_KEY=KEY)
    assert found["INFRAPRSIM_API_KEY"]["level"] == "problem"
    assert found["INFRAPRSIM_API_KEY"]["advice"] == "Did you mean INFRAPRISM_API_KEY?"
    assert KEY not in output


def test_every_value_out_of_range_is_a_finding_of_its_own() -> None:
    ran = infraprism(
        "doctor",
        environment={
            "INFRAPRISM_PROTOCOL": "smtp",
            "INFRAPRISM_ENDPOINT": "http://localhost:99999",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "-3",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "lzma",
        },
    )
    problems = [line for line in ran.stdout.splitlines() if line.startswith("problem  settings: ")]
    assert [line.split()[2] for line in problems] == [
        "INFRAPRISM_PROTOCOL",
        "INFRAPRISM_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "OTEL_EXPORTER_OTLP_COMPRESSION",
    ]
    assert ran.returncode == 1


@pytest.mark.parametrize(
    ("value", "finding", "advice"),
    [
        ("otpl,console", "otpl is not an installed exporter", "Did you mean otlp?"),
        (f"console,{KEY}", "an entry is not an installed exporter", "Installed are "),
        ("infraprsim", "infraprsim is not an installed exporter", "Did you mean infraprism?"),
    ],
)
def test_an_exporter_that_does_not_exist_is_a_problem(value: str, finding: str, advice: str, endpoint: str) -> None:
    _, found, output = findings(INFRAPRISM_ENDPOINT=endpoint, OTEL_TRACES_EXPORTER=value)
    assert (found["OTEL_TRACES_EXPORTER"]["level"], found["OTEL_TRACES_EXPORTER"]["finding"]) == ("problem", finding)
    assert found["OTEL_TRACES_EXPORTER"]["advice"].startswith(advice)
    assert KEY not in output


@pytest.mark.parametrize("content", [None, "prices: [", "- provider: openai"], ids=["missing", "broken", "invalid"])
def test_a_price_file_that_cannot_be_used_is_a_problem(content: str | None, tmp_path: Path, endpoint: str) -> None:
    path = tmp_path / f"{KEY}.yaml"
    if content is not None:
        path.write_text(content)
    _, found, output = findings(INFRAPRISM_ENDPOINT=endpoint, INFRAPRISM_PRICES=str(path))
    assert found["INFRAPRISM_PRICES"]["level"] == "problem"
    assert found["INFRAPRISM_PRICES"]["finding"].startswith("the file")
    assert found["INFRAPRISM_PRICES"]["advice"]
    assert KEY not in output


@pytest.mark.parametrize(
    ("value", "finding"),
    [
        (f"infraprism.entity_type={KEY},infraprism.entity_id=x", "infraprism.entity_type is not an entity type"),
        ("infraprism.entity_type=team", "infraprism.entity_id is missing"),
        ("infraprism.entity_id=x", "infraprism.entity_type is missing"),
        (f"infraprism.entity_type=team,infraprism.entity_id=%0A{KEY}", "infraprism.entity_id is not valid"),
        (f"infraprism.tags.a%20b={KEY}", "infraprism.tags.a b is not a valid tag"),
        (f"infraprism.customer={KEY}", "infraprism.customer is not an attribute of InfraPrism"),
    ],
)
def test_an_invalid_resource_attribute_is_a_problem(value: str, finding: str, endpoint: str) -> None:
    _, found, output = findings(INFRAPRISM_ENDPOINT=endpoint, OTEL_RESOURCE_ATTRIBUTES=f"service.name=a,{value}")
    assert found["OTEL_RESOURCE_ATTRIBUTES"]["level"] == "problem"
    assert found["OTEL_RESOURCE_ATTRIBUTES"]["finding"].startswith(finding)
    assert found["OTEL_RESOURCE_ATTRIBUTES"]["advice"]
    assert KEY not in output


def test_valid_resource_attributes_are_no_finding(endpoint: str) -> None:
    value = "infraprism.entity_type=team,infraprism.entity_id=a%20b,infraprism.session_id=1,infraprism.tags.env=prod"
    _, found, _ = findings(INFRAPRISM_ENDPOINT=endpoint, OTEL_RESOURCE_ATTRIBUTES=value)
    assert "OTEL_RESOURCE_ATTRIBUTES" not in found


def test_an_installed_client_package_that_is_not_observed_is_a_warning_with_the_fix(
    tmp_path: Path, endpoint: str
) -> None:
    packages = installed(
        tmp_path, google_genai="2.0.0", boto3="1.40.0", groq="1.0.0", opentelemetry_instrumentation_groq="0.62.4"
    )
    _, found, _ = findings(INFRAPRISM_ENDPOINT=endpoint, PYTHONPATH=packages)
    assert found["google-genai"]["level"] == found["boto3"]["level"] == "warning"
    assert "pip install opentelemetry-instrumentation-google-genai" in found["google-genai"]["advice"]
    assert "Bedrock" in found["boto3"]["finding"]
    assert found["groq"] == {
        "level": "ok",
        "subject": "groq",
        "finding": "1.0.0, is observed through opentelemetry-instrumentation-groq",
        "advice": "",
    }


def test_the_table_of_unobserved_packages_has_a_fix_for_each_and_none_that_is_instrumented() -> None:
    names = [row.package for row in UNOBSERVED]
    assert len(set(names)) == len(names)
    assert {"google-genai", "boto3", "mistralai", "cohere", "groq", "ollama", "litellm", "together"} <= set(names)
    for row in UNOBSERVED:
        assert row.instrumentations or (row.advice and row.compatible_url), row.package
    assert not {client.package for client in client_status()} & set(names)


@pytest.mark.parametrize(
    ("package", "version", "level"),
    [("openai", "99.0.0", "warning"), ("anthropic", "99.1", "warning"), ("opentelemetry-sdk", "1.20.0", "problem")],
)
def test_a_version_outside_the_tested_range_is_reported(
    package: str, version: str, level: str, tmp_path: Path, endpoint: str
) -> None:
    _, found, _ = findings(
        INFRAPRISM_ENDPOINT=endpoint, PYTHONPATH=installed(tmp_path, **{package.replace("-", "_"): version})
    )
    finding = found[f"{package} version"] if f"{package} version" in found else found[package]
    assert (finding["level"], version in finding["finding"]) == (level, True)
    assert "pip install" in finding["advice"]


def test_a_key_of_another_service_is_a_problem_and_not_sent() -> None:
    with server({"usage_detail": False}) as (url, seen):
        status, found, output = findings(INFRAPRISM_ENDPOINT=url, INFRAPRISM_API_KEY="sk-proj-NEVERSHOWN")
    assert status == 1
    assert found["settings"]["finding"].startswith("INFRAPRISM_API_KEY ")
    assert "ip-" in found["settings"]["finding"]
    assert seen == []
    assert "NEVERSHOWN" not in output


@pytest.mark.parametrize(("client", "account", "status"), [(1, 0, 1), (1, 1, 0), (0, 0, 0), (0, 1, 0)])
def test_usage_detail_that_the_account_does_not_store_is_a_problem(client: int, account: int, status: int) -> None:
    with server({"usage_detail": bool(account)}) as (url, _):
        exit_status, found, output = findings(
            INFRAPRISM_ENDPOINT=url, INFRAPRISM_API_KEY=KEY, INFRAPRISM_USAGE_DETAIL=str(client)
        )
    assert exit_status == status
    assert found["usage detail"]["level"] == ("problem" if status else "ok")
    assert ("infraprism account set usage-detail on" in found["usage detail"]["advice"]) == bool(status)
    assert KEY not in output


@pytest.mark.parametrize(
    ("health", "level"), [("ok", "ok"), ("damaged_data", "ok"), ("degraded", "warning"), ("unavailable", "problem")]
)
def test_a_server_that_cannot_store_or_read_is_a_problem(health: str, level: str) -> None:
    with server({"usage_detail": False}, {"status": health, "reason": "the disk is nearly full"}) as (url, _):
        status, found, _ = findings(INFRAPRISM_ENDPOINT=url, INFRAPRISM_API_KEY=KEY)
    assert found["server"]["level"] == level
    assert ("the disk is nearly full" in found["server"]["finding"]) == (level != "ok")
    assert status == (level == "problem")


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (
            {"rows": 7, "first": "2026-01-02T00:00:00.000Z", "last": "2026-01-03T00:00:00.000Z"},
            "7 events from 2026-01-02",
        ),
        (
            {"rows": None, "first": None, "unknown": "checksums.txt is damaged"},
            "an unknown number of events at unknown",
        ),
    ],
)
def test_a_damaged_part_of_the_server_is_a_problem_with_its_rows_and_times(part: dict[str, Any], words: str) -> None:
    health = {"status": "damaged_data", "damaged_parts": [{"name": "202601_1_1_0", **part}]}
    with server({"usage_detail": False}, health) as (url, _):
        status, found, _ = findings(INFRAPRISM_ENDPOINT=url, INFRAPRISM_API_KEY=KEY)
    assert status == 1
    assert "202601_1_1_0" in found["server data"]["finding"]
    assert words in found["server data"]["finding"]
    assert "infraprism store repair" in found["server data"]["advice"]


@pytest.mark.parametrize("value", ["", "true"])
def test_streams_that_report_usage_only_on_request_are_mentioned(value: str, endpoint: str) -> None:
    _, found, _ = findings(INFRAPRISM_ENDPOINT=endpoint, INFRAPRISM_STREAM_USAGE=value)
    finding = found["stream usage"]
    assert finding["level"] == "ok"
    assert ("INFRAPRISM_STREAM_USAGE=true" in finding["advice"]) == (not value)
