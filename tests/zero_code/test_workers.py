"""Each call in a worker process of gunicorn, uvicorn or Celery is one event."""

from __future__ import annotations

import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from tests.kit.ports import free_port
from tests.zero_code.process import APPS, Runtime, command

INSTRUMENT = "opentelemetry-instrument"
PACKAGES = "openai"
"""One client package: the tests differ in how workers are started. Each request is two calls."""


def _fetch(port: int, log: Path, timeout_s: float = 60.0) -> bytes:
    until = time.monotonic() + timeout_s
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as response:
                body: bytes = response.read()
                return body
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)


@pytest.mark.parametrize("options", [("--preload",), (), ("--preload", "--max-requests", "1")], ids=" ".join)
def test_calls_in_every_worker_of_gunicorn_are_counted_once(
    runtime: Runtime, tmp_path: Path, options: tuple[str, ...]
) -> None:
    port, log = free_port(), tmp_path / "log"
    server = (command("gunicorn"), "--workers", "2", *options, "--bind", f"127.0.0.1:{port}", "web:application")

    with runtime.running(command(INSTRUMENT), *server, log=log, SHOP_PACKAGES=PACKAGES):
        for _ in range(4):
            assert _fetch(port, log) == b"done"

    assert len(runtime.provider.calls) == 8
    assert runtime.all_received(), log.read_text()


SERVERS: dict[str, tuple[str, ...]] = {
    "gunicorn_preload": ("gunicorn", "--preload", "--workers", "2", "--bind", "127.0.0.1:PORT", "web:application"),
    "uvicorn_workers": (*("uvicorn", "--workers", "2", "--port", "PORT", "web:asgi"),),
    "uvicorn_reload": ("uvicorn", "--reload", "--port", "PORT", "web:asgi"),
}


@pytest.mark.parametrize("server", SERVERS)
def test_each_call_in_a_server_worker_is_one_event_and_the_telemetry_is_unchanged(
    runtime: Runtime, tmp_path: Path, server: str
) -> None:
    name, *options = SERVERS[server]
    log = tmp_path / "log"

    def serve(*, infraprism: bool) -> list[bytes]:
        runtime.clear()
        port = free_port()
        arguments = [option.replace("PORT", str(port)) for option in options]
        with runtime.running(
            command(INSTRUMENT),
            command(name),
            *arguments,
            log=log,
            infraprism=infraprism,
            distro=True,
            OTEL_TRACES_EXPORTER="otlp",
            OTEL_BSP_SCHEDULE_DELAY="200",
        ):
            for _ in range(2):
                assert _fetch(port, log) == b"done"
            # Two spans per request: that of the application and one of the anthropic package.
            runtime.wait_for_telemetry(spans=4)
            assert not infraprism or runtime.all_received(), log.read_text()
        return runtime.telemetry()

    bare = serve(infraprism=False)
    assert len(bare) == 4
    assert serve(infraprism=True) == bare


def _broker(folder: Path) -> str:
    for name in ("queue", "control", "results"):
        (folder / name).mkdir(parents=True)
    return str(folder)


CELERY = ("celery", "-A", "tasks", "worker", "--pool", "prefork", "--without-mingle", "-c")


@pytest.mark.parametrize("options", [(), ("--max-tasks-per-child", "1")], ids=["workers_persist", "workers_restart"])
def test_calls_in_every_prefork_worker_of_celery_are_counted_once(
    runtime: Runtime, tmp_path: Path, options: tuple[str, ...]
) -> None:
    log = tmp_path / "log"
    shop = {"SHOP_BROKER": _broker(tmp_path / "broker"), "SHOP_PACKAGES": PACKAGES}
    worker = (command(INSTRUMENT), command(CELERY[0]), *CELERY[1:], "2", *options)

    with runtime.running(*worker, log=log, **shop):
        client = runtime.run(command("python"), "tasks.py", "3", infraprism=False, **shop)

    assert client.out == "done\n" * 3, log.read_text()
    assert len(runtime.provider.calls) == 6
    assert runtime.all_received(), log.read_text()


def test_each_call_in_a_celery_worker_is_one_event_and_the_telemetry_is_unchanged(
    runtime: Runtime, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    worker = (command(INSTRUMENT), command(CELERY[0]), *CELERY[1:], "1")
    export = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_BSP_SCHEDULE_DELAY": "200"}

    def work(*, infraprism: bool) -> list[bytes]:
        runtime.clear()
        shop = {"SHOP_BROKER": _broker(tmp_path / f"broker-{infraprism}"), "SHOP_PACKAGES": PACKAGES}
        with runtime.running(*worker, log=log, infraprism=infraprism, distro=True, **shop, **export):
            client = runtime.run(command("python"), "tasks.py", "2", infraprism=False, **shop)
            assert client.out == "done\n" * 2, log.read_text()
            runtime.wait_for_telemetry(spans=2)
            assert not infraprism or runtime.all_received(), log.read_text()
        return runtime.telemetry()

    bare = work(infraprism=False)
    assert len(bare) == 2
    assert work(infraprism=True) == bare


def test_calls_in_a_reloaded_uvicorn_are_counted_once(runtime: Runtime, tmp_path: Path) -> None:
    port, log, apps = free_port(), tmp_path / "log", tmp_path / "apps"
    shutil.copytree(APPS, apps)
    server = (command("uvicorn"), "--reload", "--reload-dir", str(apps), "--port", str(port), "web:asgi")

    # uvicorn ends by the signal that stops it, before a flush at exit. So the test waits for the events.
    with runtime.running(command(INSTRUMENT), *server, log=log, cwd=apps, SHOP_PACKAGES=PACKAGES):
        assert _fetch(port, log) == b"done"
        assert runtime.all_received(), log.read_text()
        app = apps / "web.py"
        app.write_text(app.read_text().replace('b"done"', 'b"done again"'))
        until = time.monotonic() + 60
        while log.read_text().count("Application startup complete") < 2:
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        assert _fetch(port, log) == b"done again"
        assert runtime.all_received(), log.read_text()

    assert len(runtime.provider.calls) == 4
