"""The configuration with one step removed, in as many ways as there are steps.

A step is a processor, a group of statements or conditions, a statement, a condition, or one pattern or key list of the
`redaction` processor. Many mutants run next to each other in one collector: each is a pipeline of its own, with an
exporter URL that has the number of the mutant.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from tests.kit.collector import Config

PIPELINE = "traces/infraprism"
Path = tuple[str | int, ...]


class Mutant(NamedTuple):
    """What was removed, the processors that changed, and the pipeline's list of processors."""

    name: str
    changed: dict[str, Any]
    processors: list[str]


def steps(config: Config) -> list[str]:
    """The processors of the pipeline, without the memory limiter, which sees no content."""
    listed: list[str] = config["service"]["pipelines"][PIPELINE]["processors"]
    return [name for name in listed if name != "memory_limiter"]


def mutants(config: Config) -> Iterator[Mutant]:
    """The configuration as it is, and with each step removed."""
    names = steps(config)
    yield Mutant("nothing removed", {}, names)
    for name in names:
        yield Mutant(f"without {name}", {}, [other for other in names if other != name])
        processor = config["processors"][name]
        for path in items(processor):
            made = without(processor, path)
            yield Mutant(f"{name} without {path}: {_at(processor, path)!s:.200}", {name: made}, names)


def items(made: object, path: Path = ()) -> Iterator[Path]:
    """The paths of all items of lists, and of the items in them, that can be removed one by one."""
    if isinstance(made, dict):
        for key, value in made.items():
            yield from items(value, (*path, key))
    elif isinstance(made, list):
        for position, value in enumerate(made):
            if path[-1] != "allowed_keys" and (len(made) > 1 or isinstance(value, dict)):
                yield (*path, position)
            yield from items(value, (*path, position))


def without(made: Any, path: Path) -> Any:
    """A copy without the item at the path."""
    changed = copy.deepcopy(made)
    *parents, last = path
    del _at(changed, parents)[last]
    return changed


def _at(made: Any, path: Sequence[str | int]) -> Any:
    for step in path:
        made = made[step]
    return made


def side_by_side(config: Config, chosen: Sequence[Mutant], endpoint: str) -> Config:
    """One configuration that runs these mutants; number N exports to the path /N/v1/traces."""
    made = copy.deepcopy(config)
    made["exporters"] = {"nop": None}
    pipelines = {name: pipe for name, pipe in made["service"]["pipelines"].items() if name != PIPELINE}
    made["service"]["extensions"] = ["health_check"]
    made["extensions"] = {"health_check": made["extensions"]["health_check"]}
    for number, mutant in enumerate(chosen):
        own = {name: f"{name}_{number}" for name in mutant.changed}
        made["processors"].update({own[name]: processor for name, processor in mutant.changed.items()})
        made["exporters"][f"otlp_http/{number}"] = {
            "endpoint": f"{endpoint}/{number}",
            "compression": "none",
            "sending_queue": {"enabled": False},
            "retry_on_failure": {"enabled": False},
        }
        pipelines[f"traces/{number}"] = {
            "receivers": ["otlp"],
            "processors": [own.get(name, name) for name in mutant.processors],
            "exporters": [f"otlp_http/{number}"],
        }
    made["service"]["pipelines"] = pipelines
    return made
