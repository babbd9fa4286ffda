"""/healthz reports a disk that is nearly full, before events are refused."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest

from infraprism.backend import http_app


class Usage(NamedTuple):
    free: int


class Readable:
    def read(self, sql: str, parameters: object) -> list[bytes]:
        return [b'{"ok":1}']


@pytest.mark.parametrize(("free_bytes", "status"), [(2**30, "ok"), (2**30 - 1, "low_disk"), (0, "low_disk")])
def test_less_than_one_gib_free_is_low_disk(
    free_bytes: int, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def disk_usage(path: Path) -> Usage:
        asked.append(path)
        return Usage(free_bytes)

    monkeypatch.setattr(http_app, "disk_usage", disk_usage)
    with ThreadPoolExecutor(1) as readers:
        services = http_app.Services(cast("Any", None), cast("Any", Readable()), cast("Any", None), readers, tmp_path)
        routes: list[Any] = http_app.application(services).routes
        (health,) = (route.endpoint for route in routes if route.path == "/healthz")
        response = asyncio.run(health())
    assert response.body == b'{"status":"%s"}' % status.encode()
    assert asked == [tmp_path]
