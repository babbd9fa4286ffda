"""gevent and eventlet patch the standard library, at any time: calls return, events are delivered, processes end."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import pytest
import trustme
from tests.kit.otlp_sink import OtlpSink, Tls
from tests.kit.ports import free_port
from tests.kit.provider import CANARY
from tests.zero_code.process import APPS, ENVIRONMENT, Runtime, command

from infraprism.local_provider import LocalProvider

INSTRUMENT: Final = "opentelemetry-instrument"
WHEN: Final = ("first", "import", "start", "call")
TIMEOUT_S: Final = 40.0
"""A process that runs longer is killed, and its status is None."""
MIN_BEATS: Final = 50
"""The event loop wakes a green thread every 5 ms, and the flush takes 2 s."""
UNREACHABLE: Final = "http://127.0.0.1:9"


class Ended(NamedTuple):
    """How a process ended."""

    name: str
    status: int | None
    out: str
    errors: str


@pytest.fixture(params=["http/protobuf", "grpc"])
def protocol(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


@pytest.fixture
def protocol_runtime(installed: list[str], protocol: str) -> Iterator[Runtime]:
    with LocalProvider(canary=CANARY) as provider, OtlpSink(protocol) as sink, OtlpSink() as user_sink:
        yield Runtime(provider, sink, user_sink, installed)
        assert CANARY.encode() not in sink.seen()


def _start(runtime: Runtime, package: str, when: str, end: str, **variables: str) -> subprocess.Popen[str]:
    python = (command("python"), "green.py", package, when, end)
    zero_code = when in ("start", "call")
    return subprocess.Popen(
        (command(INSTRUMENT), *python) if zero_code else python,
        env=runtime.environment(infraprism=True, SHOP_PACKAGES="openai", PYTHONWARNINGS="ignore", **variables),
        cwd=APPS,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _end(name: str, process: subprocess.Popen[str]) -> Ended:
    timer = threading.Timer(TIMEOUT_S, lambda: _kill(process.pid))
    timer.start()
    out, errors = process.communicate()
    timer.cancel()
    return Ended(name, None if process.returncode == -signal.SIGKILL else process.returncode, out, errors)


def _kill(process_id: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process_id, signal.SIGKILL)


def _assert_ended(processes: Sequence[Ended], out: str) -> None:
    """The processes ended normally, and no error of ours was reported."""
    for process in processes:
        assert (process.status, process.out) == (0, out), process
        assert "Exception ignored" not in process.errors, process
        assert "infraprism" not in process.errors, process


def _processes(runtime: Runtime, package: str, whens: Sequence[str], end: str, **variables: str) -> list[Ended]:
    """Run the app with each time of the patch, in concurrent processes."""
    started = [(when, _start(runtime, package, when, end, **variables)) for when in whens]
    return [_end(when, process) for when, process in started]


@pytest.mark.parametrize("package", ["gevent", "eventlet"])
def test_a_patched_process_delivers_its_events_and_flushes(
    protocol_runtime: Runtime, protocol: str, package: str
) -> None:
    whens = WHEN if protocol == "http/protobuf" else WHEN[:3]

    ended = _processes(protocol_runtime, package, whens, "flush", INFRAPRISM_PROTOCOL=protocol)

    _assert_ended(ended, "called\nflushed True\ndone\n")
    assert protocol_runtime.events() == protocol_runtime.billed()
    assert len(protocol_runtime.provider.calls) == 6 * len(whens) + 2 * ("call" in whens)


GRPC_IN_GEVENT: Final = {"INFRAPRISM_PROTOCOL": "grpc", "SHOP_GRPC": "init"}
"""The app calls gRPC's `init_gevent`, and our exporter sends over gRPC."""


@pytest.fixture
def grpc_runtime(installed: list[str]) -> Iterator[Runtime]:
    with LocalProvider(canary=CANARY) as provider, OtlpSink("grpc") as sink, OtlpSink() as user_sink:
        yield Runtime(provider, sink, user_sink, installed)
        assert CANARY.encode() not in sink.seen()


@pytest.mark.parametrize(("end", "out"), [("flush", "called\nflushed True\ndone\n"), ("exit", "called\ndone\n")])
def test_with_grpc_in_the_event_loop_of_gevent_events_are_delivered_by_a_flush_and_at_exit(
    grpc_runtime: Runtime, end: str, out: str
) -> None:
    whens = ("first", "import", "start")

    ended = _processes(grpc_runtime, "gevent", whens, end, **GRPC_IN_GEVENT)

    _assert_ended(ended, out)
    assert grpc_runtime.events() == grpc_runtime.billed()
    assert len(grpc_runtime.provider.calls) == 6 * len(whens)


@pytest.mark.parametrize("when", ["first", "import", "start"])
def test_with_grpc_in_the_event_loop_of_gevent_a_signal_handler_can_flush(grpc_runtime: Runtime, when: str) -> None:
    _assert_flushes_on_sigterm(grpc_runtime, "gevent", when, **GRPC_IN_GEVENT)


