"""Simulated applications: the calls that they make, and the spans by which several instrumentations report them.

Which values an instrumentation reports, and where its spans are in the trace, is as in the real packages. An
`Application` is drawn from a seed: `spans` are those of its calls, `calls` is the number of calls, and `usages` are
their counts. Times are in milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Literal

from tests.kit.candidates import EPOCH_NS, RATE_LIMITED, candidate

from infraprism.deduplication.candidate import SUCCESS, Candidate
from infraprism.deduplication.deduplicator import Deduplicator
from infraprism.dialects.table import Layer
from infraprism.schema.call_context import INSTRUMENTATION_SCOPE

Counts = tuple[int | None, int | None]
Relation = Literal["child", "sibling", "root"]
SHAPES: Final = ("sequential", "tasks", "threads", "agent", "separate traces")
_NONE: Final = (None, None)


@dataclass(frozen=True)
class Instrumentation:
    """How one instrumentation reports calls.

    `reports_id`, `reports_stream_id`: whether its spans have the response id. `relation`: of the spans that other
    instrumentations make during its span, to that span. `in_two_parts`: a stream is one span until its headers, and
    another one until its end. `reports_alias`: its spans have the model name that the application uses.
    `has_callbacks`: a framework runs its callbacks after those of other instrumentations, at the start and at the end.
    """

    scope: str
    layer: Layer = Layer.CLIENT
    reports_id: bool = True
    reports_stream_id: bool = True
    relation: Relation = "sibling"
    in_two_parts: bool = False
    reports_alias: bool = False
    has_callbacks: bool = False


FRAMEWORKS: Final = (
    Instrumentation(
        "openinference.instrumentation.langchain",
        Layer.FRAMEWORK,
        reports_id=False,
        reports_stream_id=False,
        has_callbacks=True,
    ),
    Instrumentation(
        "opentelemetry.instrumentation.langchain", Layer.FRAMEWORK, reports_stream_id=False, has_callbacks=True
    ),
    Instrumentation("pydantic-ai", Layer.FRAMEWORK, relation="child"),
    Instrumentation("litellm", Layer.WRAPPER, reports_alias=True),
)
CLIENTS: Final = (
    Instrumentation("opentelemetry.instrumentation.genai.openai", relation="child"),
    Instrumentation("opentelemetry.instrumentation.openai.v1"),
    Instrumentation("openinference.instrumentation.openai", reports_id=False, reports_stream_id=False),
    Instrumentation("openlit.instrumentation.openai", relation="child"),
    Instrumentation("logfire.openai", reports_stream_id=False, in_two_parts=True, relation="child"),
    Instrumentation("langfuse-sdk", reports_id=False, reports_stream_id=False, relation="child"),
)
NATIVE: Final = Instrumentation("com.anthropic.sdk.python")
OURS: Final = Instrumentation(INSTRUMENTATION_SCOPE)


@dataclass
class Application:
    """An application.

    `contention`: how many times longer than on an idle machine the work next to the calls takes. `miss_rate`: the share
    of the calls that an instrumentation does not see. `relation`: for all instrumentations, in place of their own.
    `agent_counts`: what the enclosing span of the agent repeats, "all" or "the last".
    """

    seed: int
    shape: str
    calls: int
    instrumentations: list[Instrumentation]
    contention: float = 1
    miss_rate: float = 0
    failure_rate: float = 0
    equal_counts: bool = True
    streamed: bool = False
    with_counts: bool = True
    with_ids: bool = True
    aliased: bool = False
    relation: Relation | None = None
    in_request_span: bool = False
    agent_counts: str = ""
    spans: list[Candidate] = field(default_factory=list)
    usages: list[Counts] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = Random(self.seed)
        self._concurrent = self.shape in ("tasks", "threads")
        self._trace, self._span = self._id(), self._id()
        for number, (start, end) in enumerate(self._times()):
            self.usages.append(self._report_call(number, start, end))
            end_of_all = end
        if self.agent_counts and _NONE not in self.usages:
            total = (sum(i or 0 for i, _ in self.usages), sum(o or 0 for _, o in self.usages))
            counts = self.usages[-1] if self.agent_counts == "the last" else total
            self.spans.append(
                candidate("some.agent", -5, end_of_all + 8, counts, trace_id=self._trace, span_id=self._span)
            )

    def _id(self) -> int:
        return self._chance.getrandbits(60) | 1

    def _times(self) -> list[tuple[float, float]]:
        median_ms, now, times = self._chance.choice([150, 400, 900, 3000]), 0.0, []
        for number in range(self.calls):
            start = {"tasks": number * self._chance.uniform(0.3, 3), "threads": self._chance.uniform(0, 40)}
            length = median_ms * self._chance.uniform(0.5, 1.6)
            times.append((start.get(self.shape, now), start.get(self.shape, now) + length))
            now += length + 6 + self._chance.choice([0.2, 3, 40])
        return times

    def _report_call(self, number: int, start: float, end: float) -> Counts:
        failed = self._chance.random() < self.failure_rate
        usage: Counts = (
            (111, 37) if self.equal_counts else (100 + self._chance.randrange(400), 10 + self._chance.randrange(200))
        )
        usage = usage if (self.with_counts or not self.streamed) and not failed else _NONE
        is_root = self.shape == "separate traces" or (self.shape != "agent" and not self.in_request_span)
        trace, parent = (0, 0) if is_root else (self._trace, self._span)
        observers = [each for each in self.instrumentations if each is OURS or self._chance.random() >= self.miss_rate]
        reported_ms: float | None = None
        for each in observers or self.instrumentations[-1:]:
            before, after = (gap * (6 if self._concurrent else 1) * self.contention for gap in self._gaps(each.layer))
            at_most = (end - start) / 5
            start += min(before, at_most)
            if each.has_callbacks and reported_ms is not None:
                reported_ms += min(after, at_most)
            else:
                end -= min(after, at_most)
                reported_ms = end if each.has_callbacks else reported_ms
            own_trace, own_span = trace if parent else self._id(), self._id()
            ids = each.reports_stream_id if self.streamed else each.reports_id
            self._add_span(
                each,
                start,
                reported_ms if each.has_callbacks and reported_ms is not None else end,
                usage,
                failed=failed,
                response_id=f"chatcmpl-{self.seed}x{number}" if ids and self.with_ids and not failed else None,
                trace_id=own_trace,
                span_id=own_span,
                parent_id=parent,
            )
            relation = self.relation or each.relation
            if relation != "sibling":
                trace, parent = (own_trace, own_span) if relation == "child" else (0, 0)
        return usage

    def _gaps(self, layer: Layer) -> tuple[float, float]:
        longest = (0.8, 0.4) if layer is Layer.CLIENT else (3, 2)
        return self._chance.uniform(0.02, longest[0]), self._chance.uniform(0.01, longest[1])

    def _add_span(
        self, instrumentation: Instrumentation, start: float, end: float, usage: Counts, *, failed: bool, **fields: Any
    ) -> None:
        alias = self.aliased and instrumentation.reports_alias
        fields |= {
            "model": "my-deployment" if alias else "gpt-4o-mini",
            "response_model": None if alias or failed else "gpt-4o-mini-2024-07-18",
            "outcome": RATE_LIMITED if failed else SUCCESS,
            "layer": instrumentation.layer,
        }
        if instrumentation.in_two_parts and self.streamed and not failed:
            headers = start + min(self._chance.uniform(2, 300), (end - start) * 0.4)
            self.spans.append(candidate(instrumentation.scope, start, headers, _NONE, **fields))
            start = headers + self._chance.uniform(0.05, 1.5)
            fields |= {"span_id": self._id(), "is_stream_end": True}
            fields |= {} if fields["parent_id"] else {"trace_id": self._id()}
        self.spans.append(candidate(instrumentation.scope, start, end, usage, **fields))


def application(seed: int, **fixed: Any) -> Application:
    """An application drawn from a seed. `fixed` values are not drawn."""
    chance = Random(seed)
    shape = fixed.get("shape", chance.choice(SHAPES))
    concurrent = shape in ("tasks", "threads")
    count = chance.choice([1, 2, 2, 3, 4])
    frameworks = chance.sample(FRAMEWORKS, min(count, chance.choice([0, 1, 1, 2])))
    chosen = sorted([*frameworks, *chance.sample(CLIENTS, count - len(frameworks))], key=lambda each: -each.layer)
    if chance.random() < 0.15:
        chosen.append(NATIVE)
    if chance.random() < 0.2:
        chosen.insert(chance.choice([len(chosen), len(chosen) - 1]), OURS)
    drawn: dict[str, Any] = {
        "shape": shape,
        "calls": chance.choice([2, 3, 5, 8, 12, 20, 50] if concurrent else [1, 2, 3, 4, 6, 8, 12]),
        "instrumentations": chosen,
        "contention": chance.choice([1, 1, 10]),
        "failure_rate": chance.choice([0, 0, 0.2]),
        "equal_counts": chance.random() < 0.7,
        "streamed": chance.random() < 0.35,
        "with_counts": chance.random() < 0.7,
        "with_ids": chance.random() < 0.6,
        "aliased": chance.random() < 0.15,
        "relation": chance.choice([None, None, "child", "sibling", "root"]),
        "in_request_span": chance.random() < 0.5,
        "agent_counts": chance.choice(["", "all", "the last"]) if shape == "agent" else "",
    }
    return Application(seed, **{**drawn, **fixed})


def deduplicated(app: Application, lag_ms: float = 0) -> list[Candidate]:
    """The calls after deduplication; each span is added at its end, or up to `lag_ms` later, the same for one scope."""
    chance = Random(app.seed)
    lags = {each.scope: chance.uniform(0, lag_ms) for each in app.spans}
    deduplicator, calls = Deduplicator(), []
    arriving = sorted((span.end_ns - EPOCH_NS) / 1e9 + lags[span.scope] / 1e3 for span in app.spans)
    ordered = sorted(app.spans, key=lambda span: span.end_ns + lags[span.scope] * 1e6)
    for now_s, span in zip(arriving, ordered, strict=True):
        calls += deduplicator.due(now_s)
        deduplicator.add(span, now_s)
    return calls + deduplicator.close()
