"""Every step of the configuration has another behind it: none is all that stands between content and the wire."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import yaml
from collector.generator import config_text
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.collector import payloads
from tests.collector.mutants import (
    Mutant,
    Switched,
    removed_around_spans,
    removed_steps,
    side_by_side,
    steps,
    trace_id,
)
from tests.kit import search
from tests.kit.collector import Collector, Config, load
from tests.kit.otlp_canaries import CANARY
from tests.kit.otlp_sink import OtlpSink, Request

_KINDS = 6
"""Types of values that a canary is put into; the leak tests use all of them on the configuration as it is."""
_FEW_TAGS = 3


def _arrived_and_leaking(
    folder: Path,
    config: Config,
    pipelines: list[Mutant],
    requests: Iterable[ExportTraceServiceRequest],
    name_of: Callable[[Request], str],
) -> tuple[Counter[str], set[str]]:
    """How many spans arrive from each mutant, and the mutants that let a canary through."""
    arrived: Counter[str] = Counter()
    leaking = set()
    with (
        OtlpSink() as sink,
        Collector(folder, sink.endpoint, side_by_side(config, pipelines, sink.endpoint)) as collector,
    ):
        for request in requests:
            collector.send(request)  # some mutants fail on some spans; the sender is told so, and nothing goes on
        for request in sink.requests:
            name = name_of(request)
            arrived[name] += len(request.spans())
            if search.traces([CANARY], request.body):
                leaking.add(name)
    return arrived, leaking


def _small() -> Config:
    config: Config = yaml.safe_load(config_text(payloads.SMALL, _FEW_TAGS))
    return config


def _path(request: Request) -> int:
    return int(request.path.split("/")[1])


def test_no_canary_arrives_with_any_one_step_taken_out(tmp_path: Path) -> None:
    config = load()
    mutants: list[Mutant] = [
        ("nothing removed", {}, steps(config)),
        ("all cleaning removed", {}, ["transform/recognise", "filter/llm_calls_only"]),
        *removed_steps(config),
    ]
    arrived, leaking = _arrived_and_leaking(
        tmp_path, config, mutants, payloads.spans(_KINDS), lambda request: mutants[_path(request)][0]
    )
    assert leaking == {"all cleaning removed"}, "\n".join(sorted(leaking))
    assert arrived["nothing removed"] > 1000
    assert arrived["without transform/clean"] < arrived["nothing removed"] / 10


def test_no_canary_arrives_with_any_one_statement_or_group_around_spans_taken_out(tmp_path: Path) -> None:
    config = _small()
    mutants: list[Mutant] = [("nothing removed", {}, steps(config)), *removed_around_spans(config)]
    arrived, leaking = _arrived_and_leaking(
        tmp_path, config, mutants, payloads.spans(_KINDS, small=True), lambda request: mutants[_path(request)][0]
    )
    assert not leaking, "\n".join(sorted(leaking))
    assert arrived["nothing removed"] > 500
    assert len(mutants) > 10


def _to_each(mutants: Switched, requests: Iterable[ExportTraceServiceRequest]) -> Iterator[ExportTraceServiceRequest]:
    """All requests for each mutant, with its trace id in every span."""
    own = [ExportTraceServiceRequest.FromString(request.SerializeToString()) for request in requests]
    for number in range(len(mutants.names)):
        for request in own:
            for span in (
                span for whole in request.resource_spans for group in whole.scope_spans for span in group.spans
            ):
                span.trace_id = trace_id(number)
            yield request


def test_no_canary_arrives_with_any_one_statement_or_group_taken_out_or_all_guards_off(tmp_path: Path) -> None:
    mutants = Switched(_small())
    names = {trace_id(number): name for number, name in enumerate(mutants.names)}

    def name_of(request: Request) -> str:
        (own,) = {span.trace_id for span in request.spans()}
        return names[own]

    every_step = [("all mutants", {}, steps(mutants.config))]
    requests = _to_each(mutants, payloads.spans(_KINDS, small=True))
    arrived, leaking = _arrived_and_leaking(tmp_path, mutants.config, every_step, requests, name_of)
    assert not leaking, "\n".join(sorted(leaking))
    assert arrived["nothing removed"] > 500
    assert len(names) > 50
