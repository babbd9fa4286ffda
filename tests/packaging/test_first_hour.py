"""The path of a new user: the commands of the README, from an empty directory, with the built wheel.

It runs with the dependencies of the tests' environment, and in an empty environment in which pip installs the wheel.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.kit.command import clean_environment
from tests.kit.documented_commands import ROOT, commands
from tests.kit.provider import CANARY, OPENAI_KEY
from tests.kit.wheel import environment_with, installed

from infraprism.local_provider import LocalProvider

APP = """\
import openai

client = openai.OpenAI()
client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "CONTENT"}])
for chunk in client.chat.completions.create(
    model="gpt-4o-mini", messages=[{"role": "user", "content": "CONTENT"}], stream=True
):
    assert chunk.choices
print("done")
"""
README = [command.text for command in commands(ROOT / "README.md")]
_KEY = re.compile(r"export INFRAPRISM_API_KEY=(ip-\S+)")
_READY = re.compile(r"InfraPrism is ready: OTLP/HTTP and REST on (\S+),")


class Newcomer(NamedTuple):
    """A directory with an app and nothing else, the environment of its shell, and a running server."""

    directory: Path
    environment: dict[str, str]
    key: str
    url: str
    files: set[str]
    """The app, and the data directory of the server if it is in this directory."""

    def runs(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the README after the exports that the README gives, with this key and port."""
        exports = [line for line in README if line.startswith("export INFRAPRISM_") and "the-backends-host" not in line]
        script = "\n".join([*exports, command]).replace("ip-...", self.key).replace("http://localhost:4318", self.url)
        return subprocess.run(
            ["/bin/sh", "-c", script],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture(scope="module")
def programs_of_tests(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment_with(wheel, tmp_path_factory.mktemp("environment") / "environment")


@pytest.fixture(scope="module")
def installed_programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert "pip install 'infraprism-opentelemetry[server]'" in README
    return installed(wheel, "server", tmp_path_factory.mktemp("installed") / "environment", "openai")


@pytest.fixture(
    scope="module",
    params=[("programs_of_tests", ()), ("installed_programs", ()), ("installed_programs", ("--data-dir", "data"))],
    ids=["dependencies of the tests", "installed", "installed, with a relative directory"],
)
def newcomer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    programs_fixture, options = request.param
    programs: Path = request.getfixturevalue(programs_fixture)
    folder = tmp_path_factory.mktemp("newcomer")
    directory = folder / "empty"
    directory.mkdir()
    (directory / "app.py").write_text(APP.replace("CONTENT", CANARY))
    with LocalProvider(canary=CANARY) as provider:
        environment = clean_environment(
            PATH=f"{programs}{os.pathsep}{os.environ['PATH']}",
            XDG_DATA_HOME=str(folder / "share"),
            OPENAI_BASE_URL=provider.openai_base_url,
            OPENAI_API_KEY=OPENAI_KEY,
            INFRAPRISM_STREAM_USAGE="true",
            OTEL_RESOURCE_ATTRIBUTES="infraprism.entity_type=team,infraprism.entity_id=search",
        )
        assert "infraprism serve" in README
        log = folder / "serve.log"
        with log.open("wb") as output:
            server = subprocess.Popen(
                [programs / "infraprism", "serve", "--port", "0", "--grpc-port", "0", *options],
                cwd=directory,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            key, url = started(server, log)
            yield Newcomer(directory, environment, key, url, {"app.py", *options[1:]})
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) == 0, log.read_text()


def started(server: subprocess.Popen[bytes], log: Path) -> tuple[str, str]:
    """The key and the URL that the server prints."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and server.poll() is None:
        printed = log.read_text()
        if ready := _READY.search(printed):
            key = _KEY.search(printed)
            assert key is not None, printed
            return key[1], ready[1]
        time.sleep(0.05)
    raise AssertionError(log.read_text())


def test_the_commands_of_the_readme_lead_from_an_empty_directory_to_costs(newcomer: Newcomer) -> None:
    for command in ("opentelemetry-instrument python app.py", "infraprism events", "infraprism costs --by entity"):
        assert command in README

    app = newcomer.runs("opentelemetry-instrument python app.py")
    assert (app.returncode, app.stdout, app.stderr) == (0, "done\n", "")

    events = newcomer.runs("infraprism events")
    assert (events.returncode, events.stderr) == (0, "")
    assert events.stdout.count("gpt-4o-mini") == 2
    assert "no_usage" not in events.stdout
    assert CANARY not in events.stdout

    costs = newcomer.runs("infraprism costs --by entity")
    assert (costs.returncode, costs.stderr) == (0, "")
    (row,) = (line for line in costs.stdout.splitlines() if "team:search" in line)
    assert " 2 " in row

    doctor = newcomer.runs("infraprism doctor")
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    assert newcomer.key not in doctor.stdout
    assert OPENAI_KEY not in doctor.stdout


def test_the_app_leaves_nothing_in_its_directory(newcomer: Newcomer) -> None:
    assert {path.name for path in newcomer.directory.iterdir()} == newcomer.files
