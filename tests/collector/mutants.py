"""The configuration with one step taken out, or one guard taken off, in as many ways as there are steps and guards.

All mutants run in one collector, each as a pipeline of its own with an exporter of its own path, and all get the
same requests. Some changes are made together, because together they let through whatever each of them would alone:
taking a whole filter out takes out each of its conditions; and the payloads spoil one key at a time, so that taking
the guards off all keys tells of each.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any, Final

from tests.kit.collector import Config

PIPELINE: Final = "traces/infraprism"
_WHERE: Final = re.compile(r"^((?:set|merge_maps|replace_pattern)\(.*?\)) where .*$")
_COPY: Final = re.compile(r'^set\((?:span\.cache\["|span\.attributes\[span\.attributes)')
_REDUCTION: Final = re.compile(r"^replace_pattern\(span\.")
_REFUSAL: Final = re.compile(r'^set\(span\.name, "refused"\)')

Processors = dict[str, Any]
Mutant = tuple[str, Processors, list[str]]
"""What was done, the processors that changed, and the pipeline's list of processors."""


def steps(config: Config) -> list[str]:
    """The pipeline's processors, without the one that only watches memory."""
    listed: list[str] = config["service"]["pipelines"][PIPELINE]["processors"]
    return [name for name in listed if name != "memory_limiter"]


def removed_steps(config: Config) -> Iterator[Mutant]:
    """Each processor taken out."""
    for name in steps(config):
        yield f"without {name}", {}, [other for other in steps(config) if other != name]


def removed_groups(config: Config) -> Iterator[Mutant]:
    """Each group of statements taken out, and each group's condition."""
    for name, groups in _groups(config, "trace_statements"):
        for at, group in enumerate(groups):
            yield _changed(config, name, f"group {at} removed", _without(groups, at))
            if "conditions" in group:
                bare = {key: value for key, value in group.items() if key != "conditions"}
                whole = [bare if other == at else one for other, one in enumerate(groups)]
                yield _changed(config, name, f"condition of group {at} removed", whole)


def removed_statements(config: Config) -> Iterator[Mutant]:
    """Each statement taken out; copies of keys have mutants of their own below, and refusals go in their groups."""
    for name, groups in _groups(config, "trace_statements"):
        for at, group in enumerate(groups):
            for number, statement in enumerate(group["statements"]):
                if not any(kind.match(statement) for kind in (_COPY, _REDUCTION, _REFUSAL)):
                    fewer = {**group, "statements": _without(group["statements"], number)}
                    yield _changed(config, name, f"removed: {statement}", _swapped(groups, at, fewer))


def unguarded_copies(config: Config) -> Iterator[Mutant]:
    """For each group: all keys copied whatever their value, the texts of all keys not reduced, and both."""
    for name, groups in _groups(config, "trace_statements"):
        for at, group in enumerate(groups):
            statements = group["statements"]
            bare = [_unguarded(statement) if _COPY.match(statement) else statement for statement in statements]
            for done, changed in (
                ("guards off", bare),
                ("reductions removed", [one for one in statements if not _REDUCTION.match(one)]),
                ("guards off, reductions removed", [one for one in bare if not _REDUCTION.match(one)]),
            ):
                if changed != statements:
                    whole = _swapped(groups, at, {**group, "statements": changed})
                    yield _changed(config, name, f"{done} in group {at}", whole)


def _unguarded(statement: str) -> str:
    # What makes a number a text would make one of anything: there the condition is a part of the conversion.
    return statement if ", String(" in statement else _WHERE.sub(r"\1", statement)


def side_by_side(config: Config, mutants: list[Mutant], endpoint: str) -> Config:
    """One configuration that runs all mutants; number N exports to the path /N/v1/traces."""
    made = copy.deepcopy(config)
    made["exporters"] = {"nop": None}
    pipelines = {name: pipe for name, pipe in made["service"]["pipelines"].items() if name != PIPELINE}
    made["service"]["extensions"] = ["health_check"]
    made["extensions"] = {"health_check": made["extensions"]["health_check"]}
    for number, (_, changed, names) in enumerate(mutants):
        own = {name: f"{name}_{number}" for name in changed}
        made["processors"].update({own[name]: processor for name, processor in changed.items()})
        made["exporters"][f"otlp_http/{number}"] = {
            "endpoint": f"{endpoint}/{number}",
            "compression": "none",
            "sending_queue": {"enabled": False},
            "retry_on_failure": {"enabled": False},
        }
        pipelines[f"traces/{number}"] = {
            "receivers": ["otlp"],
            "processors": [own.get(name, name) for name in names],
            "exporters": [f"otlp_http/{number}"],
        }
    made["service"]["pipelines"] = pipelines
    return made


def _groups(config: Config, kind: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for name in steps(config):
        if kind in (config["processors"][name] or {}):
            yield name, config["processors"][name][kind]


def _changed(config: Config, name: str, done: str, groups: list[dict[str, Any]]) -> Mutant:
    return f"{name}: {done}", {name: {**config["processors"][name], "trace_statements": groups}}, steps(config)


def _without(items: list[Any], at: int) -> list[Any]:
    return [item for number, item in enumerate(items) if number != at]


def _swapped(groups: list[dict[str, Any]], at: int, group: dict[str, Any]) -> list[dict[str, Any]]:
    return [group if number == at else one for number, one in enumerate(groups)]