def test_with_grpc_in_the_event_loop_of_gevent_the_loop_runs_while_a_flush_waits(grpc_runtime: Runtime) -> None:
    process = _start(grpc_runtime, "gevent", "start", "flush", INFRAPRISM_ENDPOINT=UNREACHABLE, **GRPC_IN_GEVENT)

    ended = _end("start", process)

    assert ended == Ended("start", 0, "called\nflushed False\ndone\n", ended.errors)
    assert int(ended.errors.split("beats ")[1].split()[0]) > MIN_BEATS


@pytest.fixture
def encrypted_runtime(installed: list[str], protocol: str, tmp_path: Path) -> Iterator[Runtime]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca")
    server = authority.issue_cert("localhost")
    server.cert_chain_pems[0].write_to_path(tmp_path / "cert")
    server.private_key_pem.write_to_path(tmp_path / "key")
    tls = Tls(tmp_path / "cert", tmp_path / "key")
    with LocalProvider() as provider, OtlpSink(protocol, tls=tls) as sink, OtlpSink() as user_sink:
        yield Runtime(provider, sink, user_sink, installed)


@pytest.mark.parametrize("package", ["gevent", "eventlet"])
def test_a_patched_process_delivers_its_events_over_tls_at_exit(
    encrypted_runtime: Runtime, protocol: str, package: str, tmp_path: Path
) -> None:
    whens = ("import", "start")
    variables = {
        "INFRAPRISM_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_ENDPOINT": encrypted_runtime.infraprism_sink.endpoint,
        "OTEL_EXPORTER_OTLP_CERTIFICATE": str(tmp_path / "ca"),
    }

    ended = _processes(encrypted_runtime, package, whens, "exit", **variables)

    _assert_ended(ended, "called\ndone\n")
    assert encrypted_runtime.events() == encrypted_runtime.billed()
    assert len(encrypted_runtime.provider.calls) == 12


@pytest.mark.parametrize("package", ["gevent", "eventlet"])
def test_a_signal_handler_of_a_patched_process_can_flush(runtime: Runtime, package: str) -> None:
    _assert_flushes_on_sigterm(runtime, package, "start")


def _assert_flushes_on_sigterm(runtime: Runtime, package: str, when: str, **variables: str) -> None:
    process = _start(runtime, package, when, "wait", **variables)
    timer = threading.Timer(TIMEOUT_S, lambda: _kill(process.pid))
    timer.start()
    assert process.stdout is not None
    assert process.stdout.readline() == "called\n"
    process.send_signal(signal.SIGTERM)

    ended = _end(when, process)
    timer.cancel()

    assert ended == Ended(when, 3, "", ended.errors)
    assert runtime.events() == runtime.billed()
    assert len(runtime.provider.calls) == 6


@pytest.mark.parametrize("package", ["gevent", "eventlet"])
def test_the_event_loop_runs_while_a_flush_waits_for_an_unreachable_endpoint(
    runtime: Runtime, protocol: str, package: str
) -> None:
    process = _start(runtime, package, "start", "flush", INFRAPRISM_PROTOCOL=protocol, INFRAPRISM_ENDPOINT=UNREACHABLE)

    ended = _end("start", process)

    assert ended == Ended("start", 0, "called\nflushed False\ndone\n", ended.errors)
    assert int(ended.errors.split("beats ")[1].split()[0]) > MIN_BEATS


def _fetch(port: int, log: Path) -> bytes:
    until = time.monotonic() + TIMEOUT_S
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as response:
                body: bytes = response.read()
                return body
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)


@pytest.mark.parametrize("worker", ["gevent", "eventlet"])
def test_green_workers_of_gunicorn_deliver_their_events_and_stop(
    protocol_runtime: Runtime, protocol: str, worker: str, tmp_path: Path
) -> None:
    runtime, log, port = protocol_runtime, tmp_path / "log", free_port()
    variables = {"SHOP_PACKAGES": "openai", "INFRAPRISM_PROTOCOL": protocol}
    path = runtime.environment(infraprism=True)["PYTHONPATH"]
    if worker == "eventlet":  # later versions of gunicorn have no worker class for it
        path = os.pathsep.join([path, str(ENVIRONMENT / "gunicorn-25")])
    server = (command("python"), "-m", "gunicorn", "-k", worker, "--workers", "2", "--bind", f"127.0.0.1:{port}")

    with runtime.running(command(INSTRUMENT), *server, "web:application", log=log, PYTHONPATH=path, **variables):
        for _ in range(4):
            assert _fetch(port, log) == b"done"
        stopping = time.monotonic()

    assert time.monotonic() - stopping < TIMEOUT_S
    assert len(runtime.provider.calls) == 8
    assert runtime.all_received(), log.read_text()
