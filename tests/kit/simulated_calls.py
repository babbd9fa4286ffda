"""Applications as they might be: calls really made, and the spans by which several instrumentations report them.

What an instrumentation tells of a call, and where it puts its span, is as the real ones do it. A `World` is drawn from
a seed; `spans` are those of its calls, of which there are `calls`, and `usages` what these used. Times are in
milliseconds.
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
SHAPES: Final = ("one after the other", "gathered", "threads", "agent", "separate traces")
_NONE: Final = (None, None)


@dataclass(frozen=True)
class Instrumentation:
    """`tells_id`, `tells_id_of_streams`: the response's. `relation`: of spans inside it, made by others, to its own.

    `in_two_parts`: a stream is one span until its headers are there, and another one at its end. `asks_by_alias`: it
    knows a model by the name that the application gave it. `by_callbacks`: it is told of a call by the framework, which
    tells several in turn, of the beginning and of the end.
    """

    scope: str
    layer: Layer = Layer.CLIENT
    tells_id: bool = True
    tells_id_of_streams: bool = True
    relation: Relation = "sibling"
    in_two_parts: bool = False
    asks_by_alias: bool = False
    by_callbacks: bool = False


FRAMEWORKS: Final = (
    Instrumentation(
        "openinference.instrumentation.langchain",
        Layer.FRAMEWORK,
        tells_id=False,
        tells_id_of_streams=False,
        by_callbacks=True,
    ),
    Instrumentation(
        "opentelemetry.instrumentation.langchain", Layer.FRAMEWORK, tells_id_of_streams=False, by_callbacks=True
    ),
    Instrumentation("pydantic-ai", Layer.FRAMEWORK, relation="child"),
    Instrumentation("litellm", Layer.WRAPPER, asks_by_alias=True),
)
CLIENTS: Final = (
    Instrumentation("opentelemetry.instrumentation.genai.openai", relation="child"),
    Instrumentation("opentelemetry.instrumentation.openai.v1"),
    Instrumentation("openinference.instrumentation.openai", tells_id=False, tells_id_of_streams=False),
    Instrumentation("openlit.instrumentation.openai", relation="child"),
    Instrumentation("logfire.openai", tells_id_of_streams=False, in_two_parts=True, relation="child"),
    Instrumentation("langfuse-sdk", tells_id=False, tells_id_of_streams=False, relation="child"),
)
NATIVE: Final = Instrumentation("com.anthropic.sdk.python")
OURS: Final = Instrumentation(INSTRUMENTATION_SCOPE)


@dataclass
class World:
    """An application. `contention` is how many times longer than on an idle machine things take beside the calls.

    `misses`: how often an instrumentation does not see a call. `relation`: for all, in place of each one's own.
    `sums`: what the agent's span around the calls repeats.
    """

    seed: int
    shape: str
    calls: int
    instrumentations: list[Instrumentation]
    contention: float = 1
    misses: float = 0
    fails: float = 0
    equal: bool = True
    streamed: bool = False
    counted: bool = True
    tells_ids: bool = True
    aliased: bool = False
    relation: Relation | None = None
    inside_a_span: bool = False
    sums: str = ""
    spans: list[Candidate] = field(default_factory=list)
    usages: list[Counts] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = Random(self.seed)
        self._at_once = self.shape in ("gathered", "threads")
        self._trace, self._span = self._id(), self._id()
        for number, (start, end) in enumerate(self._times()):
            self.usages.append(self._report(number, start, end))
            end_of_all = end
        if self.sums and _NONE not in self.usages:
            whole = (sum(i or 0 for i, _ in self.usages), sum(o or 0 for _, o in self.usages))
            told = self.usages[-1] if self.sums == "the last" else whole
            self.spans.append(
                candidate("some.agent", -5, end_of_all + 8, told, trace_id=self._trace, span_id=self._span)
            )

    def _id(self) -> int:
        return self._chance.getrandbits(60) | 1

    def _times(self) -> list[tuple[float, float]]:
        usual, now, times = self._chance.choice([150, 400, 900, 3000]), 0.0, []
        for number in range(self.calls):
            start = {"gathered": number * self._chance.uniform(0.3, 3), "threads": self._chance.uniform(0, 40)}
            length = usual * self._chance.uniform(0.5, 1.6)
            times.append((start.get(self.shape, now), start.get(self.shape, now) + length))
            now += length + 6 + self._chance.choice([0.2, 3, 40])
        return times

    def _report(self, number: int, start: float, end: float) -> Counts:
        failed = self._chance.random() < self.fails
        usage: Counts = (
            (111, 37) if self.equal else (100 + self._chance.randrange(400), 10 + self._chance.randrange(200))
        )
        usage = usage if (self.counted or not self.streamed) and not failed else _NONE
        alone = self.shape == "separate traces" or (self.shape != "agent" and not self.inside_a_span)
        trace, parent = (0, 0) if alone else (self._trace, self._span)
        seen = [each for each in self.instrumentations if each is OURS or self._chance.random() >= self.misses]
        told: float | None = None
        for each in seen or self.instrumentations[-1:]:
            before, after = (gap * (6 if self._at_once else 1) * self.contention for gap in self._gaps(each.layer))
            at_most = (end - start) / 5
            start += min(before, at_most)
            if each.by_callbacks and told is not None:
                told += min(after, at_most)
            else:
                end -= min(after, at_most)
                told = end if each.by_callbacks else told
            own_trace, own_span = trace if parent else self._id(), self._id()
            ids = each.tells_id_of_streams if self.streamed else each.tells_id
            self._span_of(
                each,
                start,
                told if each.by_callbacks and told is not None else end,
                usage,
                failed=failed,
                response_id=f"chatcmpl-{self.seed}x{number}" if ids and self.tells_ids and not failed else None,
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

    def _span_of(
        self, by: Instrumentation, start: float, end: float, usage: Counts, *, failed: bool, **said: Any
    ) -> None:
        alias = self.aliased and by.asks_by_alias
        said |= {
            "model": "my-deployment" if alias else "gpt-4o-mini",
            "response_model": None if alias or failed else "gpt-4o-mini-2024-07-18",
            "outcome": RATE_LIMITED if failed else SUCCESS,
            "layer": by.layer,
        }
        if by.in_two_parts and self.streamed and not failed:
            headers = start + min(self._chance.uniform(2, 300), (end - start) * 0.4)
            self.spans.append(candidate(by.scope, start, headers, _NONE, **said))
            start = headers + self._chance.uniform(0.05, 1.5)
            said |= {"span_id": self._id(), "is_stream_end": True}
            said |= {} if said["parent_id"] else {"trace_id": self._id()}
        self.spans.append(candidate(by.scope, start, end, usage, **said))


def world(seed: int, **given: Any) -> World:
    """A world drawn from a seed; what is `given` is not drawn."""
    chance = Random(seed)
    shape = given.get("shape", chance.choice(SHAPES))
    at_once = shape in ("gathered", "threads")
    number = chance.choice([1, 2, 2, 3, 4])
    frameworks = chance.sample(FRAMEWORKS, min(number, chance.choice([0, 1, 1, 2])))
    found = sorted([*frameworks, *chance.sample(CLIENTS, number - len(frameworks))], key=lambda each: -each.layer)
    if chance.random() < 0.15:
        found.append(NATIVE)
    if chance.random() < 0.2:
        found.insert(chance.choice([len(found), len(found) - 1]), OURS)
    drawn: dict[str, Any] = {
        "shape": shape,
        "calls": chance.choice([2, 3, 5, 8, 12, 20, 50] if at_once else [1, 2, 3, 4, 6, 8, 12]),
        "instrumentations": found,
        "contention": chance.choice([1, 1, 10]),
        "fails": chance.choice([0, 0, 0.2]),
        "equal": chance.random() < 0.7,
        "streamed": chance.random() < 0.35,
        "counted": chance.random() < 0.7,
        "tells_ids": chance.random() < 0.6,
        "aliased": chance.random() < 0.15,
        "relation": chance.choice([None, None, "child", "sibling", "root"]),
        "inside_a_span": chance.random() < 0.5,
        "sums": chance.choice(["", "all", "the last"]) if shape == "agent" else "",
    }
    return World(seed, **{**drawn, **given})


def counted(world: World, lag_ms: float = 0) -> list[Candidate]:
    """The calls that settling makes of the spans, each given when it ends; or up to `lag_ms` later, by who made it."""
    chance = Random(world.seed)
    lags = {each.scope: chance.uniform(0, lag_ms) for each in world.spans}
    deduplicator, calls = Deduplicator(), []
    arriving = sorted((span.end_ns - EPOCH_NS) / 1e9 + lags[span.scope] / 1e3 for span in world.spans)
    ordered = sorted(world.spans, key=lambda span: span.end_ns + lags[span.scope] * 1e6)
    for now_s, span in zip(arriving, ordered, strict=True):
        calls += deduplicator.due(now_s)
        deduplicator.add(span, now_s)
    return calls + deduplicator.close()
