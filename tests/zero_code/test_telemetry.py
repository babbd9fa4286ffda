"""With InfraPrism installed, each call is one event, and the application's own telemetry is unchanged."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.zero_code.process import OFFICIAL, Runtime, command, normalized

NONE = "nothing-of-this-name"
CONFIGURATION = """
file_format: "1.0"
resource: {attributes: [{name: service.name, value: shop}]}
tracer_provider:
  processors:
    - batch: {schedule_delay: 200, exporter: {otlp_http: {endpoint: "ENDPOINT/v1/traces"}}}
"""
CALLS = ("calls",)
ONE = {"SHOP_ASKS": "openai"}
"""One client package is enough to test how processes start and where spans go."""
BOTH = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": NONE}
"""The official instrumentation of the openai package is enabled too."""
CASES = {
    "no_distro": (CALLS, {}, False),
    "no_distro_provider_early": (("provider", "calls"), {}, False),
    "no_distro_provider_late": (("calls", "provider", "calls"), {}, False),
    "no_distro_provider_twice": (("provider", "provider", "calls"), ONE, False),
    "no_distro_provider_with_another_instrumentation": (("provider", "calls"), BOTH, False),
    "distro_unset": (CALLS, ONE, True),
    "distro_none": (CALLS, {"OTEL_TRACES_EXPORTER": "none", **ONE}, True),
    "distro_otlp": (CALLS, {"OTEL_TRACES_EXPORTER": "otlp"}, True),
    "distro_console": (CALLS, {"OTEL_TRACES_EXPORTER": "console"}, True),
    "distro_console_and_otlp": (CALLS, {"OTEL_TRACES_EXPORTER": "console,otlp", **ONE}, True),
    "distro_own_provider": (("provider", "calls"), {"OTEL_TRACES_EXPORTER": "otlp", **ONE}, True),
    "distro_otlp_sampled_out": (
        CALLS,
        {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_TRACES_SAMPLER": "always_off", **ONE},
        True,
    ),
    "distro_otlp_with_another_instrumentation": (CALLS, {"OTEL_TRACES_EXPORTER": "otlp", **BOTH}, True),
    "distro_otlp_and_the_app_instruments_too": (("instrument", "calls"), {"OTEL_TRACES_EXPORTER": "otlp"}, True),
    "no_distro_and_the_app_instruments_too": (("instrument", "provider", "calls"), {}, False),
    "fork": (("fork", "calls"), {"OTEL_TRACES_EXPORTER": "otlp"}, True),
    **{
        way: ((way, "calls"), {"OTEL_TRACES_EXPORTER": "otlp", **ONE}, True)
        for way in ("spawn", "forkserver", "pool", "executor", "os_fork")
    },
}
STARTED: dict[str, tuple[str, ...]] = {
    "module": ("python", "-m", "shop", "calls"),
    "code": ("python", "-c", "import shop; shop.calls(); print('done')"),
    "console_script": ("./shop-calls",),
}


def shop(runtime: Runtime, *steps: str, infraprism: bool, distro: bool, **variables: str) -> tuple[str, list[bytes]]:
    """The output of the application and the spans of its endpoint, without values that vary from run to run."""
    arguments = (command("opentelemetry-instrument"), command("python"), "shop.py", *steps)
    ran = runtime.run(*arguments, infraprism=infraprism, distro=distro, **variables)
    return _normalized_output(ran.out), normalized(ran.telemetry)


def _normalized_output(printed: str) -> str:
    """Replace ids by their numbers in the order of their first occurrence, and remove times and ports."""
    numbers: dict[str, int] = {}
    printed = re.sub(r"\b0x[0-9a-f]{16,32}\b", lambda i: str(numbers.setdefault(i[0], len(numbers))), printed)
    printed = re.sub(r'"(start|end)_time": "[^"]*"', r'"\1_time": ""', printed)
    return re.sub(r'"(server\.port|gen_ai\.response\.\w+|anthropic\.request\.id)": [^,\n]*', r'"\1": ""', printed)


@pytest.mark.parametrize("case", CASES)
def test_each_call_is_one_event_and_the_applications_telemetry_is_unchanged(runtime: Runtime, case: str) -> None:
    steps, variables, distro = CASES[case]

    bare = shop(runtime, *steps, infraprism=False, distro=distro, **variables)
    assert not runtime.infraprism_sink.requests
    runtime.provider.clear()
    instrumented = shop(runtime, *steps, infraprism=True, distro=distro, **variables)

    assert runtime.provider.calls
    assert runtime.events() == runtime.billed()
    assert instrumented == bare
    if "otlp" in variables.get("OTEL_TRACES_EXPORTER", "") and "sampled_out" not in case:
        assert bare[1], "the application's endpoint received nothing to compare"


@pytest.mark.parametrize("started", STARTED)
def test_however_an_application_is_started_each_call_is_one_event_and_its_telemetry_is_unchanged(
    runtime: Runtime, started: str
) -> None:
    program, *arguments = STARTED[started]
    arguments = (command("opentelemetry-instrument"), command(program) if program == "python" else program, *arguments)

    bare = runtime.run(*arguments, infraprism=False, distro=True, OTEL_TRACES_EXPORTER="otlp", **ONE)
    runtime.provider.clear()
    instrumented = runtime.run(*arguments, infraprism=True, distro=True, OTEL_TRACES_EXPORTER="otlp", **ONE)

    assert runtime.provider.calls
    assert runtime.events() == runtime.billed()
    assert bare.out == instrumented.out
    assert normalized(bare.telemetry)
    assert normalized(instrumented.telemetry) == normalized(bare.telemetry)


def test_a_process_that_calls_no_model_imports_no_client_package(runtime: Runtime) -> None:
    code = "import sys; print([name for name in ('openai', 'anthropic', 'httpx', 'httpx2') if name in sys.modules])"
    python = command("python")

    ran = runtime.run(command("opentelemetry-instrument"), python, "-c", code, infraprism=True)

    assert ran.out == "[]\n"


def test_a_configuration_file_of_the_user_is_still_applied(runtime: Runtime, tmp_path: Path) -> None:
    file = tmp_path / "telemetry.yaml"
    file.write_text(CONFIGURATION.replace("ENDPOINT", runtime.user_endpoint))

    bare = shop(runtime, "calls", infraprism=False, distro=True, OTEL_CONFIG_FILE=str(file))
    runtime.provider.clear()
    instrumented = shop(runtime, "calls", infraprism=True, distro=True, OTEL_CONFIG_FILE=str(file))

    assert bare[1]
    assert instrumented == bare
    assert runtime.events() == runtime.billed()


def test_our_exporter_in_a_configuration_file_gets_each_call_once(runtime: Runtime, tmp_path: Path) -> None:
    file = tmp_path / "telemetry.yaml"
    text = CONFIGURATION.replace("ENDPOINT", runtime.user_endpoint)
    file.write_text(text + "    - batch: {schedule_delay: 200, exporter: {infraprism: {}}}\n")

    _, telemetry = shop(runtime, "calls", infraprism=True, distro=True, OTEL_CONFIG_FILE=str(file))

    assert telemetry
    assert runtime.events() == runtime.billed()


@pytest.mark.parametrize("disabled", [OFFICIAL, NONE], ids=["alone", "with_another_instrumentation"])
@pytest.mark.parametrize("exporters", ["infraprism", "infraprism,otlp"])
def test_our_exporter_in_the_environment_gets_each_call_once(runtime: Runtime, exporters: str, disabled: str) -> None:
    shop(
        runtime,
        "calls",
        infraprism=True,
        distro=True,
        OTEL_TRACES_EXPORTER=exporters,
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=disabled,
    )

    assert runtime.provider.calls
    assert runtime.events() == runtime.billed()


@pytest.mark.parametrize("distro", [False, True], ids=["no_distro", "distro"])
@pytest.mark.parametrize(
    ("variables", "models"),
    [
        ({"OTEL_SDK_DISABLED": "true"}, set()),
        ({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*"}, set()),
        ({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "openai,infraprism_anthropic"}, {"gpt-4o", "gpt-4o-mini"}),
        ({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "openai,infraprism_openai"}, {"claude-haiku-4-5"}),
    ],
    ids=["sdk", "all", "anthropic", "openai"],
)
def test_what_the_environment_disables_is_disabled_and_everything_else_unchanged(
    runtime: Runtime, variables: dict[str, str], models: set[str], distro: bool
) -> None:
    variables = {"OTEL_TRACES_EXPORTER": "otlp", "ANTHROPIC_OPEN_TELEMETRY": "false", **variables}

    bare = shop(runtime, "calls", infraprism=False, distro=distro, **variables)
    runtime.provider.clear()
    instrumented = shop(runtime, "calls", infraprism=True, distro=distro, **variables)

    assert instrumented == bare
    request_models = {call.response_model: call.request_model for call in runtime.provider.calls}
    assert len(request_models) == 3
    assert {request_models[model] for model, _, _ in runtime.events()} == models
