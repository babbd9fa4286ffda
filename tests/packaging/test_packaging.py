"""The wheel: it contains all packages, and installs no provider SDK and no server dependency."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tests.kit.wheel import run

CLIENT_PARTS = [
    *("schema", "providers", "pricing", "dialects", "attribution", "deduplication", "redaction", "processor"),
    *("exporter", "instrumentation", "cli", "local_provider"),
]
PARTS = [*CLIENT_PARTS, "backend"]
SERVER_ONLY = {"chdb", "chdb-core", "fastapi", "uvicorn", "clickhouse-connect", "pandas", "pydantic", "starlette"}
PROVIDER_SDKS = {"openai", "anthropic"}


@pytest.fixture(scope="module")
def client(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a new environment with the client install only."""
    folder = tmp_path_factory.mktemp("client")
    run(sys.executable, "-m", "venv", folder)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    return python


def test_the_wheel_contains_every_package_typed_and_no_init_file_of_the_namespace(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "infraprism/__init__.py" not in names
    for part in PARTS:
        assert f"infraprism/{part}/__init__.py" in names
        assert f"infraprism/{part}/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]


def test_every_client_package_imports_in_the_client_install(client: Path) -> None:
    run(client, "-W", "error", "-c", "; ".join(f"import infraprism.{part}" for part in CLIENT_PARTS))


def test_every_package_imports_in_an_editable_install() -> None:
    run(sys.executable, "-W", "error", "-c", "; ".join(f"import infraprism.{part}" for part in PARTS))


def test_the_client_install_has_no_provider_sdk_and_no_server_dependency(client: Path) -> None:
    listed = run(client, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check").lower()
    installed = {line.split("==")[0] for line in listed.splitlines()}
    assert "infraprism-opentelemetry" in installed
    assert installed.isdisjoint(SERVER_ONLY | PROVIDER_SDKS)


def test_the_client_install_runs_commands_and_serve_names_the_missing_extra(client: Path) -> None:
    infraprism = client.parent / "infraprism"
    assert "events" in run(infraprism, "--help")
    served = subprocess.run([infraprism, "serve"], capture_output=True, text=True, timeout=60, check=False)
    assert served.returncode == 1
    assert "infraprism-opentelemetry[server]" in served.stderr
    assert len(served.stderr.strip().splitlines()) == 1


def test_imports_load_no_provider_sdk_and_no_server_package() -> None:
    code = (
        "import infraprism.instrumentation, infraprism.processor, infraprism.exporter, sys;"
        "print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    )
    loaded = set(run(sys.executable, "-c", code).split())
    assert loaded.isdisjoint({"openai", "anthropic", "pydantic", "chdb", "fastapi", "uvicorn", "clickhouse_connect"})
