"""Each environment variable has the same value for every reader. One that restricts what is sent fails closed."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from tests.kit.events import event
from tests.kit.otlp_sink import OtlpSink
from tests.kit.spans import KeepsEvents, KeepsSpans, call, provider_with

from infraprism.cli import rest
from infraprism.exporter import InfraPrismSpanExporter, SettingsError
from infraprism.exporter.settings import read_settings
from infraprism.instrumentation import instrument, status, stream_usage, uninstrument
from infraprism.opentelemetry_entry_points import AnthropicInstrumentor, OpenAIInstrumentor
from infraprism.processor import InfraPrismSpanProcessor
from infraprism.schema import settings, settings_inventory
from infraprism.schema.settings import SETTINGS, Setting

ROOT = Path(__file__).parents[2]
BOOLEANS = [setting for setting in SETTINGS if setting.kind == "boolean" and "cli" not in setting.read_by]
"""Without those of `infraprism serve`, which does not start with an unreadable one (tests/backend/test_tls.py)."""
TRUE = ["1", "true", "yes", "on", "TRUE", "Yes", "oN", " true\n"]
FALSE = ["0", "false", "no", "off", "FALSE", "No", "oFf", " false\t", "", "  "]
UNREADABLE = ["ture", "2", "truee", "y", "enabled", "no way", "-1", "\u0661", "hunter2"]
CACHED = {"gen_ai.usage.cache_read.input_tokens": 40}
SESSION = {"gen_ai.conversation.id": "conv_1"}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in tuple(os.environ):
        if name.startswith(("INFRAPRISM_", "OTEL_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    settings.logged.clear()
    yield
    uninstrument()


def exported(sink: OtlpSink, attributes: dict[str, Any] | None = None) -> list[set[str]]:
    """The attribute keys of each event that the exporter, alone in an SDK processor, sends for one call."""
    exporter = InfraPrismSpanExporter(sink.endpoint, "ip-key")
    provider = provider_with(SimpleSpanProcessor(exporter))
    call(provider, attributes)
    exporter.force_flush()
    provider.shutdown()
    return [{pair.key for pair in span.attributes} for span in sink.spans()]


def sent(sink: OtlpSink) -> bool:
    return len(exported(sink)) == 1


def sent_through_the_processor(sink: OtlpSink) -> bool:
    processor = InfraPrismSpanProcessor(InfraPrismSpanExporter(sink.endpoint, "ip-key"))
    call(provider_with(processor))
    processor.force_flush()
    processor.shutdown()
    return len(sink.spans()) == 1


def exported_as_spans(sink: OtlpSink) -> bool:
    exporter = KeepsSpans()
    processor = InfraPrismSpanProcessor(exporter)
    call(provider_with(processor))
    processor.force_flush()
    processor.shutdown()
    assert exporter.shut_down == 1
    return len(exporter.spans) == 1


def instrumented(sink: OtlpSink) -> bool:
    instrument(provider_with())
    return any(client.instrumented for client in status())


def instrumented_by_the_entry_points(sink: OtlpSink) -> bool:
    instrumentors = [OpenAIInstrumentor(), AnthropicInstrumentor()]
    for instrumentor in instrumentors:
        instrumentor.instrument(tracer_provider=provider_with())
    try:
        return any(client.instrumented for client in status())
    finally:
        for instrumentor in instrumentors:
            instrumentor.uninstrument()


def detail_sent(sink: OtlpSink) -> bool:
    [keys] = exported(sink, CACHED)
    return "infraprism.usage.cache_read_tokens" in keys


def detail_exported_as_spans(sink: OtlpSink) -> bool:
    exporter = KeepsSpans()
    processor = InfraPrismSpanProcessor(exporter)
    call(provider_with(processor), CACHED)
    processor.shutdown()
    return "infraprism.usage.cache_read_tokens" in (exporter.spans[0].attributes or {})


def session_sent(sink: OtlpSink) -> bool:
    [keys] = exported(sink, SESSION)
    return "infraprism.session_id" in keys


def session_in_the_event(sink: OtlpSink) -> bool:
    exporter = KeepsEvents()
    processor = InfraPrismSpanProcessor(exporter)
    call(provider_with(processor), SESSION)
    processor.shutdown()
    return exporter.events[0].session_id == "conv_1"


def stream_usage_requested(sink: OtlpSink) -> bool:
    return stream_usage.enabled()


Reader = Callable[[OtlpSink], bool]
READERS: dict[str, dict[Reader, bool]] = {
    "INFRAPRISM_DISABLED": dict.fromkeys(
        (
            sent,
            sent_through_the_processor,
            exported_as_spans,
            instrumented,
            instrumented_by_the_entry_points,
        ),
        False,
    ),
    "INFRAPRISM_PREVIEW": {sent: False, sent_through_the_processor: False},
    "INFRAPRISM_USAGE_DETAIL": {detail_sent: True, detail_exported_as_spans: True},
    "INFRAPRISM_SESSION_FROM_SPAN": {session_sent: True, session_in_the_event: True},
    "INFRAPRISM_STREAM_USAGE": {stream_usage_requested: True},
}
"""The result of each reader where the setting is true. Where it is false, it is the opposite."""
CASES = [
    pytest.param(setting, reader, if_true, id=f"{setting.name}-{reader.__name__}")
    for setting in BOOLEANS
    for reader, if_true in READERS.get(setting.name, {}).items()
]


def test_each_boolean_has_a_reader_here() -> None:
    assert READERS.keys() == {setting.name for setting in BOOLEANS}


@pytest.mark.parametrize(("setting", "reader", "if_true"), CASES)
@pytest.mark.parametrize(
    ("text", "value"), [*((text, True) for text in TRUE), *((text, False) for text in FALSE)], ids=repr
)
def test_each_spelling_has_the_same_value_for_each_reader(
    text: str,
    value: bool,
    setting: Setting,
    reader: Reader,
    if_true: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(setting.name, text)
    with OtlpSink() as sink:
        assert reader(sink) is (if_true if value else not if_true)
    assert not caplog.records


@pytest.mark.parametrize(("setting", "reader", "if_true"), CASES)
@pytest.mark.parametrize("text", UNREADABLE)
def test_an_unreadable_boolean_fails_closed_and_is_one_line_of_the_log(
    text: str,
    setting: Setting,
    reader: Reader,
    if_true: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(setting.name, text)
    for _ in range(2):
        with OtlpSink() as sink:
            assert reader(sink) is False
            if setting.name in ("INFRAPRISM_DISABLED", "INFRAPRISM_PREVIEW"):
                assert sink.requests == []
    [record] = caplog.records
    line = record.getMessage()
    assert f"{setting.name} must be 1, true, yes or on, or 0, false, no or off" in line
    assert "\n" not in line
    assert "hunter2" not in line
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("variable", "text"),
    [(setting.name, text) for setting in BOOLEANS for text in UNREADABLE]
    + [("INFRAPRISM_PROTOCOL", text) for text in ("prevew", "PREVIEW", "true")],
)
def test_an_unreadable_setting_never_sends_more_than_an_unset_one(
    variable: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OtlpSink() as sink:
        unset = exported(sink, CACHED | SESSION)
    monkeypatch.setenv(variable, text)
    with OtlpSink() as sink:
        found = exported(sink, CACHED | SESSION)
    if variable in ("INFRAPRISM_USAGE_DETAIL", "INFRAPRISM_SESSION_FROM_SPAN", "INFRAPRISM_STREAM_USAGE"):
        assert found == unset
    else:
        assert found == []


@pytest.mark.parametrize("text", UNREADABLE)
def test_events_not_sent_because_of_an_unreadable_setting_are_counted(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, reason in (("INFRAPRISM_PREVIEW", "bad_settings"), ("INFRAPRISM_DISABLED", "disabled")):
        with monkeypatch.context() as patch:
            patch.setenv(variable, text)
            exporter = InfraPrismSpanExporter("http://localhost:1", "ip-key")
            exporter.export_events([event(1), event(2)])
            exporter.shutdown()
        assert exporter.delivery_stats.snapshot()["dropped"] == {reason: 2}


@pytest.mark.parametrize("value", ["true", "ture", 1, 0, "", []])
@pytest.mark.parametrize("name", ["preview", "usage_detail"])
def test_an_argument_that_is_not_a_bool_is_an_error_of_the_application(name: str, value: Any) -> None:
    with OtlpSink() as sink:
        with pytest.raises(SettingsError, match=f"^{name} must be true or false$"):
            InfraPrismSpanExporter(sink.endpoint, "ip-key", **{name: value})
        assert sink.requests == []


@pytest.mark.parametrize("text", ["", *TRUE, *UNREADABLE])
def test_arguments_win_over_the_environment(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFRAPRISM_PREVIEW", text)
    monkeypatch.setenv("INFRAPRISM_USAGE_DETAIL", text)
    with OtlpSink() as sink:
        exporter = InfraPrismSpanExporter(sink.endpoint, "ip-key", preview=False, usage_detail=False)
        exporter.export_events([event(1, cache_read_tokens=40)])
        assert exporter.force_flush()
        exporter.shutdown()
        [span] = sink.spans()
    assert "infraprism.usage.cache_read_tokens" not in {pair.key for pair in span.attributes}


def test_a_disabled_exporter_does_not_log_a_missing_key(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("INFRAPRISM_DISABLED", "1")
    processor = InfraPrismSpanProcessor()
    call(provider_with(processor))
    processor.shutdown()
    assert not caplog.records


def test_status_gives_the_reason_that_infraprism_is_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFRAPRISM_DISABLED", "1")
    instrument()
    assert {client.reason for client in status()} == {"INFRAPRISM_DISABLED is set"}


# -- the table --------------------------------------------------------------------------------------------------------

VARIABLE = re.compile(r"INFRAPRISM_[A-Z0-9_]*[A-Z0-9]")
OF_TESTS = ("tests/",)


def files(*patterns: str) -> list[Path]:
    """The files that git tracks, and new ones."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.split() if not name.startswith(OF_TESTS) and (ROOT / name).exists()]


