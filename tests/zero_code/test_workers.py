"""Servers and queues that fork, restart and end worker processes: each call is one event."""

from __future__ import annotations

import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from tests.kit.ports import free_port
from tests.zero_code.process import APPS, Place, command

INSTRUMENT = "opentelemetry-instrument"
ASKS = "openai"
"""One client package: the workers differ in how they are made, not in whom they call. Each request is two calls."""


def _fetched(port: int, log: Path, timeout_s: float = 60.0) -> bytes:
    until = time.monotonic() + timeout_s
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
                body: bytes = answer.read()
                return body
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)


@pytest.mark.parametrize("options", [("--preload",), (), ("--preload", "--max-requests", "1")], ids=" ".join)
def test_every_worker_of_gunicorn_has_its_calls_counted_once(
    place: Place, tmp_path: Path, options: tuple[str, ...]
) -> None:
    port, log = free_port(), tmp_path / "log"
    server = (command("gunicorn"), "--workers", "2", *options, "--bind", f"127.0.0.1:{port}", "web:application")

    with place.running(command(INSTRUMENT), *server, log=log, SHOP_ASKS=ASKS):
        for _ in range(4):
            assert _fetched(port, log) == b"done"

    assert len(place.provider.calls) == 8
    assert place.all_arrived(), log.read_text()


SERVERS: dict[str, tuple[str, ...]] = {
    "gunicorn_preload": ("gunicorn", "--preload", "--workers", "2", "--bind", "127.0.0.1:PORT", "web:application"),
    "uvicorn_workers": (*("uvicorn", "--workers", "2", "--port", "PORT", "web:asgi"),),
    "uvicorn_reload": ("uvicorn", "--reload", "--port", "PORT", "web:asgi"),
}


@pytest.mark.parametrize("server", SERVERS)
def test_the_telemetry_of_a_servers_workers_is_as_before_and_each_call_one_event(
    place: Place, tmp_path: Path, server: str
) -> None:
    name, *options = SERVERS[server]
    log = tmp_path / "log"

    def served(*, infraprism: bool) -> list[bytes]:
        place.forget()
        port = free_port()
        asked = [option.replace("PORT", str(port)) for option in options]
        with place.running(
            command(INSTRUMENT),
            command(name),
            *asked,
            log=log,
            infraprism=infraprism,
            distro=True,
            OTEL_TRACES_EXPORTER="otlp",
            OTEL_BSP_SCHEDULE_DELAY="200",
        ):
            for _ in range(2):
                assert _fetched(port, log) == b"done"
            # Spans of the package's own come with the app's: all of a request, or they are still on their way.
            place.wait_until_told(spans=4)
            assert not infraprism or place.all_arrived(), log.read_text()
        return place.told()

    bare = served(infraprism=False)
    assert len(bare) == 4
    assert served(infraprism=True) == bare


def _broker(folder: Path) -> str:
    for name in ("queue", "control", "results"):
        (folder / name).mkdir(parents=True)
    return str(folder)


CELERY = ("celery", "-A", "tasks", "worker", "--pool", "prefork", "--without-mingle", "-c")


@pytest.mark.parametrize("options", [(), ("--max-tasks-per-child", "1")], ids=["workers_stay", "workers_end"])
def test_every_prefork_worker_of_celery_has_its_calls_counted_once(
    place: Place, tmp_path: Path, options: tuple[str, ...]
) -> None:
    log = tmp_path / "log"
    shop = {"SHOP_BROKER": _broker(tmp_path / "broker"), "SHOP_ASKS": ASKS}
    worker = (command(INSTRUMENT), command(CELERY[0]), *CELERY[1:], "2", *options)

    with place.running(*worker, log=log, **shop):
        asked = place.run(command("python"), "tasks.py", "3", infraprism=False, **shop)

    assert asked.out == "done\n" * 3, log.read_text()
    assert len(place.provider.calls) == 6
    assert place.all_arrived(), log.read_text()


def test_the_telemetry_of_a_celery_worker_is_as_before_and_each_call_one_event(place: Place, tmp_path: Path) -> None:
    log = tmp_path / "log"
    worker = (command(INSTRUMENT), command(CELERY[0]), *CELERY[1:], "1")
    told = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_BSP_SCHEDULE_DELAY": "200"}

    def worked(*, infraprism: bool) -> list[bytes]:
        place.forget()
        shop = {"SHOP_BROKER": _broker(tmp_path / f"broker-{infraprism}"), "SHOP_ASKS": ASKS}
        with place.running(*worker, log=log, infraprism=infraprism, distro=True, **shop, **told):
            asked = place.run(command("python"), "tasks.py", "2", infraprism=False, **shop)
            assert asked.out == "done\n" * 2, log.read_text()
            place.wait_until_told(spans=2)
            assert not infraprism or place.all_arrived(), log.read_text()
        return place.told()

    bare = worked(infraprism=False)
    assert len(bare) == 2
    assert worked(infraprism=True) == bare


def test_a_reloaded_uvicorn_has_its_calls_counted_once(place: Place, tmp_path: Path) -> None:
    port, log, apps = free_port(), tmp_path / "log", tmp_path / "apps"
    shutil.copytree(APPS, apps)
    server = (command("uvicorn"), "--reload", "--reload-dir", str(apps), "--port", str(port), "web:asgi")

    # A uvicorn that is told to stop ends by that signal itself, which leaves nobody time: so events are waited for.
    with place.running(command(INSTRUMENT), *server, log=log, cwd=apps, SHOP_ASKS=ASKS):
        assert _fetched(port, log) == b"done"
        assert place.all_arrived(), log.read_text()
        app = apps / "web.py"
        app.write_text(app.read_text().replace('b"done"', 'b"done again"'))
        until = time.monotonic() + 60
        while log.read_text().count("Application startup complete") < 2:
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        assert _fetched(port, log) == b"done again"
        assert place.all_arrived(), log.read_text()

    assert len(place.provider.calls) == 4
