"""The demo as a user runs it, held against the local provider's own record apart from its own check."""

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

from infraprism.cli import exact_json
from infraprism.cli.demo import check
from infraprism.cli.failure import Failure
from infraprism.local_provider import LocalProvider

__all__ = ["provider"]

PROMPTS = ("maria@example.com", "My order 48213", "Jonas Weber", "You work at the support desk")


@pytest.fixture(scope="module")
def shown() -> subprocess.CompletedProcess[str]:
    return infraprism("demo", timeout_s=180)


def test_it_ends_well_and_shows_events_costs_and_a_call_side_by_side(shown: subprocess.CompletedProcess[str]) -> None:
    assert shown.returncode == 0, shown.stderr
    assert shown.stderr.splitlines()[-1].startswith("Checked: 11 requests were 9 calls and are 9 events;")
    assert "rate_limit 429" in shown.stdout
    assert "customer:acme-corp" in shown.stdout
    assert "customer:globex" in shown.stdout
    assert "without a price: 1 no_usage" in shown.stdout


def test_what_left_stands_beside_what_the_app_sent_and_got(shown: subprocess.CompletedProcess[str]) -> None:
    beside = [line.partition(" │ ") for line in shown.stdout.splitlines() if " │" in line]
    left, right = "\n".join(part[0] for part in beside), "\n".join(part[2] for part in beside)
    assert "maria@example.com" in left
    assert "prompt_tokens" in left
    assert '"infraprism.input_tokens"' in right
    assert not [prompt for prompt in PROMPTS if prompt in right]


def test_real_providers_get_the_apps_own_calls_and_the_events_are_theirs(provider: LocalProvider) -> None:
    """The local provider takes the place of the real ones, at the addresses that the vendors' own variables name."""
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


def test_with_one_vendors_key_the_others_part_is_left_out(provider: LocalProvider) -> None:
    environment = {"ANTHROPIC_BASE_URL": provider.anthropic_base_url, "ANTHROPIC_API_KEY": ANTHROPIC_KEY}
    ran = infraprism("demo", "--real", environment=environment, timeout_s=180)
    assert ran.returncode == 0, ran.stderr
    assert {truth.provider for truth in provider.calls} == {"anthropic"}
    assert "WHAT THE APP PRINTED" in ran.stdout


def test_a_port_that_is_taken_is_one_line_and_status_1(provider: LocalProvider) -> None:
    ran = infraprism("demo", "--port", str(provider.port), timeout_s=60)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert f"port {provider.port}" in ran.stderr.splitlines()[-1]


def test_it_stays_up_until_it_is_interrupted_and_leaves_nothing_behind(tmp_path: Path) -> None:
    # Whoever runs the tests in the background has them, and all that they start, ignore the interrupt.
    listening = "import signal, runpy; signal.signal(signal.SIGINT, signal.default_int_handler);"
    command = [sys.executable, "-c", f"{listening} runpy.run_module('infraprism.cli', run_name='__main__')"]
    command += ["demo", "--serve", "--json"]
    environment = clean_environment(TMPDIR=str(tmp_path))
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as serving:
        assert serving.stderr is not None
        assert serving.stdout is not None
        said = next(line for line in serving.stderr if "INFRAPRISM_ENDPOINT=" in line)
        settings = dict(part.split("=") for part in said.split()[1:])
        children = _children(serving.pid)
        read = infraprism("events", "--json", environment=settings)
        serving.send_signal(signal.SIGINT)
        try:
            output, _ = serving.communicate(timeout=60)
        finally:
            serving.kill()
    assert sorted(read.stdout.splitlines()) == sorted(output.splitlines())
    assert children
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
    assert list(tmp_path.iterdir()) == []


def _children(parent: int) -> Sequence[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def _exchanges(provider: LocalProvider) -> None:
    """One plain call, one that its client retries."""
    import openai  # noqa: PLC0415  # only here

    with openai.OpenAI(base_url=provider.openai_base_url, api_key=OPENAI_KEY) as client:
        for model in ("gpt-4o", "gpt-4o-retry429"):
            client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Where is it? " * 4}])


def test_the_check_tells_a_missing_a_doubled_and_a_wrong_event(provider: LocalProvider) -> None:
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


def test_the_check_finds_a_part_of_a_prompt_an_answer_or_a_key(provider: LocalProvider) -> None:
    _exchanges(provider)
    content = check.contents(provider.exchanges, OPENAI_KEY)
    check.check_no_content([b"gpt-4o-2024-08-06", os.urandom(64)], content)
    for leak in ("Where is it? Where is it? ", CANARY, OPENAI_KEY, provider.calls[0].response_id or ""):
        with pytest.raises(Failure) as found:
            check.check_no_content([b"before " + leak.encode() + b" after"], content)
        assert leak not in str(found.value)


@pytest.mark.parametrize(
    "more",
    [
        {"attributes": [{"key": "gen_ai.prompt", "value": {"stringValue": "x"}}]},
        {"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "x"}}]}},
        {"scope": {"name": "infraprism", "attributes": [{"key": "a", "value": {"stringValue": "x"}}]}},
        {"events": [{"name": "exception"}]},
        {"status": {"code": 2, "message": "x"}},
        {"traceState": "x=y"},
    ],
    ids=lambda more: next(iter(more)),
)
def test_the_check_finds_whatever_is_in_no_field_of_the_table(more: dict[str, object]) -> None:
    span = {
        "name": "chat gpt-4o",
        "resource": {},
        "scope": {"name": "infraprism", "version": "1"},
        "status": {"code": 2},
    }
    check.check_closed([span])
    with pytest.raises(Failure):
        check.check_closed([span | more])
