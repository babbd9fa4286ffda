"""Starting, startup errors, and stopping of the server."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.kit.backend import Backend, span, start
from tests.kit.command import clean_environment
from tests.kit.events import event

from infraprism.backend import preflight
from infraprism.backend.accounts import Accounts, InvalidKeyError


def _startup_error(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert output == ""
    assert errors.count("\n") == 1, errors
    return errors


def test_the_first_start_prints_a_key_once_and_stores_only_its_hash(tmp_path: Path) -> None:
    with Backend(tmp_path / "data", key=None) as backend:
        (line,) = [line for line in backend.lines if "export INFRAPRISM_API_KEY=ip-" in line]
        key = line.strip().partition("=")[2]
        assert backend.get("/v1/me", key).status == 200
        (link,) = [line.strip() for line in backend.lines if "/auth/setup?token=" in line]
        assert link.startswith(backend.url)
        token = link.partition("=")[2]
        assert backend.http(f"/auth/setup?token={token}", None, {}).status == 200
        assert backend.stop()[0] == 0
    for secret in (key, token):
        assert all(secret.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert (tmp_path / "data" / "accounts.sqlite").stat().st_mode & 0o077 == 0
    with Backend(tmp_path / "data", key=None) as again:
        assert not any("ip-" in line or "token=" in line for line in again.lines)
        assert again.get("/v1/me", key).status == 200


def test_the_key_in_the_environment_becomes_the_first_key_and_is_not_printed(tmp_path: Path) -> None:
    with Backend(tmp_path / "data") as backend:
        assert backend.get("/v1/me").status == 200
        assert not any(backend.key in line for line in backend.lines)
        assert backend.stop(signal.SIGINT)[0] == 0
        assert [line for line in backend.lines if "INFRAPRISM_API_KEY" in line] == []
    with Backend(tmp_path / "data", key="ip-another-key-than-the-first") as other:
        assert any("is no key of this data directory" in line for line in other.lines)
        assert other.get("/v1/me").status == 401


@pytest.mark.parametrize("key", ["ip-short", "sk-not-one-of-ours-at-all", "ip-with a space in it", "ip-" + "x" * 200])
def test_an_invalid_key_in_the_environment_is_a_startup_error(tmp_path: Path, key: str) -> None:
    error = _startup_error(start(tmp_path / "data", key=key))
    assert "INFRAPRISM_API_KEY" in error
    assert key not in error
    accounts = Accounts(tmp_path / "accounts.sqlite")
    with pytest.raises(InvalidKeyError):
        accounts.add_with_key(key)
    assert accounts.is_empty()
    accounts.close()


@pytest.mark.parametrize("given", ["data", "./data", "a/b/../data", "a b/d%20#ta", "é"])
def test_the_data_directory_may_be_any_relative_path(tmp_path: Path, given: str) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    command = [sys.executable, "-m", "infraprism.cli", "serve", "--data-dir", given, "--port", "0", "--grpc-port", "0"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = [next(process.stdout, "") for _ in range(5)]
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert "export INFRAPRISM_API_KEY=ip-" in lines[1]
    assert f"data in {(tmp_path / given).resolve()}" in lines[4]
    assert (tmp_path / given / "accounts.sqlite").exists()


_FAILURES = (
    "serving.EmbeddedDatabase = mock.Mock(side_effect=store.StoreError(81))",
    "serving.RecentCalls = mock.Mock(side_effect=OSError('no space'))",
    "serving.over_grpc.server = lambda *_: mock.Mock(add_insecure_port=mock.Mock(side_effect=RuntimeError))",
)


def _start_failing(data: Path, step: int) -> subprocess.Popen[str]:
    """A server that fails at a step of its start: its key is invalid, or a part of it cannot start."""
    if step == 0:
        return start(data, key="ip-short")
    program = (
        "import sys; from pathlib import Path; from unittest import mock;"
        " from infraprism.backend import serving, store; from infraprism.backend.server import Settings, run;"
        f" {_FAILURES[step - 1]}; sys.exit(run(Settings(data_dir=Path(sys.argv[1]), port=0, grpc_port=0)))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program, str(data)],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("step", range(4), ids=["key", "store", "calls", "gRPC"])
def test_a_failed_start_leaves_nothing_behind(tmp_path: Path, step: int) -> None:
    data = tmp_path / "data"
    with socket.create_server(("127.0.0.1", 0)) as other:
        _startup_error(start(data, other.getsockname()[1]))
    assert list(tmp_path.iterdir()) == []
    _startup_error(_start_failing(data if step == 0 else data / "deeper", step))
    assert list(tmp_path.iterdir()) == []
    data.mkdir()
    (data / "file").write_text("mine")
    _startup_error(_start_failing(data, step))
    assert [path.name for path in data.iterdir()] == ["file"]


def test_a_failed_start_keeps_the_data_and_the_key_of_earlier_starts(tmp_path: Path) -> None:
    with Backend(tmp_path / "data") as backend:
        assert backend.export(span(event())).rejected == 0
    with socket.create_server(("127.0.0.1", 0)) as other:
        _startup_error(start(tmp_path / "data", other.getsockname()[1]))
    _startup_error(_start_failing(tmp_path / "data", 3))
    with Backend(tmp_path / "data") as backend:
        assert len(backend.events()) == 1


def test_a_second_server_on_the_same_data_directory_is_a_startup_error(tmp_path: Path) -> None:
    with Backend(tmp_path / "data"):
        assert "is in use by another infraprism server" in _startup_error(start(tmp_path / "data"))


def test_a_port_in_use_is_a_startup_error_that_names_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        error = _startup_error(start(tmp_path / "data", port))
        assert f"port {port} " in error
        assert "--port" in error
        assert "--grpc-port" in _startup_error(start(tmp_path / "data", 0, port))


def test_an_unwritable_data_directory_is_a_startup_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "--data-dir" in _startup_error(start(tmp_path / "file"))
    (tmp_path / "loop").symlink_to("loop")
    assert "--data-dir" in _startup_error(start(tmp_path / "loop"))
    (tmp_path / "data" / "lock").mkdir(parents=True)
    assert "--data-dir" in _startup_error(start(tmp_path / "data"))


def test_an_invalid_price_file_is_a_startup_error_that_names_the_entry(tmp_path: Path) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("prices:\n  - provider: openai\n    model: gpt-4o\n    rates: {input: 2.5}\n")
    error = _startup_error(start(tmp_path / "data", prices=prices))
    assert "INFRAPRISM_PRICES" in error
    assert "prices.yaml, entry 1: " in error
    assert "none.yaml" in _startup_error(start(tmp_path / "data", prices=tmp_path / "none.yaml"))
    assert not (tmp_path / "data").exists()


def test_missing_packages_are_a_startup_error_with_the_install_command(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['chdb'] = None; sys.modules['clickhouse_connect'] = None; from pathlib import Path;"
        " from infraprism.backend.server import Settings, run;"
        " sys.exit(run(Settings(data_dir=Path(sys.argv[1]), port=0, grpc_port=0)))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "data")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert "pip install 'infraprism-opentelemetry[server]'" in _startup_error(process)


def test_a_cpu_without_avx2_is_a_startup_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = tmp_path / "cpuinfo"
    monkeypatch.setattr(preflight, "CPU_INFO", cpu)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(preflight, "machine", lambda: "x86_64")
    cpu.write_text("flags\t\t: fpu sse4_2 avx2 bmi2\n")
    preflight.check_cpu()
    cpu.write_text("flags\t\t: fpu sse4_2 avx\n")
    with pytest.raises(preflight.StartupError, match="AVX2"):
        preflight.check_cpu()


def test_stopping_stores_all_accepted_requests(tmp_path: Path) -> None:
    accepted: list[int] = []

    def send(backend: Backend, first: int) -> None:
        for number in range(first, first + 10**6):
            try:
                answer = backend.export(span(event(number)))
            except OSError:
                return
            if answer.status == 503:
                return
            assert answer.rejected == 0
            accepted.append(number)

    with Backend(tmp_path / "data") as backend:
        with ThreadPoolExecutor(8) as pool:
            senders = [pool.submit(send, backend, sender * 10**6 + 1) for sender in range(8)]
            deadline = time.monotonic() + 30
            while len(accepted) < 8 and time.monotonic() < deadline:
                threading.Event().wait(0.02)
            backend.process.send_signal(signal.SIGTERM)
            for sender in senders:
                sender.result(timeout=60)
        assert backend.stop() == (0, "")
    with Backend(tmp_path / "data") as backend:
        assert {event(number).id for number in accepted} <= {found["id"] for found in backend.events()}


def test_repeated_stop_signals_are_ignored_while_the_server_stops(tmp_path: Path) -> None:
    with Backend(tmp_path / "data") as backend:
        assert backend.export(span(event())).rejected == 0
        deadline = time.monotonic() + 30
        while backend.process.poll() is None and time.monotonic() < deadline:
            backend.process.send_signal(signal.SIGTERM)
            threading.Event().wait(0.001)
        assert backend.stop() == (0, "")


def test_files_are_written_only_in_the_data_directory(tmp_path: Path) -> None:
    with Backend(tmp_path / "data") as backend:
        backend.export(span(event()))
        backend.events()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
