"""The configuration with one step taken out, or one guard taken off, in as many ways as there are steps and guards.

What a collector takes long for is to read its configuration. So whatever sees spans is changed in one pipeline for all
mutants: a change is made for the spans of one trace id, and each mutant gets the requests with an id of its own. Where
no span is seen, each mutant is a pipeline of its own in the same collector, with an exporter of its own path.

Some changes are made together, because together they let through whatever each of them would alone: taking a whole
filter out takes out each of its conditions; and the payloads spoil one key at a time, so that taking the guards off
all keys tells of each.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any, Final

from tests.kit.collector import Config

PIPELINE: Final = "traces/infraprism"
_WHERE: Final = re.compile(r"^set\(.*?\) where ")
_COPY: Final = re.compile(r'^set\((?:span\.cache\["|span\.attributes\[span\.attributes)')
_REDUCTION: Final = re.compile(r"^replace_pattern\(span\.")
_SEES_SPANS: Final = ("span", "spanevent")
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


def removed_around_spans(config: Config) -> Iterator[Mutant]:
    """Each group that sees no span taken out, and each of its statements."""
    for name, groups in _groups(config):
        for at, group in enumerate(groups):
            if group["context"] not in _SEES_SPANS:
                assert "conditions" not in group
                yield _changed(config, name, f"group {at} removed", _without(groups, at))
                for number, statement in enumerate(group["statements"]):
                    fewer = {**group, "statements": _without(group["statements"], number)}
                    whole = [fewer if other == at else one for other, one in enumerate(groups)]
                    yield _changed(config, name, f"removed: {statement}", whole)


class Switched:
    """The configuration with every change of what sees spans; number N is made for spans of `trace_id(N)` alone.

    `names[N]` says what was done; to number 0, nothing.
    """

    def __init__(self, config: Config) -> None:
        self.names = ["nothing removed"]
        self.config = copy.deepcopy(config)
        for name, groups in _groups(self.config):
            for at, group in enumerate(groups):
                if group["context"] in _SEES_SPANS:
                    self._switch(group, name, at)

    def _switch(self, group: dict[str, Any], name: str, at: int) -> None:
        """Each group and each condition of one; each statement, but copies and reductions of keys all at once.

        Refusals go in their groups.
        """
        conditions = [self._kept(f"{name}: group {at} removed")]
        if "conditions" in group:
            either = [f"({condition})" for condition in group["conditions"]]
            either.append(self._added(f"{name}: condition of group {at} removed"))
            conditions.append(f"({' or '.join(either)})")
        group["conditions"] = [" and ".join(conditions)]
        guarded = [statement for statement in group["statements"] if _is_guarded_copy(statement)]
        reduced = [statement for statement in group["statements"] if _REDUCTION.match(statement)]
        added = [self._added(f"{name}: guards off in group {at}")] if guarded else []
        kept = [self._kept(f"{name}: reductions removed in group {at}")] if reduced else []
        if guarded and reduced:
            added.append(self._added(f"{name}: guards off, reductions removed in group {at}"))
            kept.append(_not_of(len(self.names) - 1))
        for number, statement in enumerate(group["statements"]):
            if statement in guarded:
                group["statements"][number] = _when(statement, "or", added)
            elif statement in reduced:
                group["statements"][number] = _when(statement, "and", kept)
            elif not (_COPY.match(statement) or _REFUSAL.match(statement)):
                group["statements"][number] = _when(statement, "and", [self._kept(f"{name}: removed: {statement}")])

    def _added(self, name: str) -> str:
        """The condition of what is done to a new mutant alone."""
        self.names.append(name)
        return _not_of(len(self.names) - 1).replace("!=", "==")

    def _kept(self, name: str) -> str:
        """The condition of what is done to all but a new mutant."""
        self.names.append(name)
        return _not_of(len(self.names) - 1)


def trace_id(number: int) -> bytes:
    """The trace id of the spans that a mutant of Switched gets."""
    return (number + 1).to_bytes(16, "big")


def _not_of(number: int) -> str:
    return f"span.trace_id != TraceID(0x{trace_id(number).hex()})"


def _when(statement: str, operator: str, conditions: list[str]) -> str:
    """A statement with these conditions beside its own."""
    done, where, condition = statement.partition(") where ")
    assert ") where " not in condition
    if not where:
        assert operator == "and", "without a condition it is done anyhow"
        return f"{statement} where {' and '.join(conditions)}"
    return f"{done}) where {f' {operator} '.join([f'({condition})', *conditions])}"


def _is_guarded_copy(statement: str) -> bool:
    # What makes a number a text would make one of anything: there the condition is a part of the conversion.
    return bool(_COPY.match(statement) and _WHERE.match(statement)) and ", String(" not in statement


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


def _groups(config: Config) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for name in steps(config):
        if "trace_statements" in (config["processors"][name] or {}):
            yield name, config["processors"][name]["trace_statements"]


def _changed(config: Config, name: str, done: str, groups: list[dict[str, Any]]) -> Mutant:
    return f"{name}: {done}", {name: {**config["processors"][name], "trace_statements": groups}}, steps(config)


def _without(items: list[Any], at: int) -> list[Any]:
    return [item for number, item in enumerate(items) if number != at]
