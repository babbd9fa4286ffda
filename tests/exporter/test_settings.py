"""Settings are checked when an exporter is created. Errors name the setting and never contain its value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.kit.events import events

from infraprism.exporter import InfraPrismSpanExporter, SettingsError, delivery_log
from infraprism.exporter.settings import Settings, read_settings


def _read(arguments: dict[str, object] | None = None, **environment: str) -> Settings:
    return read_settings(environment, arguments or {})


def test_every_setting_has_a_default() -> None:
    found = _read()
    assert (found.url, found.protocol, found.compression) == (
        "http://localhost:4318/v1/traces",
        "http/protobuf",
        "gzip",
    )
    assert (found.timeout_s, found.api_key, found.usage_detail, found.preview) == (10.0, None, False, False)
    assert _read(INFRAPRISM_PROTOCOL="grpc").target == "localhost:4317"


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("https://api.example.com", "https://api.example.com/v1/traces"),
        ("https://api.example.com/", "https://api.example.com/v1/traces"),
        ("https://api.example.com/otlp", "https://api.example.com/otlp/v1/traces"),
        ("https://api.example.com/v1/traces", "https://api.example.com/v1/traces"),
        ("http://[::1]:4318", "http://[::1]:4318/v1/traces"),
        ("  http://localhost:1 \n", "http://localhost:1/v1/traces"),
    ],
)
def test_the_traces_path_is_added_to_an_endpoint(endpoint: str, url: str) -> None:
    assert _read(INFRAPRISM_ENDPOINT=endpoint).url == url


@pytest.mark.parametrize(
    ("endpoint", "target", "secure"),
    [
        ("https://api.example.com", "api.example.com:443", True),
        ("http://collector", "collector:4317", False),
        ("http://[::1]:9", "[::1]:9", False),
    ],
)
def test_a_grpc_endpoint_is_parsed_into_a_target(endpoint: str, target: str, secure: bool) -> None:
    found = _read(INFRAPRISM_ENDPOINT=endpoint, INFRAPRISM_PROTOCOL="grpc")
    assert (found.target, found.secure) == (target, secure)


def test_arguments_win_over_the_environment() -> None:
    found = _read(
        {"endpoint": "http://given", "api_key": "ip-given"},
        INFRAPRISM_ENDPOINT="http://set",
        INFRAPRISM_API_KEY="ip-set",
    )
    assert (found.host, found.api_key) == ("given", "ip-given")


def test_the_standard_endpoint_and_protocol_are_not_used() -> None:
    found = _read(
        OTEL_EXPORTER_OTLP_ENDPOINT="https://vendor.example",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="https://vendor.example",
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
    )
    assert (found.url, found.protocol) == ("http://localhost:4318/v1/traces", "http/protobuf")


def test_standard_variables_for_traces_override_the_general_ones() -> None:
    found = _read(
        OTEL_EXPORTER_OTLP_TIMEOUT="3",
        OTEL_EXPORTER_OTLP_TRACES_TIMEOUT="4",
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        OTEL_EXPORTER_OTLP_TRACES_COMPRESSION="none",
        OTEL_EXPORTER_OTLP_HEADERS="a=1",
        OTEL_EXPORTER_OTLP_TRACES_HEADERS="X-Tenant=a%20b, c=2",
    )
    assert (found.timeout_s, found.compression) == (4.0, "none")
    assert found.headers == (("x-tenant", "a b"), ("c", "2"))


@pytest.mark.parametrize(("text", "seconds"), [("2.5", 2.5), ("10000", 10.0)])
def test_a_timeout_of_a_thousand_or_more_is_in_milliseconds(text: str, seconds: float) -> None:
    assert _read(OTEL_EXPORTER_OTLP_TIMEOUT=text).timeout_s == seconds


def test_standard_headers_for_another_host_are_not_sent() -> None:
    vendor = {
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=vendor-secret",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://vendor.example",
    }
    assert _read(INFRAPRISM_ENDPOINT="https://prism.example", **vendor).headers == ()
    assert _read(INFRAPRISM_ENDPOINT="https://vendor.example:4318", **vendor).headers == (("api-key", "vendor-secret"),)


def test_the_key_overrides_an_authorization_header_which_can_replace_it() -> None:
    header = {"OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Basic%20abc,Host=evil,content-type=text/plain"}
    assert _read(**header).request_headers() == {"authorization": "Basic abc"}
    assert _read(**header).can_authenticate
    assert _read(INFRAPRISM_API_KEY=" ip-1\n", **header).request_headers() == {"authorization": "Bearer ip-1"}


INVALID: list[tuple[dict[str, object], str]] = [
    ({"endpoint": "localhost:4318"}, "endpoint is not an http or https URL; give a URL such as http://localhost:4318"),
    ({"endpoint": "ftp://host"}, "endpoint is not an http or https URL"),
    ({"endpoint": "http://"}, "endpoint is not an http or https URL"),
    ({"endpoint": "http://host:99999"}, "endpoint is not a URL"),
    ({"endpoint": "http://ho st"}, "endpoint is not an http or https URL"),
    ({"endpoint": "http://host\r\nx: y"}, "endpoint is not"),
    ({"endpoint": "http://user:hunter2@host"}, "endpoint must not hold a user name or password"),
    ({"endpoint": "http://host?token=hunter2"}, "endpoint must end with the path"),
    ({"endpoint": "http://host/path", "protocol": "grpc"}, "endpoint must have no path, since gRPC has none"),
    ({"endpoint": 4318}, "endpoint must be text"),
    ({"protocol": "http/json"}, "protocol must be http/protobuf, grpc or preview"),
    ({"api_key": "hunter2\nhunter2"}, "api_key must be printable ASCII without blanks"),
    ({"api_key": "hunt\u00e9r2"}, "api_key must be printable ASCII without blanks"),
    ({"api_key": "sk-hunter2"}, "api_key is not an InfraPrism key, since it does not start with ip-; it is not sent"),
    ({"headers": ["hunter2"]}, "headers must be a mapping"),
    ({"headers": {"x": "hunter2\r\ny: z"}}, "headers must be HTTP header names"),
    ({"headers": {"Content-Type": "hunter2"}}, "headers must not set content-type"),
    ({"timeout_s": 0}, "timeout_s must be a number of seconds"),
    ({"timeout_s": "5"}, "timeout_s must be a number of seconds"),
    ({"timeout_s": float("nan")}, "timeout_s must be a number of seconds"),
    ({"compression": "zstd"}, "compression must be gzip or none"),
    ({"max_queue_events": 0}, "max_queue_events must be an integer, at least 1"),
    ({"max_batch_events": True}, "max_batch_events must be an integer"),
    ({"max_queue_bytes": 1.5}, "max_queue_bytes must be an integer"),
    ({"usage_detail": "true"}, "usage_detail must be true or false"),
    ({"certificate_file": "/no/hunter2.pem"}, "certificate_file names a file that cannot be read"),
]


@pytest.mark.parametrize(("arguments", "message"), INVALID)
def test_an_invalid_argument_raises_an_error_of_one_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        InfraPrismSpanExporter(**arguments)
    text = str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert text.startswith(message)
    assert "\n" not in text
    assert "hunter2" not in text


def test_an_unknown_argument_raises_an_error_of_one_line() -> None:
    settings: dict[str, Any] = {"endpiont": "http://host"}
    with pytest.raises(TypeError, match=r"^[^\n]*'endpiont'[^\n]*$"):
        InfraPrismSpanExporter(**settings)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("INFRAPRISM_ENDPOINT", "hunter2"),
        ("INFRAPRISM_PROTOCOL", "hunter2"),
        ("INFRAPRISM_API_KEY", "hunt er2"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "hunter2"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "hunter2"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2"),
        ("INFRAPRISM_API_KEY", "sk-hunter2"),
        ("INFRAPRISM_CERTIFICATE", "/no/hunter2"),
        ("INFRAPRISM_CLIENT_KEY", "/no/hunter2"),
    ],
)
def test_an_invalid_variable_is_logged_once_and_events_are_counted_as_dropped(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(variable, value)
    for _ in range(2):
        exporter = InfraPrismSpanExporter()
        exporter.export_events(events(3))
        exporter.shutdown()
        assert exporter.delivery_stats.snapshot()["dropped"] == {"bad_settings": 3}
    [record] = caplog.records
    assert variable in record.getMessage()
    assert "hunter2" not in record.getMessage()
    assert "er2" not in record.getMessage()


def test_a_missing_key_is_logged_once_and_events_are_counted_as_dropped(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        exporter = InfraPrismSpanExporter()
        exporter.export_events(events(3))
        assert not exporter.force_flush()
        exporter.shutdown()
        assert exporter.delivery_stats.snapshot()["dropped"] == {"no_api_key": 3}
    assert [record.getMessage() for record in caplog.records] == [delivery_log.NO_API_KEY]


def test_a_key_sent_over_an_unencrypted_connection_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    InfraPrismSpanExporter("http://10.0.0.1:4318", "ip-key").shutdown()
    InfraPrismSpanExporter("http://localhost:4318", "ip-key").shutdown()
    InfraPrismSpanExporter("https://prism.example", "ip-key").shutdown()
    [record] = caplog.records
    assert "10.0.0.1:4318" in record.getMessage()
    assert "ip-key" not in record.getMessage()


def test_the_repr_of_settings_contains_neither_key_nor_headers() -> None:
    found = _read({"api_key": "ip-secret", "headers": {"x-token": "hunter2"}})
    assert "ip-secret" not in repr(found)
    assert "hunter2" not in repr(found)


def test_certificates_are_checked_when_the_exporter_is_created(tmp_path: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    names = {"ca": authority.cert_pem, "other": other.issue_cert("me").private_key_pem}
    for name, blob in names.items():
        blob.write_to_path(tmp_path / name)
    mine = authority.issue_cert("me")
    mine.cert_chain_pems[0].write_to_path(tmp_path / "cert")
    mine.private_key_pem.write_to_path(tmp_path / "key")
    mine.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both")
    (tmp_path / "none").write_text("nothing here")

    def read(**files: str) -> Settings:
        arguments: dict[str, object] = {name: str(tmp_path / file) for name, file in files.items()}
        return _read({"endpoint": "https://host", **arguments})

    read(certificate_file="ca", client_certificate_file="cert", client_key_file="key")
    read(client_certificate_file="both")
    with pytest.raises(SettingsError, match=r"^certificate_file names a file without certificates"):
        read(certificate_file="none")
    with pytest.raises(SettingsError, match=r"^client_key_file needs a client certificate"):
        read(client_key_file="key")
    with pytest.raises(SettingsError, match=r"^client_certificate_file and its key do not match"):
        read(client_certificate_file="cert", client_key_file="other")


OWN = "https://prism.example"
ELSEWHERE = "https://collector.corp.example:4318"
CERTIFICATES = {
    "CERTIFICATE": "certificate_file",
    "CLIENT_CERTIFICATE": "client_certificate_file",
    "CLIENT_KEY": "client_key_file",
}


@pytest.fixture
def pem(tmp_path: Path) -> dict[str, str]:
    """The files of two authorities by the suffix of their variable: ours, and with `other-` those of another."""
    found = {}
    for prefix in ("", "other-"):
        authority = trustme.CA()
        leaf = authority.issue_cert("me")
        for suffix, blob in (
            ("CERTIFICATE", authority.cert_pem),
            ("CLIENT_CERTIFICATE", leaf.cert_chain_pems[0]),
            ("CLIENT_KEY", leaf.private_key_pem),
        ):
            blob.write_to_path(tmp_path / f"{prefix}{suffix}")
            found[prefix + suffix] = str(tmp_path / f"{prefix}{suffix}")
    return found


def _files(found: Settings) -> dict[str, str | None]:
    return {suffix: getattr(found, name) for suffix, name in CERTIFICATES.items()}


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("prefix", ["OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_TRACES_"])
@pytest.mark.parametrize(
    ("endpoints", "used"),
    [
        ({}, True),
        ({"": OWN}, True),
        ({"": "prism.example:4317"}, True),
        ({"": ELSEWHERE}, False),
        ({"TRACES_": ELSEWHERE}, False),
        ({"": ELSEWHERE, "TRACES_": OWN}, True),
        ({"": "not a [url"}, False),
    ],
)
def test_standard_certificates_are_used_if_their_endpoint_is_unset_or_is_ours(
    protocol: str, prefix: str, endpoints: dict[str, str], used: bool, pem: dict[str, str]
) -> None:
    environment = {prefix + suffix: pem[suffix] for suffix in CERTIFICATES}
    environment |= {f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT": url for signal, url in endpoints.items()}
    found = _read(INFRAPRISM_ENDPOINT=OWN, INFRAPRISM_PROTOCOL=protocol, **environment)
    assert _files(found) == {suffix: pem[suffix] if used else None for suffix in CERTIFICATES}


def test_standard_certificates_of_the_endpoint_of_another_signal_are_not_used(pem: dict[str, str]) -> None:
    elsewhere = {
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": ELSEWHERE,
        "OTEL_EXPORTER_OTLP_CERTIFICATE": pem["CERTIFICATE"],
    }
    assert _read(INFRAPRISM_ENDPOINT=OWN, **elsewhere).certificate_file is None


def test_on_the_local_machine_another_port_is_another_endpoint(pem: dict[str, str]) -> None:
    local = {"OTEL_EXPORTER_OTLP_CERTIFICATE": pem["CERTIFICATE"], "INFRAPRISM_ENDPOINT": "https://localhost:9000"}
    assert _read(OTEL_EXPORTER_OTLP_ENDPOINT="https://localhost:4318", **local).certificate_file is None
    assert _read(OTEL_EXPORTER_OTLP_ENDPOINT="https://localhost:9000", **local).certificate_file is not None


@pytest.mark.parametrize("content", [None, "no certificate"])
@pytest.mark.parametrize("suffix", CERTIFICATES)
def test_a_broken_file_of_another_endpoint_is_ignored(
    suffix: str, content: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "broken"
    if content is not None:
        file.write_text(content)
    for endpoint, standard in ((OWN, ELSEWHERE), ("http://localhost:4318", "")):
        found = _read(
            INFRAPRISM_ENDPOINT=endpoint,
            OTEL_EXPORTER_OTLP_ENDPOINT=standard,
            **{f"OTEL_EXPORTER_OTLP_{suffix}": str(file)},
        )
        assert _files(found) == dict.fromkeys(CERTIFICATES)
    assert caplog.records == []


def test_an_unreadable_file_of_our_endpoint_is_an_error_of_one_line_that_names_the_variable() -> None:
    for variable in ("INFRAPRISM_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE"):
        with pytest.raises(SettingsError, match=f"^{variable} names a file that cannot be read[^\n]*$"):
            _read(INFRAPRISM_ENDPOINT=OWN, **{variable: "/no/such.pem"})


def test_our_own_certificate_variables_win_over_the_standard_ones_and_arguments_over_both(pem: dict[str, str]) -> None:
    standard = {f"OTEL_EXPORTER_OTLP_{suffix}": pem[f"other-{suffix}"] for suffix in CERTIFICATES}
    own = {f"INFRAPRISM_{suffix}": pem[suffix] for suffix in CERTIFICATES}
    ours = {suffix: pem[suffix] for suffix in CERTIFICATES}
    assert _files(_read(INFRAPRISM_ENDPOINT=OWN, **standard, **own)) == ours
    arguments: dict[str, object] = {name: pem[suffix] for suffix, name in CERTIFICATES.items()}
    assert _files(_read({"endpoint": OWN, **arguments}, **standard)) == ours


def test_the_key_of_a_standard_client_certificate_is_not_combined_with_a_certificate_of_ours(
    tmp_path: Path, pem: dict[str, str]
) -> None:
    both = tmp_path / "both"
    both.write_text(Path(pem["CLIENT_CERTIFICATE"]).read_text() + Path(pem["CLIENT_KEY"]).read_text())
    found = _read(
        INFRAPRISM_ENDPOINT=OWN,
        INFRAPRISM_CLIENT_CERTIFICATE=str(both),
        OTEL_EXPORTER_OTLP_CLIENT_KEY=pem["other-CLIENT_KEY"],
    )
    assert (found.client_certificate_file, found.client_key_file) == (str(both), None)


def test_a_preview_accepts_any_key_since_it_sends_nothing() -> None:
    assert _read(INFRAPRISM_PREVIEW="1", INFRAPRISM_API_KEY="test").preview
