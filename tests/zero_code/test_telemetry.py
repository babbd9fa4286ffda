"""With InfraPrism installed, each call is one event, and what the user's own telemetry says is what it said before."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.zero_code.process import OTHERS, Place, command, said

UNSAID = "nothing-of-this-name"
CONFIGURATION = """
file_format: "1.0"
resource: {attributes: [{name: service.name, value: shop}]}
tracer_provider:
  processors:
    - batch: {schedule_delay: 200, exporter: {otlp_http: {endpoint: "ENDPOINT/v1/traces"}}}
"""
CALLS = ("calls",)
ONE = {"SHOP_ASKS": "openai"}
"""One client package is enough where it matters how the process is made, or where its spans go."""
BOTH = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": UNSAID}
"""The official instrumentation of the openai package is at work too."""
CASES = {
    "no_distro": (CALLS, {}, False),
    "no_distro_provider_early": (("provider", "calls"), {}, False),
    "no_distro_provider_late": (("calls", "provider", "calls"), {}, False),
    "no_distro_provider_twice": (("provider", "provider", "calls"), ONE, False),
    "no_distro_provider_beside_another_instrumentation": (("provider", "calls"), BOTH, False),
    "distro_unset": (CALLS, ONE, True),
    "distro_none": (CALLS, {"OTEL_TRACES_EXPORTER": "none", **ONE}, True),
    "distro_otlp": (CALLS, {"OTEL_TRACES_EXPORTER": "otlp"}, True),
    "distro_console": (CALLS, {"OTEL_TRACES_EXPORTER": "console"}, True),
    "distro_console_and_otlp": (CALLS, {"OTEL_TRACES_EXPORTER": "console,otlp", **ONE}, True),
    "distro_provider_too": (("provider", "calls"), {"OTEL_TRACES_EXPORTER": "otlp", **ONE}, True),
    "distro_otlp_sampled_out": (
        CALLS,
        {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_TRACES_SAMPLER": "always_off", **ONE},
        True,
    ),
    "distro_otlp_beside_another_instrumentation": (CALLS, {"OTEL_TRACES_EXPORTER": "otlp", **BOTH}, True),
    "distro_otlp_and_the_app_instruments_too": (("instrument", "calls"), {"OTEL_TRACES_EXPORTER": "otlp"}, True),
    "no_distro_and_the_app_instruments_too": (("instrument", "provider", "calls"), {}, False),
    "fork": (("fork", "calls"), {"OTEL_TRACES_EXPORTER": "otlp"}, True),
    **{
        way: ((way, "calls"), {"OTEL_TRACES_EXPORTER": "otlp", **ONE}, True)
        for way in ("spawn", "forkserver", "pool", "executor", "os_fork")
    },
}
STARTED: dict[str, tuple[str, ...]] = {
    "by_module": ("python", "-m", "shop", "calls"),
    "by_text": ("python", "-c", "import shop; shop.calls(); print('done')"),
    "by_console_script": ("./shop-calls",),
}


def shop(place: Place, *steps: str, infraprism: bool, distro: bool, **variables: str) -> tuple[str, list[bytes]]:
    """What the app printed and what its user's endpoint was told, both without chance."""
    arguments = (command("opentelemetry-instrument"), command("python"), "shop.py", *steps)
    ran = place.run(*arguments, infraprism=infraprism, distro=distro, **variables)
    return _without_chance(ran.out), said(ran.telemetry)


def _without_chance(printed: str) -> str:
    """Ids as their numbers in the order of their first appearance, times and ports as none."""
    numbers: dict[str, int] = {}
    printed = re.sub(r"\b0x[0-9a-f]{16,32}\b", lambda i: str(numbers.setdefault(i[0], len(numbers))), printed)
    printed = re.sub(r'"(start|end)_time": "[^"]*"', r'"\1_time": ""', printed)
    return re.sub(r'"(server\.port|gen_ai\.response\.\w+|anthropic\.request\.id)": [^,\n]*', r'"\1": ""', printed)


@pytest.mark.parametrize("case", CASES)
def test_each_call_is_one_event_and_the_users_telemetry_is_as_before(place: Place, case: str) -> None:
    steps, variables, distro = CASES[case]

    bare = shop(place, *steps, infraprism=False, distro=distro, **variables)
    assert not place.ours.requests
    place.provider.clear()
    seen = shop(place, *steps, infraprism=True, distro=distro, **variables)

    assert place.provider.calls
    assert place.events() == place.billed()
    assert seen == bare
    if "otlp" in variables.get("OTEL_TRACES_EXPORTER", "") and "sampled_out" not in case:
        assert bare[1], "the user's endpoint was told nothing, so that nothing was compared"


