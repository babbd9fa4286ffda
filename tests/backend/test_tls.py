"""`infraprism serve` with TLS, over HTTP and gRPC, with real handshakes; and where it refuses to listen without."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event as Signal

import grpc  # type: ignore[import-untyped]  # the package has no types
import pytest
import requests
import trustme
from cryptography import x509
from tests.kit.backend import KEY, Backend, request, span
from tests.kit.command import clean_environment
from tests.kit.events import events

from infraprism.exporter import InfraPrismSpanExporter

_WAIT_S = 20.0


class Pair:
    """The files of a certificate. `replace` writes another pair, of the same authority."""

    def __init__(self, directory: Path) -> None:
        self.authority = trustme.CA()
        self.ca, self.certificate, self.key = (directory / name for name in ("ca.pem", "cert.pem", "key.pem"))
        self.authority.cert_pem.write_to_path(self.ca)
        self.replace()

    def replace(self) -> int:
        """Write a new pair. Returns the serial number of its certificate."""
        leaf = self.authority.issue_cert("localhost", "127.0.0.1")
        _write(self.key, leaf.private_key_pem.bytes())
        _write(self.certificate, leaf.cert_chain_pems[0].bytes())
        return x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes()).serial_number


def _write(path: Path, content: bytes) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(content)
    other.chmod(0o600)
    other.replace(path)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def serve(data: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    ports = ("--port", "0", "--grpc-port", "0")
    return subprocess.Popen(
        [sys.executable, "-m", "infraprism.cli", "serve", "--data-dir", str(data), *ports, *options],
        env=clean_environment(INFRAPRISM_API_KEY=KEY, **environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def server(tmp_path: Path, pair: Pair) -> Iterator[Backend]:
    process = serve(tmp_path / "data", "--tls-cert", str(pair.certificate), "--tls-key", str(pair.key))
    with Backend.running(process, tmp_path / "data") as running:
        yield running


def address(server: Backend) -> tuple[str, int]:
    parts = urllib.parse.urlsplit(server.url)
    assert (parts.scheme, parts.hostname) == ("https", "127.0.0.1")
    return "127.0.0.1", parts.port or 0


def serial(host: str, port: int, pair: Pair) -> int:
    """The serial number of the certificate that a listener shows, which must be valid."""
    context = ssl.create_default_context(cafile=str(pair.ca))
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection((host, port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as encrypted,
    ):
        shown = encrypted.getpeercert(binary_form=True)
        assert shown is not None
        return x509.load_der_x509_certificate(shown).serial_number


def listeners(server: Backend) -> list[tuple[str, int]]:
    host, _, port = server.grpc_address.rpartition(":")
    return [address(server), (host, int(port))]


def becomes(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline:
        if condition():
            return True
        Signal().wait(0.05)
    return False


def test_requests_over_http_and_grpc_are_encrypted_and_verified(server: Backend, pair: Pair) -> None:
    authorization = {"authorization": f"Bearer {KEY}"}
    answer = requests.get(f"{server.url}/v1/me", headers=authorization, verify=str(pair.ca), timeout=10)
    assert answer.status_code == 200
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"{server.url}/v1/me", headers=authorization, timeout=10)
    credentials = grpc.ssl_channel_credentials(pair.ca.read_bytes())
    with grpc.secure_channel(server.grpc_address, credentials) as channel:
        export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        body = request(map(span, events(3))).SerializeToString()
        export(body, metadata=tuple(authorization.items()), timeout=10)
    listed = requests.get(f"{server.url}/v1/events", headers=authorization, verify=str(pair.ca), timeout=10)
    assert len(listed.json()["data"]) == 3


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_our_exporter_delivers_through_tls(server: Backend, pair: Pair, protocol: str) -> None:
    endpoint = server.url if protocol == "http/protobuf" else f"https://{server.grpc_address}"
    exporter = InfraPrismSpanExporter(endpoint, KEY, protocol=protocol, certificate_file=str(pair.ca))
    exporter.export_events(events(5))
    assert exporter.force_flush(10_000)
    exporter.shutdown()
    authorization = {"authorization": f"Bearer {KEY}"}
    listed = requests.get(f"{server.url}/v1/events", headers=authorization, verify=str(pair.ca), timeout=10)
    assert len(listed.json()["data"]) == 5


def test_requests_without_tls_get_no_response_with_data(server: Backend) -> None:
    with socket.create_connection(address(server), timeout=10) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP/1.1" not in plain.recv(1000)


@pytest.mark.parametrize("index", [0, 1], ids=["HTTP", "gRPC"])
def test_versions_of_tls_before_1_2_are_refused(server: Backend, pair: Pair, index: int) -> None:
    def handshake(version: ssl.TLSVersion) -> str | None:
        context = ssl.create_default_context(cafile=str(pair.ca))
        context.minimum_version = context.maximum_version = version
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.set_alpn_protocols(["h2", "http/1.1"])
        with (
            socket.create_connection(listeners(server)[index], timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as encrypted,
        ):
            return encrypted.version()

    assert handshake(ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    assert handshake(ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    for version in ("TLSv1", "TLSv1_1"):
        with pytest.warns(DeprecationWarning, match=version), pytest.raises((ssl.SSLError, ConnectionResetError)):
            handshake(ssl.TLSVersion[version])


@pytest.mark.parametrize("by_signal", [False, True], ids=["by change", "by SIGHUP"])
def test_a_new_pair_is_used_for_new_connections_and_open_ones_continue(
    server: Backend, pair: Pair, by_signal: bool
) -> None:
    context = ssl.create_default_context(cafile=str(pair.ca))
    with contextlib.closing(http.client.HTTPSConnection(*address(server), timeout=10, context=context)) as connection:
        connection.connect()
        opened = connection.sock

        def answers() -> bool:
            connection.request("GET", "/healthz")
            return connection.getresponse().read() != b"" and connection.sock is opened

        assert answers()
        before = {serial(*listener, pair) for listener in listeners(server)}
        new = pair.replace()
        assert new not in before
        if by_signal:
            server.process.send_signal(signal.SIGHUP)
        for listener in listeners(server):
            assert becomes(lambda listener=listener: answers() and serial(*listener, pair) == new)  # type: ignore[misc]
        assert answers()
    status, errors = server.stop()
    assert (status, errors) == (0, "the TLS certificate was loaded again\n")


def test_a_broken_pair_keeps_the_last_one_and_is_reported_once(server: Backend, pair: Pair, tmp_path: Path) -> None:
    before = serial(*listeners(server)[0], pair)
    errors = server.process.stderr
    assert errors is not None
    for content in (b"no PEM", trustme.CA().issue_cert("localhost").private_key_pem.bytes()):
        _write(pair.key, content)
        server.process.send_signal(signal.SIGHUP)
        line = errors.readline()
        assert line.startswith(f"--tls-cert {pair.certificate} and --tls-key {pair.key} cannot be used (")
        assert line.endswith("; the last certificate remains in use\n")
        server.process.send_signal(signal.SIGHUP)
        assert {serial(*listener, pair) for listener in listeners(server)} == {before}
    pair.key.unlink()
    server.process.send_signal(signal.SIGHUP)
    assert "cannot be read (No such file or directory)" in errors.readline()
    new = pair.replace()
    assert becomes(lambda: serial(*listeners(server)[1], pair) == new)
    assert errors.readline() == "the TLS certificate was loaded again\n"


def test_connections_without_a_handshake_do_not_keep_others_out(tmp_path: Path, pair: Pair) -> None:
    process = serve(tmp_path / "data", "--tls-cert", str(pair.certificate), "--tls-key", str(pair.key))
    with Backend.running(process, tmp_path / "data") as server:
        waiting = [socket.create_connection(address(server), timeout=10) for _ in range(50)]
        try:
            assert serial(*address(server), pair)
        finally:
            for one in waiting:
                one.close()


def test_a_key_that_others_can_read_is_reported(tmp_path: Path, pair: Pair) -> None:
    pair.key.chmod(0o644)
    process = serve(tmp_path / "data", INFRAPRISM_TLS_CERT=str(pair.certificate), INFRAPRISM_TLS_KEY=str(pair.key))
    with Backend.running(process, tmp_path / "data") as server:
        assert serial(*address(server), pair)
        status, errors = server.stop()
    assert (status, errors) == (0, f"warning: other users can read {pair.key}: set its mode to 0600\n")


def refused(data: Path, *options: str, **environment: str) -> str:
    process = serve(data, *options, **environment)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (1, "")
    assert len(errors.splitlines()) == 1
    assert not data.exists()
    return errors


@pytest.mark.parametrize("host", ["0.0.0.0", "::", socket.gethostbyname(socket.gethostname())])
def test_it_does_not_listen_for_other_machines_without_tls(tmp_path: Path, host: str) -> None:
    if host.startswith("127."):
        host = "0.0.0.0"
    error = refused(tmp_path / "data", "--host", host)
    for choice in ("--tls-cert and --tls-key", "--behind-proxy", "--host 127.0.0.1"):
        assert choice in error


def test_behind_a_proxy_it_listens_for_other_machines(tmp_path: Path) -> None:
    for options, environment in ((["--behind-proxy"], {}), ([], {"INFRAPRISM_BEHIND_PROXY": "true"})):
        process = serve(tmp_path / "data", "--host", "0.0.0.0", *options, **environment)
        with Backend.running(process, tmp_path / "data") as server:
            assert server.url.startswith("http://0.0.0.0:")
            assert server.http("/healthz", None, {}).status == 200


def test_settings_that_do_not_belong_together_are_refused(tmp_path: Path, pair: Pair) -> None:
    data = tmp_path / "data"
    assert "set both" in refused(data, "--tls-cert", str(pair.certificate))
    assert "set both" in refused(data, "--tls-key", str(pair.key))
    assert "--behind-proxy" in refused(data, "--client-address-header", "CF-Connecting-IP")
    assert "--trusted-proxies: networks such as" in refused(data, "--behind-proxy", "--trusted-proxies", "proxy-1")
    assert "INFRAPRISM_BEHIND_PROXY must be" in refused(data, INFRAPRISM_BEHIND_PROXY="ture")


def test_a_pair_that_cannot_be_used_is_an_error_of_one_line(tmp_path: Path, pair: Pair) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(other)
    with_passphrase = tmp_path / "passphrase.pem"
    subprocess.run(
        ["openssl", "rsa", "-aes256", "-passout", "pass:secret", "-in", str(pair.key), "-out", str(with_passphrase)]
        if b"RSA" in pair.key.read_bytes()
        else [
            "openssl",
            "ec",
            "-aes256",
            "-passout",
            "pass:secret",
            "-in",
            str(pair.key),
            "-out",
            str(with_passphrase),
        ],
        check=True,
        capture_output=True,
    )
    for key in (other, with_passphrase, tmp_path / "none", Path(os.devnull)):
        error = refused(tmp_path / "data", "--tls-cert", str(pair.certificate), "--tls-key", str(key))
        assert str(key) in error
