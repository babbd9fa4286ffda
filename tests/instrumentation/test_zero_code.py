"""`opentelemetry-instrument python app.py` as a process, without opentelemetry-distro."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.kit.provider import ANTHROPIC_KEY, CANARY, OPENAI_KEY

from infraprism.local_provider import LocalProvider

COMMAND = Path(sys.executable).with_name("opentelemetry-instrument")
CALLS = """
import anthropic, openai
messages = [{"role": "user", "content": CANARY}]
with openai.OpenAI() as client:
    client.chat.completions.create(model="gpt-4o", messages=messages)
    list(client.chat.completions.create(model="gpt-4o", messages=messages, stream=True))
with anthropic.Anthropic() as client:
    client.messages.create(model="claude-haiku-4-5", messages=messages, max_tokens=5)
print("done")
"""
OWN_PROVIDER = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
spans = InMemorySpanExporter()
own = TracerProvider()
own.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(own)
"""
SHOW_SPANS = """
assert trace.get_tracer_provider() is own
print(sorted(span.instrumentation_scope.name for span in spans.get_finished_spans()))
"""
THIRD_PARTY_SPAN = """
with trace.get_tracer("third-party").start_as_current_span("chat m") as span:
    span.set_attributes({"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4.1",
                         "gen_ai.usage.input_tokens": 1, "gen_ai.usage.output_tokens": 1})
"""


class Ran(NamedTuple):
    out: str
    errors: str
    events: list[dict[str, Any]]

    @property
    def models(self) -> list[str]:
        return sorted(event["infraprism.model"] for event in self.events)


def run(provider: LocalProvider, app: str, *command: str | Path, **environment: str) -> Ran:
    """Run the application as a process with `INFRAPRISM_PREVIEW`, which prints each event."""
    clean = {name: setting for name, setting in os.environ.items() if not name.startswith(("OTEL_", "INFRAPRISM_"))}
    done = subprocess.run(
        [*(command or (COMMAND,)), sys.executable, "-c", f"CANARY = {CANARY!r}\n{app}"],
        env={
            **clean,
            "OPENAI_BASE_URL": provider.openai_base_url,
            "OPENAI_API_KEY": OPENAI_KEY,
            "ANTHROPIC_BASE_URL": provider.anthropic_base_url,
            "ANTHROPIC_API_KEY": ANTHROPIC_KEY,
            "INFRAPRISM_PREVIEW": "1",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    events = [{pair["key"]: next(iter(pair["value"].values())) for pair in line["attributes"]} for line in lines]
    assert CANARY not in done.stderr
    return Ran(done.stdout, done.stderr, events)


MODELS = ["claude-haiku-4-5-20251001", "gpt-4o-2024-08-06", "gpt-4o-2024-08-06"]


def test_calls_of_an_application_without_telemetry_are_events(provider: LocalProvider) -> None:
    ran = run(provider, CALLS, OTEL_RESOURCE_ATTRIBUTES="infraprism.entity_type=team,infraprism.entity_id=search")
    assert ran.out == "done\n"
    assert ran.models == MODELS
    assert {event["infraprism.entity_id"] for event in ran.events} == {"search"}
    assert "Traceback" not in ran.errors


def test_the_spans_of_an_application_with_its_own_provider_are_unchanged(provider: LocalProvider) -> None:
    app = OWN_PROVIDER + CALLS + SHOW_SPANS
    ran = run(provider, app)
    assert ran.models == MODELS
    bare = run(provider, app, "env")
    assert not bare.events
    assert ran.out == bare.out
    assert "Overriding" not in ran.errors


def test_an_application_can_set_its_provider_late_and_twice(provider: LocalProvider) -> None:
    ran = run(provider, CALLS + OWN_PROVIDER + CALLS + SHOW_SPANS + "trace.set_tracer_provider(TracerProvider())")
    assert ran.models == sorted(MODELS * 2)
    assert ran.out.startswith("done\ndone\n")


def test_third_party_spans_in_the_applications_provider_are_events(provider: LocalProvider) -> None:
    ran = run(provider, OWN_PROVIDER + THIRD_PARTY_SPAN)
    assert ran.models == ["gpt-4.1"]


def test_calls_of_an_application_that_calls_instrument_itself_are_counted_once(provider: LocalProvider) -> None:
    app = "from infraprism.instrumentation import instrument\ninstrument()\n" + CALLS
    assert run(provider, app).models == MODELS


def test_calls_of_an_application_with_our_processor_are_counted_once(provider: LocalProvider) -> None:
    app = (
        "from infraprism.processor import InfraPrismSpanProcessor\n"
        + OWN_PROVIDER.replace("trace.set_tr", "own.add_span_processor(InfraPrismSpanProcessor())\ntrace.set_tr")
        + CALLS
        + SHOW_SPANS
        + THIRD_PARTY_SPAN
    )
    assert run(provider, app).models == sorted([*MODELS, "gpt-4.1"])


@pytest.mark.parametrize(
    ("environment", "models"),
    [
        ({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "infraprism_openai"}, MODELS[:1]),
        ({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "infraprism_anthropic"}, MODELS[1:]),
        ({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*"}, []),
        ({"OTEL_SDK_DISABLED": "true"}, []),
        ({"INFRAPRISM_DISABLED": "true"}, []),
        ({"INFRAPRISM_DISABLED": "1"}, []),
        ({"INFRAPRISM_DISABLED": "ture"}, []),
        ({"INFRAPRISM_DISABLED": "no"}, MODELS),
        ({"INFRAPRISM_PREVIEW": "ture"}, []),
    ],
    ids=str,
)
def test_the_environment_disables_it(environment: dict[str, str], models: list[str], provider: LocalProvider) -> None:
    ran = run(provider, CALLS, **environment)
    assert ran.out == "done\n"
    assert ran.models == models


def test_invalid_settings_do_not_affect_the_application(provider: LocalProvider) -> None:
    ran = run(provider, CALLS, INFRAPRISM_PROTOCOL="pigeon", INFRAPRISM_PREVIEW="")
    assert ran.out == "done\n"
    assert not ran.events


def test_the_calls_of_a_forked_child_are_events(provider: LocalProvider) -> None:
    app = f"""
import os, sys
child = os.fork()
{CALLS}
if child:
    assert os.waitpid(child, 0)[1] == 0
"""
    assert run(provider, app).models == sorted(MODELS * 2)


def test_an_import_error_of_ours_stops_neither_the_application_nor_other_instrumentations(
    provider: LocalProvider,
) -> None:
    app = """
import sys
sys.modules["infraprism.processor"] = None  # from here on it cannot be imported
from infraprism.opentelemetry_entry_points import AnthropicInstrumentor, pre_instrument
pre_instrument()
AnthropicInstrumentor().instrument()
AnthropicInstrumentor().uninstrument()
"""
    ran = run(provider, app + CALLS, "env")
    assert ran.out == "done\n"
    assert not ran.events
    assert "InfraPrism is not active" in ran.errors