@pytest.mark.parametrize("started", STARTED)
def test_however_an_app_is_started_each_call_is_one_event_and_the_users_telemetry_is_as_before(
    place: Place, started: str
) -> None:
    program, *arguments = STARTED[started]
    whole = (command("opentelemetry-instrument"), command(program) if program == "python" else program, *arguments)

    bare = place.run(*whole, infraprism=False, distro=True, OTEL_TRACES_EXPORTER="otlp", **ONE)
    place.provider.clear()
    seen = place.run(*whole, infraprism=True, distro=True, OTEL_TRACES_EXPORTER="otlp", **ONE)

    assert place.provider.calls
    assert place.events() == place.billed()
    assert bare.out == seen.out
    assert said(bare.telemetry)
    assert said(seen.telemetry) == said(bare.telemetry)


def test_a_process_that_calls_no_model_imports_no_client_package(place: Place) -> None:
    code = "import sys; print([name for name in ('openai', 'anthropic', 'httpx', 'httpx2') if name in sys.modules])"
    python = command("python")

    ran = place.run(command("opentelemetry-instrument"), python, "-c", code, infraprism=True)

    assert ran.out == "[]\n"


def test_a_configuration_file_of_the_user_stays_in_force(place: Place, tmp_path: Path) -> None:
    written = tmp_path / "telemetry.yaml"
    written.write_text(CONFIGURATION.replace("ENDPOINT", place.user_endpoint))

    bare = shop(place, "calls", infraprism=False, distro=True, OTEL_CONFIG_FILE=str(written))
    place.provider.clear()
    seen = shop(place, "calls", infraprism=True, distro=True, OTEL_CONFIG_FILE=str(written))

    assert bare[1]
    assert seen == bare
    assert place.events() == place.billed()


def test_our_exporter_in_a_configuration_file_gets_each_call_once(place: Place, tmp_path: Path) -> None:
    written = tmp_path / "telemetry.yaml"
    text = CONFIGURATION.replace("ENDPOINT", place.user_endpoint)
    written.write_text(text + "    - batch: {schedule_delay: 200, exporter: {infraprism: {}}}\n")

    _, told = shop(place, "calls", infraprism=True, distro=True, OTEL_CONFIG_FILE=str(written))

    assert told
    assert place.events() == place.billed()


@pytest.mark.parametrize("others", [OTHERS, UNSAID], ids=["alone", "beside_another_instrumentation"])
@pytest.mark.parametrize("exporters", ["infraprism", "infraprism,otlp"])
def test_our_exporter_in_the_environment_gets_each_call_once(place: Place, exporters: str, others: str) -> None:
    shop(
        place,
        "calls",
        infraprism=True,
        distro=True,
        OTEL_TRACES_EXPORTER=exporters,
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=others,
    )

    assert place.provider.calls
    assert place.events() == place.billed()


@pytest.mark.parametrize("distro", [False, True], ids=["no_distro", "distro"])
@pytest.mark.parametrize(
    ("variables", "counted"),
    [
        ({"OTEL_SDK_DISABLED": "true"}, set()),
        ({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*"}, set()),
        ({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "openai,infraprism_anthropic"}, {"gpt-4o", "gpt-4o-mini"}),
        ({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "openai,infraprism_openai"}, {"claude-haiku-4-5"}),
    ],
    ids=["sdk", "all", "anthropic", "openai"],
)
def test_what_is_switched_off_is_off_and_all_else_as_before(
    place: Place, variables: dict[str, str], counted: set[str], distro: bool
) -> None:
    variables = {"OTEL_TRACES_EXPORTER": "otlp", "ANTHROPIC_OPEN_TELEMETRY": "false", **variables}

    bare = shop(place, "calls", infraprism=False, distro=distro, **variables)
    place.provider.clear()
    seen = shop(place, "calls", infraprism=True, distro=distro, **variables)

    assert seen == bare
    asked = {call.response_model: call.request_model for call in place.provider.calls}
    assert len(asked) == 3
    assert {asked[model] for model, _, _ in place.events()} == counted
