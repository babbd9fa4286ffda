"""The demo as a user runs it, compared with the record of the local provider, and its own checks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.kit.command import clean_environment, infraprism
from tests.kit.provider import ANTHROPIC_KEY, CANARY, OPENAI_KEY, provider

from infraprism.cli.demo import check
from infraprism.cli.failure import Failure
from infraprism.local_provider import LocalProvider
from infraprism.schema import exact_json

__all__ = ["provider"]

PROMPTS = ("maria@example.com", "My order 48213", "Jonas Weber", "You work at the support desk")


@pytest.fixture(scope="module")
def ran() -> subprocess.CompletedProcess[str]:
    return infraprism("demo", timeout_s=180)


def test_it_succeeds_and_prints_events_costs_and_a_call_with_its_span(ran: subprocess.CompletedProcess[str]) -> None:
    assert ran.returncode == 0, ran.stderr
    checked, result = ran.stderr.splitlines()[-2:]
    assert checked == "Checked: 11 requests, 9 calls, 9 events."
    assert result.startswith("Token counts equal the provider's. No part of ")
    assert "rate_limit 429" in ran.stdout
    assert "customer:acme-corp" in ran.stdout
    assert "customer:globex" in ran.stdout
    assert "without a price: 1 no_usage" in ran.stdout


def test_every_line_fits_80_columns(ran: subprocess.CompletedProcess[str]) -> None:
    assert [line for line in (ran.stdout + ran.stderr).splitlines() if len(line) > 80] == []


def test_the_tables_have_whole_entities(ran: subprocess.CompletedProcess[str]) -> None:
    tables = ran.stdout.partition("One call")[0]
    assert tables.count("customer:acme-corp") == 7
    assert "1 failed (11.1 %)" in tables
    assert "1 without a price" not in tables.partition("Cost per customer")[2]


def test_the_last_lines_are_commands_that_can_be_run(ran: subprocess.CompletedProcess[str]) -> None:
    commands = ran.stdout.partition("\nNext:\n")[2].splitlines()
    assert commands
    for command in commands:
        program, name, *_ = command.split()
        shown = subprocess.run([program, name, "--help"], capture_output=True, text=True, check=False)
        assert (shown.returncode, shown.stderr) == (0, ""), command


def test_the_span_that_was_sent_is_printed_next_to_the_request_and_response(
    ran: subprocess.CompletedProcess[str],
) -> None:
    columns = [line.partition(" │ ") for line in ran.stdout.splitlines() if " │" in line]
    left, right = "\n".join(part[0] for part in columns), "\n".join(part[2] for part in columns)
    assert "maria@example.com" in left
    assert "prompt_tokens" in left
    assert '"infraprism.input_tokens"' in right
    assert not [prompt for prompt in PROMPTS if prompt in right]


def test_with_real_providers_the_events_equal_the_calls_that_they_served(provider: LocalProvider) -> None:
    """A local provider replaces the real ones, through the environment variables of the vendors."""
    ran = infraprism(
        "demo",
        "--real",
        "--json",
        environment={
            "OPENAI_BASE_URL": provider.openai_base_url,
            "OPENAI_API_KEY": OPENAI_KEY,
            "ANTHROPIC_BASE_URL": provider.anthropic_base_url,
            "ANTHROPIC_API_KEY": ANTHROPIC_KEY,
        },
        timeout_s=180,
    )
    assert ran.returncode == 0, ran.stderr
    events = [exact_json.loads(line) for line in ran.stdout.splitlines()]
    truths = provider.calls
    assert len(truths) == 8
    assert sorted((event["model"], event["input_tokens"], event["output_tokens"]) for event in events if event) == [
        (truth.response_model, truth.reported.input_tokens, truth.reported.output_tokens)
        for truth in sorted(truths, key=lambda truth: (truth.response_model, truth.reported and truth.reported[:2]))
        if truth.reported
    ]
    for secret in (CANARY, OPENAI_KEY, ANTHROPIC_KEY, *PROMPTS):
        assert secret not in ran.stdout


def test_with_the_key_of_one_vendor_the_calls_of_the_other_are_skipped(provider: LocalProvider) -> None:
    environment = {"ANTHROPIC_BASE_URL": provider.anthropic_base_url, "ANTHROPIC_API_KEY": ANTHROPIC_KEY}
    ran = infraprism("demo", "--real", environment=environment, timeout_s=180)
    assert ran.returncode == 0, ran.stderr
    assert {truth.provider for truth in provider.calls} == {"anthropic"}
    assert "OUTPUT OF THE APP" in ran.stdout


def test_a_port_in_use_is_an_error_of_one_line_and_status_1(provider: LocalProvider) -> None:
    ran = infraprism("demo", "--port", str(provider.port), timeout_s=60)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert f"port {provider.port}" in ran.stderr.splitlines()[-1]


def test_serve_runs_until_it_is_interrupted_and_removes_its_files_and_processes(tmp_path: Path) -> None:
    # Processes started in the background by a shell ignore SIGINT, and their children inherit that.
    handle_sigint = "import signal, runpy; signal.signal(signal.SIGINT, signal.default_int_handler);"
    command = [sys.executable, "-c", f"{handle_sigint} runpy.run_module('infraprism.cli', run_name='__main__')"]
    command += ["demo", "--serve", "--json"]
    environment = clean_environment(TMPDIR=str(tmp_path))
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as serving:
        assert serving.stderr is not None
        assert serving.stdout is not None
        printed = next(line for line in serving.stderr if "INFRAPRISM_ENDPOINT=" in line)
        settings = dict(part.split("=") for part in printed.split()[1:])
        children = _children(serving.pid)
        listed = infraprism("events", "--json", environment=settings)
        serving.send_signal(signal.SIGINT)
        try:
            output, _ = serving.communicate(timeout=60)
        finally:
            serving.kill()
    assert sorted(listed.stdout.splitlines()) == sorted(output.splitlines())
    assert children
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
    assert list(tmp_path.iterdir()) == []


def _children(parent: int) -> Sequence[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def _exchanges(provider: LocalProvider) -> None:
    """One call, and one that the client retries."""
    import openai  # noqa: PLC0415  # only here

    with openai.OpenAI(base_url=provider.openai_base_url, api_key=OPENAI_KEY) as client:
        for model in ("gpt-4o", "gpt-4o-retry429"):
            client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Where is it? " * 4}])


def test_the_check_fails_for_a_missing_a_duplicate_and_a_wrong_event(provider: LocalProvider) -> None:
    _exchanges(provider)
    served = check.calls(provider.exchanges)
    events = [
        {
            "model": exchange.record.response_model,
            "input_tokens": exchange.record.reported.input_tokens,
            "output_tokens": exchange.record.reported.output_tokens,
            "success": True,
        }
        for exchange in served
        if exchange.record.reported
    ]
    assert (len(provider.exchanges), len(events)) == (3, 2)
    check.check_counts(served, events)
    for wrong in (events[:1], [*events, events[0]], [events[0], {**events[1], "input_tokens": 1}]):
        with pytest.raises(Failure):
            check.check_counts(served, wrong)


def test_the_check_fails_for_a_part_of_a_prompt_a_response_or_a_key(provider: LocalProvider) -> None:
    _exchanges(provider)
    content = check.contents(provider.exchanges, OPENAI_KEY)
    check.check_no_content([b"gpt-4o-2024-08-06", os.urandom(64)], content)
    for leak in ("Where is it? Where is it? ", CANARY, OPENAI_KEY, provider.calls[0].response_id or ""):
        with pytest.raises(Failure) as found:
            check.check_no_content([b"before " + leak.encode() + b" after"], content)
        assert leak not in str(found.value)


@pytest.mark.parametrize(
    "extra",
    [
        {"attributes": [{"key": "gen_ai.prompt", "value": {"stringValue": "x"}}]},
        {"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "x"}}]}},
        {"scope": {"name": "infraprism", "attributes": [{"key": "a", "value": {"stringValue": "x"}}]}},
        {"events": [{"name": "exception"}]},
        {"status": {"code": 2, "message": "x"}},
        {"traceState": "x=y"},
    ],
    ids=lambda extra: next(iter(extra)),
)
def test_the_check_fails_for_data_that_is_not_in_the_field_table(extra: dict[str, object]) -> None:
    span = {
        "name": "chat gpt-4o",
        "resource": {},
        "scope": {"name": "infraprism", "version": "1"},
        "status": {"code": 2},
    }
    check.check_closed([span])
    with pytest.raises(Failure):
        check.check_closed([span | extra])