def test_each_variable_named_in_the_repository_is_in_the_table() -> None:
    named = {
        name
        for path in files("*.py", "*.yaml", "*.md", "*.toml", "*.yml", "Makefile", "*.sh")
        for name in VARIABLE.findall(path.read_text())
    }
    assert named == {setting.name for setting in SETTINGS}


def test_each_variable_in_the_table_is_read_where_the_table_says() -> None:
    read: set[tuple[str, str]] = set()
    for path in files("*.py"):
        part = path.relative_to(ROOT).parts[0]
        if path.name == "settings.py" and part == "schema":
            continue
        if part == "processor":
            part = "pricing" if "pricing" in path.parts else "processor"
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and VARIABLE.fullmatch(node.value):
                read.add((node.value, part))
    for path in files("collector-config.yaml", "docs/collector.md"):
        read |= {(name, "collector") for name in re.findall(r"\$\{env:(INFRAPRISM_\w+)", path.read_text())}
    unread = {(setting.name, part) for setting in SETTINGS for part in setting.read_by} - read
    assert not unread


def test_no_two_settings_have_the_same_name_and_each_is_described() -> None:
    assert len({setting.name for setting in SETTINGS}) == len(SETTINGS)
    assert all(setting.description.endswith(".") and setting.read_by for setting in SETTINGS)
    assert all(setting.unreadable for setting in SETTINGS if setting.restricts_sending)


def test_the_page_is_made_from_the_table() -> None:
    shown = (ROOT / "docs" / "settings.md").read_text()
    command = "python -m infraprism.schema.settings_inventory > docs/settings.md"
    assert shown == settings_inventory.markdown(), f"run: {command}"


def test_the_defaults_in_the_table_are_those_of_the_readers() -> None:
    defaults = {setting.name: setting.default for setting in SETTINGS}
    text = "".join(path.read_text() for path in files("collector-config.yaml", "docs/collector.md"))
    of_the_collector = set(re.findall(r"\$\{env:(INFRAPRISM_\w+):-([^}]+)\}", text))
    assert of_the_collector == {
        (setting.name, setting.default) for setting in SETTINGS if setting.read_by == ("collector",)
    }
    found = read_settings({}, {})
    assert found.url == defaults["INFRAPRISM_ENDPOINT"] + "/v1/traces"
    assert found.protocol == defaults["INFRAPRISM_PROTOCOL"]
    assert defaults["INFRAPRISM_ENDPOINT"] == rest.DEFAULT_ENDPOINT
    assert {defaults[setting.name] for setting in BOOLEANS} == {"false"}
