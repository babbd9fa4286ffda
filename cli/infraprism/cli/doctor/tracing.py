"""Tracing of the application that is configured by OpenTelemetry's variables; InfraPrism does not change it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Final

from infraprism.cli.doctor.finding import Finding
from infraprism.cli.doctor.variables import listed

_NAME: Final = re.compile(r"[a-z][a-z0-9_/-]{0,31}")
_EXPORTERS: Final = "OTEL_TRACES_EXPORTER"
_RECORDING_SAMPLERS: Final = ("always_on", "parentbased_always_on")
_KNOWN_SAMPLERS: Final = ("always_off", "traceidratio", "parentbased_always_off", "parentbased_traceidratio")
_OTLP: Final = ("otlp_proto_grpc", "otlp_proto_http")
"""The names of which the SDK selects one for `otlp`."""


def configured() -> Iterator[Finding]:
    """A configurator and a configuration file."""
    if configurators := _configurators():
        yield Finding("ok", "OpenTelemetry configurator", f"{', '.join(configurators)}; works together with InfraPrism")
    file = os.environ.get("OTEL_CONFIG_FILE", "").strip()
    if file:
        yield Finding("ok", "OTEL_CONFIG_FILE", "is set; the file can use `infraprism:` under `exporter:`")
    if file and not os.path.isfile(file):  # noqa: PTH113  # a path as the user wrote it
        yield Finding("problem", "OTEL_CONFIG_FILE", "names a file that does not exist", "Correct or unset it.")


def sampler() -> Iterator[Finding]:
    """A sampler that drops spans of other instrumentations before the span processor receives them."""
    name = os.environ.get("OTEL_TRACES_SAMPLER", "").strip()
    if name and name not in _RECORDING_SAMPLERS:
        shown = name if name in _KNOWN_SAMPLERS else "a sampler"
        yield Finding(
            "warning",
            "OTEL_TRACES_SAMPLER",
            f"{shown} drops spans, so calls that other instrumentations report are missing from the costs;"
            " calls that InfraPrism instruments are counted",
            "Use AlwaysRecordSampler of opentelemetry.sdk.trace.sampling around it: see README.md, Sampling.",
        )


def exporters() -> Iterator[Finding]:
    """Whether each named exporter exists. `opentelemetry-instrument` configures no tracing at all if one does not."""
    names = listed(_EXPORTERS)
    if not names:
        return
    known = {entry_point.name for entry_point in entry_points(group="opentelemetry_traces_exporter")} | {"none"}
    if not known.isdisjoint(_OTLP):
        known.add("otlp")
    missing = [name for name in names if name not in known]
    for name in missing:
        nearest = get_close_matches(name, known, n=1)
        advice = f"Did you mean {nearest[0]}?" if nearest else f"Installed are {', '.join(sorted(known))}."
        yield Finding("problem", _EXPORTERS, f"{_shown(name)} is not an installed exporter", advice)
    if not missing:
        yield Finding("ok", _EXPORTERS, f"{', '.join(names)}; works together with InfraPrism")
    if "infraprism" in names and not _configurators():
        yield Finding(
            "warning",
            _EXPORTERS,
            "has no effect, since no configurator is installed; InfraPrism sends events without it",
            "pip install opentelemetry-distro, or unset it.",
        )


def _shown(name: str) -> str:
    """The name if it can be one, else no part of it: it could be a secret that was set by mistake."""
    return name if _NAME.fullmatch(name) else "an entry"


def _configurators() -> list[str]:
    return [entry_point.name for entry_point in entry_points(group="opentelemetry_configurator")]
