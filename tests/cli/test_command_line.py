from __future__ import annotations

import re
import socket
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Event, Thread

import pytest
from tests.kit.command import infraprism

from infraprism.cli import rest
from infraprism.cli.failure import Failure
from infraprism.cli.main import COMMANDS

KEY = "ip-NEVERSHOWNNEVERSHOWN"


@pytest.fixture(scope="module")
def free_address() -> str:
    """A URL of this machine where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_help_lists_every_command_and_the_environment_variables() -> None:
    shown = infraprism("--help")
    assert shown.returncode == 0
    assert all(re.search(rf"^    {name}\s", shown.stdout, re.MULTILINE) for name in COMMANDS)
    assert "INFRAPRISM_API_KEY" in shown.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(name: str) -> None:
    shown = infraprism(name, "--help")
    assert shown.returncode == 0
    assert f"  infraprism {name}" in shown.stdout
    assert "xample" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["events", "--limit", "many"], "--limit"),
        (["events", "--limit", "-1"], "--limit"),
        (["events", "--start", "2026-10"], "--start"),
        (["events", "--end", "2026-W44"], "--end"),
        (["costs", "--start", "31.10.2026"], "--start"),
        (["costs", "--tag", "feature"], "--tag"),
        (["costs", "--entity", "robot:r2"], "--entity"),
        (["costs", "--by", "colour"], "--by"),
        (["costs", "--by", "day", "--by", "day"], "--by"),
        (["costs", "--by", "day", "--by", "model", "--by", "entity"], "--by"),
        (["serve", "--port", "65536"], "--port"),
        (["serve", "--grpc-port", "x"], "--grpc-port"),
        (["serve", "--data-dir", ""], "--data-dir"),
        (["demo", "--port", "x"], "--port"),
        (["price", "--input-tokens", "x"], "--input-tokens"),
        (["price", "--output-tokens", "-1"], "--output-tokens"),
        (["price", "--at", "x"], "--at"),
        (["price", "--tier", "x"], "--tier"),
        (["keys", "list", "--data-dir", ""], "--data-dir"),
        (["account", "set", "usage-detail", "maybe"], "VALUE"),
        (["account", "set", "colour", "on"], "SETTING"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_invalid_argument_is_an_error_that_names_the_option(arguments: list[str], option: str) -> None:
    ran = infraprism(*arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert f"error: argument {option}: " in ran.stderr.splitlines()[-1]
    assert "_" not in ran.stderr.splitlines()[-1].partition(f"argument {option}: ")[2]  # no name of a function


def test_a_server_that_does_not_respond_is_an_error_of_one_line_after_ten_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        ran = infraprism("costs", environment={"INFRAPRISM_ENDPOINT": endpoint, "INFRAPRISM_API_KEY": KEY})
        assert 9 < time.monotonic() - started < 20
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == (f"infraprism: {endpoint} did not respond within 10 seconds: check INFRAPRISM_ENDPOINT\n")


def test_a_server_that_sends_one_byte_a_second_is_the_same_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "TIMEOUT_S", 1.0)
    finished = Event()
    with socket.create_server(("127.0.0.1", 0)) as slow:

        def respond() -> None:
            connection, _ = slow.accept()
            with connection, suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
                while not finished.wait(0.2):
                    connection.sendall(b" ")

        sending = Thread(target=respond, daemon=True)
        sending.start()
        with pytest.raises(Failure, match="did not respond within 1 seconds"):
            rest.Api(f"http://127.0.0.1:{slow.getsockname()[1]}", KEY).get("/v1/me")
        finished.set()
        sending.join(10)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["events", "--entity", "acme"],
        ["events", "--limit", "0"],
        ["events", "--start", "yesterday"],
        ["events", "--tag", "Feature"],
        ["costs", "--by", "colour"],
        ["preview"],
        ["preview", "--"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_status_2(arguments: list[str]) -> None:
    ran = infraprism(*arguments)
    assert ran.returncode == 2
    assert "usage:" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("command", [["events"], ["costs"], ["events", "--json"]], ids=" ".join)
def test_the_error_for_a_missing_key_names_the_variable(command: list[str]) -> None:
    ran = infraprism(*command)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert len(ran.stderr.splitlines()) == 1
    assert "INFRAPRISM_API_KEY" in ran.stderr


@pytest.mark.parametrize("command", ["events", "costs"])
@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        (None, "nothing listens at"),
        ("localhost", "is not a URL"),
        ("http://[", "is not a URL"),
        ("ftp://x", "is not a URL"),
    ],
    ids=["nothing listens", "no scheme", "broken", "other scheme"],
)
def test_an_endpoint_that_fails_is_an_error_of_one_line(
    free_address: str, command: str, endpoint: str | None, message: str
) -> None:
    environment = {"INFRAPRISM_ENDPOINT": endpoint or free_address, "INFRAPRISM_API_KEY": KEY}
    ran = infraprism(command, environment=environment)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert len(ran.stderr.splitlines()) == 1
    assert message in ran.stderr
    assert KEY not in ran.stderr


def test_another_server_at_the_endpoint_is_an_error_of_one_line() -> None:
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        ran = infraprism("events", environment={"INFRAPRISM_ENDPOINT": endpoint, "INFRAPRISM_API_KEY": KEY})
        server.shutdown()
    assert ran.returncode == 1
    assert len(ran.stderr.splitlines()) == 1
    assert "not an InfraPrism backend" in ran.stderr


def test_a_missing_app_is_an_error_of_one_line() -> None:
    ran = infraprism("preview", "--", "no-such-program")
    assert (ran.returncode, ran.stderr) == (1, "infraprism: no-such-program: command not found\n")


def test_demo_with_real_providers_needs_a_key() -> None:
    ran = infraprism("demo", "--real")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == "infraprism: --real needs OPENAI_API_KEY or ANTHROPIC_API_KEY\n"
