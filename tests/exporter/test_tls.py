"""TLS and client certificates, over both protocols."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from tests.exporter.conftest import Make
from tests.kit.events import events
from tests.kit.otlp_sink import OtlpSink, Tls

pytestmark = pytest.mark.usefixtures("short_waits")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    authority, other = trustme.CA(), trustme.CA()
    server, client = authority.issue_cert("localhost"), authority.issue_cert("app@example.com")
    authority.cert_pem.write_to_path(tmp_path / "ca")
    other.cert_pem.write_to_path(tmp_path / "other")
    for name, leaf in (("server", server), ("client", client)):
        leaf.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.cert")
        leaf.private_key_pem.write_to_path(tmp_path / f"{name}.key")
    client.private_key_and_cert_chain_pem.write_to_path(tmp_path / "client.both")
    return tmp_path


@pytest.fixture
def encrypted(protocol: str, files: Path) -> Iterator[OtlpSink]:
    with OtlpSink(protocol, tls=Tls(files / "server.cert", files / "server.key")) as sink:
        yield sink


@pytest.fixture
def strict(protocol: str, files: Path) -> Iterator[OtlpSink]:
    with OtlpSink(protocol, tls=Tls(files / "server.cert", files / "server.key", files / "ca")) as sink:
        yield sink


def test_a_custom_certificate_authority_is_used(
    encrypted: OtlpSink, make: Make, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The application's own requests may use another authority.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(files / "other"))
    exporter = make(encrypted.endpoint, certificate_file=str(files / "ca"))
    exporter.export_events(events(3))
    assert exporter.force_flush(10_000)
    assert len(encrypted.spans()) == 3


def test_the_standard_variables_for_certificates_are_used(
    strict: OtlpSink, make: Make, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(files / "other"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", str(files / "ca"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", str(files / "client.cert"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", str(files / "client.key"))
    exporter = make(strict.endpoint)
    exporter.export_events(events(3))
    assert exporter.force_flush(10_000)


def test_one_file_may_contain_the_client_certificate_and_its_key(strict: OtlpSink, make: Make, files: Path) -> None:
    exporter = make(
        strict.endpoint, certificate_file=str(files / "ca"), client_certificate_file=str(files / "client.both")
    )
    exporter.export_events(events(3))
    assert exporter.force_flush(10_000)


def test_nothing_is_sent_to_an_endpoint_that_is_not_trusted(
    encrypted: OtlpSink, make: Make, files: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = make(encrypted.endpoint, certificate_file=str(files / "other"))
    exporter.export_events(events(3))
    assert not exporter.force_flush(500)
    exporter.shutdown(timeout_millis=500)
    assert encrypted.requests == []
    assert exporter.delivery_stats.snapshot()["dropped"] == {"shutdown": 3}
    assert any("check" in record.getMessage() for record in caplog.records)
