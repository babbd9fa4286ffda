"""Every step of the configuration is backed by another: with any single one removed, no canary arrives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.collector import payloads
from tests.collector.mutants import Mutant, items, mutants, side_by_side, steps, without
from tests.kit import search
from tests.kit.collector import Collector, load
from tests.kit.otlp_canaries import CANARY
from tests.kit.otlp_sink import OtlpSink

_KINDS = 5
"""Types of values that a canary is put into; the leak tests use all of them on the configuration as it is."""
_SHARDS = 6
_PER_SHARD = 40


def _arrived_and_leaking(folder: Path, chosen: Sequence[Mutant]) -> tuple[Counter[str], set[str]]:
    """How many spans arrive from each mutant, and the mutants that let a canary through."""
    arrived: Counter[str] = Counter()
    leaking = set()
    with (
        OtlpSink() as sink,
        Collector(folder, sink.endpoint, side_by_side(load(), chosen, sink.endpoint)) as collector,
    ):
        for request in payloads.spans(_KINDS, few=True):
            collector.send(request)  # some mutants reject the request, and forward nothing of it
        for arriving in sink.requests:
            name = chosen[int(arriving.path.split("/")[1])].name
            arrived[name] += len(arriving.spans())
            if search.find_canaries([CANARY], arriving.body):
                leaking.add(name)
    return arrived, leaking


def test_a_canary_arrives_where_all_cleaning_is_removed(tmp_path: Path) -> None:
    bare = Mutant("no cleaning", {}, ["transform/recognise", "filter/llm_calls_only"])
    arrived, leaking = _arrived_and_leaking(tmp_path, [bare, next(mutants(load()))])
    assert leaking == {"no cleaning"}
    assert arrived["nothing removed"] > 500


@pytest.mark.parametrize("shard", range(_SHARDS))
def test_no_canary_arrives_with_any_one_step_removed(tmp_path: Path, shard: int) -> None:
    chosen = list(mutants(load()))[shard::_SHARDS]
    leaking: set[str] = set()
    for start in range(0, len(chosen), _PER_SHARD):
        leaking |= _arrived_and_leaking(tmp_path / str(start), chosen[start : start + _PER_SHARD])[1]
    assert not leaking, "\n".join(sorted(leaking))


def test_every_statement_and_condition_is_removed_once() -> None:
    config = load()
    texts = 0
    for name in steps(config):
        processor = config["processors"][name] or {}
        for group in (*processor.get("trace_statements", ()), *processor.get("trace_conditions", ())):
            texts += sum(len(group.get(kind, ())) for kind in ("statements", "conditions"))
    removed = [mutant for mutant in mutants(config) if mutant.changed]
    assert len({mutant.name for mutant in removed}) == len(removed) > texts > 150


def test_removing_a_step_removes_nothing_else() -> None:
    made = {"groups": [{"context": "span", "statements": ["a", "b"]}, {"context": "scope", "statements": ["c"]}]}
    paths = list(items(made))
    assert paths == [("groups", 0), ("groups", 0, "statements", 0), ("groups", 0, "statements", 1), ("groups", 1)]
    assert without(made, paths[0]) == {"groups": [{"context": "scope", "statements": ["c"]}]}
    assert without(made, paths[2])["groups"][0]["statements"] == ["a"]
    assert made["groups"][0]["statements"] == ["a", "b"]
