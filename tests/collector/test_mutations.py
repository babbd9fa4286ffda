"""Every step of the configuration has another behind it: none is all that stands between content and the wire."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import yaml
from collector.generator import config_text
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.collector import payloads
from tests.collector.mutants import (
    Mutant,
    removed_groups,
    removed_statements,
    removed_steps,
    side_by_side,
    steps,
    unguarded_copies,
)
from tests.kit import search
from tests.kit.collector import Collector, Config, load
from tests.kit.otlp_canaries import CANARY
from tests.kit.otlp_sink import OtlpSink

_KINDS = 6
"""Types of values that a canary is put into; the leak tests use all of them on the configuration as it is."""
_FEW_TAGS = 3


def _arrived_and_leaking(
    folder: Path, config: Config, mutants: list[Mutant], requests: Sequence[ExportTraceServiceRequest]
) -> tuple[Counter[str], set[str]]:
    """How many spans arrive from each mutant, and the mutants that let a canary through."""
    arrived: Counter[str] = Counter()
    leaking = set()
    with (
        OtlpSink() as sink,
        Collector(folder, sink.endpoint, side_by_side(config, mutants, sink.endpoint)) as collector,
    ):
        for request in requests:
            collector.send(request)  # some mutants fail on some spans; the sender is told so, and nothing goes on
        for request in sink.requests:
            name = mutants[int(request.path.split("/")[1])][0]
            arrived[name] += len(request.spans())
            if search.traces([CANARY], request.body):
                leaking.add(name)
    return arrived, leaking


def test_no_canary_arrives_with_any_one_step_taken_out(tmp_path: Path) -> None:
    config = load()
    mutants: list[Mutant] = [
        ("nothing removed", {}, steps(config)),
        ("all cleaning removed", {}, ["transform/recognise", "filter/llm_calls_only"]),
        *removed_steps(config),
    ]
    arrived, leaking = _arrived_and_leaking(tmp_path, config, mutants, payloads.spans(_KINDS))
    assert leaking == {"all cleaning removed"}, "\n".join(sorted(leaking))
    assert arrived["nothing removed"] > 1000
    assert arrived["without transform/clean"] < arrived["nothing removed"] / 10


def test_no_canary_arrives_with_any_one_statement_or_group_taken_out_or_all_guards_off(tmp_path: Path) -> None:
    config: Config = yaml.safe_load(config_text(payloads.SMALL, _FEW_TAGS))
    mutants: list[Mutant] = [
        ("nothing removed", {}, steps(config)),
        *removed_groups(config),
        *removed_statements(config),
        *unguarded_copies(config),
    ]
    arrived, leaking = _arrived_and_leaking(tmp_path, config, mutants, payloads.spans(_KINDS, small=True))
    assert not leaking, "\n".join(sorted(leaking))
    assert arrived["nothing removed"] > 500
    assert len(mutants) > 50
