"""What a dialect is, as data: by which keys it is recognised, and under which keys it says what.

A dialect is one file with one `Dialect`; the engine has no knowledge of any of them.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum
from functools import cached_property
from typing import Final, NamedTuple

from infraprism.dialects import values
from infraprism.dialects.values import Reader


class SpanFields(NamedTuple):
    """All that a span can say about a call; None where it does not. Durations are in milliseconds.

    The counts from `input_tokens` on are those of `Usage`, in its order. `total_tokens` is the provider's own sum, by
    which the counts are checked. `session_on_span` is a dialect's own session or conversation, or else its user,
    which may be anything: it is only used where the application's owner allows it.
    `is_stream_end` says that the span is only the second half of a streamed call, written when the stream was over, and
    `duration_ms` how long that call took.
    """

    operation: str | None
    request_model: str | None
    response_model: str | None
    provider: str | None
    host: str | None
    error: str | None
    error_code: str | None
    entity_type: str | None
    entity_id: str | None
    session_id: str | None

    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    cache_write_1h_tokens: int | None
    reasoning_tokens: int | None
    audio_input_tokens: int | None
    audio_output_tokens: int | None
    web_searches: int | None
    http_status: int | None

    streamed: bool | None
    time_to_first_token_ms: int | None
    service_tier: str | None
    reported_cost_usd: Decimal | None
    response_id: str | None
    session_on_span: str | None

    total_tokens: int | None
    is_stream_end: bool | None
    duration_ms: int | None


POSITION: Final = {name: position for position, name in enumerate(SpanFields._fields)}
"""Where each field of `SpanFields` stands."""

READERS: Final[dict[str, Reader]] = {
    **dict.fromkeys(SpanFields._fields, values.count),
    **dict.fromkeys(("operation", "provider", "host"), values.text),
    **dict.fromkeys(("request_model", "response_model"), values.model),
    **dict.fromkeys(("error", "error_code"), values.text),
    **dict.fromkeys(("entity_type", "entity_id", "session_id", "session_on_span", "response_id"), values.text),
    "streamed": values.flag,
    "is_stream_end": values.flag,
    "duration_ms": values.seconds,
    "time_to_first_token_ms": values.seconds,
    "service_tier": values.tier,
    "reported_cost_usd": values.money,
}
"""How the values of a field are read, unless a dialect says otherwise."""


class Layer(IntEnum):
    """How near to the provider an instrumentation sits; of two spans of one call the lower knows it better."""

    CLIENT = 0
    WRAPPER = 1
    FRAMEWORK = 2


_WRAPPERS: Final = frozenset({"litellm", "instructor", "portkey", "aisuite"})
_FRAMEWORKS: Final = frozenset(
    {
        *("langchain", "langgraph", "llamaindex", "llama_index", "haystack", "dspy", "guardrails", "crewai", "agno"),
        *("openai_agents", "autogen", "smolagents", "google_adk", "pydantic_ai", "claude_agent_sdk", "strands"),
        *("semantic_kernel", "agent_framework", "mcp", "ag2"),
    }
)


def layer_of(scope: str, otherwise: Layer) -> Layer:
    """The layer that the name of an instrumentation scope tells, as `opentelemetry.instrumentation.langchain` does."""
    words = set(re.split(r"[./@-]", scope.lower()))
    if words & _FRAMEWORKS:
        return Layer.FRAMEWORK
    return max(Layer.WRAPPER, otherwise) if words & _WRAPPERS else otherwise


class Slot(NamedTuple):
    """Where the value of one key goes: the field's position in `SpanFields`; a lower rank is a better source."""

    position: int
    rank: int
    reader: Reader


class As(NamedTuple):
    """A key whose values are read in another way than the field's own, for example in another unit."""

    key: str
    reader: Reader


class NotInTotal(NamedTuple):
    """A key of a part of the input or output that the count of the whole leaves out: it is added.

    Only where one of `providers` bills, if any are named: those whose own numbers are that way.
    """

    key: str
    providers: frozenset[str] = frozenset()


CACHE_BESIDE_INPUT: Final = frozenset({"anthropic", "aws_bedrock"})
"""Providers whose own count of the input leaves out what was read from or written to the cache."""

Entry = str | As | NotInTotal


def key_of(entry: Entry) -> str:
    """The key of an entry of a table."""
    return entry if isinstance(entry, str) else entry.key


class Estimated(NamedTuple):
    """Calls whose counts are an estimate: a value under a key, and a pattern of the models that it is about."""

    key: str
    value: str | bool
    models: str


class Lacking(NamedTuple):
    """Streams whose counts are an estimate where a field is not known that stands beside reported ones, be it 0.

    Only those of `models`, if they are given: those whose provider always says it. `text`: the JSON text that says it,
    if any; where that is not on the span nothing can be told.
    """

    field: str
    models: str | None = None
    text: str | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Dialect:
    """One way in which instrumentations write about an LLM call.

    `markers`: keys of which each span of a billed call of this dialect has at least one.
    `operations`: the values of the operation that are billed calls, and what an event calls them. Spans with another
    value are no events, nor are those without one, unless another marker is there and an `unnamed_operation`.
    `unnamed_needs`: fields of which a call without an operation has at least one, as agents have no model.
    `operations_by_key`: keys that tell a call of another operation than the one it names, whatever stands there.
    `streams`: the values of the operation that say that the answer was streamed.
    `operation_by_model`: whether calls of all kinds are named as one, so that the model's name tells more: see
    `infraprism.providers.model_names.operation_of`.
    `excluded_span_names`: constant names of spans that look like calls and are none, such as counting tokens.
    `excluded_span_name_suffixes`: the same, where the class of the application's model stands before it;
    `excluded_span_name_prefixes`: where the model stands behind it.
    `excluded_texts`: keys, and the text under each that says that nothing was asked of a model.
    `bills`: the provider that bills all its calls, where it writes the model's maker in that place.
    `needs`: fields of `SpanFields` of which a call has at least one; a span without any of them is no call.
    `answers_with`: a field of `SpanFields` that each answered call has; one without it failed, nobody knows of what.
    `own_errors`: names, in small letters, of errors that the instrumentation ran into itself, where the span has the
    answer's id or its output: that call succeeded.
    `keys`: for each field of `SpanFields` its keys, best first.
    `scopes`: where keys alone do not tell the dialect, the instrumentation scopes that write it: names, or the
    beginnings of names if they end in a dot, a hyphen or an underscore.
    `signs`: keys that only this dialect writes, by which it is told in any other scope.
    `json_texts`: keys whose value is a JSON text, or a map, with counts in it, taken apart where a field that it may
    fill is not known otherwise. A number in it is named in `keys` by the key and
    the path to it, `<key>.<name>.<name>`: the collector takes such texts apart into attributes of these names.
    `input_excludes_cache`: whether the input count leaves cache reads and writes out; where it is False they are only
    added if the counts prove it.
    `total_is_its_own`: whether the total is a sum that the instrumentation made of the two counts: it proves nothing.
    `total_of`: providers whose own total it is all the same, with the cache in it: the two counts that add up to it
    leave nothing out.
    `zero_is_unreported`: whether an input of 0, and an output of 0 beside it, stand for counts that were not reported.
    `estimates_lack`: what a stream has if its counts were reported, and lacks if they are an estimate: see `Lacking`.
    `estimates`: the calls of which all counts are an estimate: see `Estimated`.
    `first_chunk_events`: names of span events that mark the first chunk of a stream.
    `exception_fails`: whether a recorded exception says that the call failed, whatever the span's status is.
    `dedup_scope`: what stands for the scope of its spans when calls are settled, where another instrumentation, which
    may report the same calls, writes in the same scope.
    `layer`: see `Layer`; the name of the scope may say more. `rank`: how far the numbers can be trusted, 0 is as the
    provider reported them, more is less.

    Raises ValueError for a field that `SpanFields` does not have.
    """

    name: str
    required_any: frozenset[str]
    operations: Mapping[str, str]
    keys: Mapping[str, tuple[Entry, ...]]
    input_excludes_cache: bool = False
    unnamed_operation: str | None = None
    unnamed_needs: tuple[str, ...] = ()
    operations_by_key: Mapping[str, str] = field(default_factory=dict)
    streams: frozenset[str] = frozenset()
    operation_by_model: bool = False
    excluded_span_names: frozenset[str] = frozenset()
    excluded_span_name_suffixes: tuple[str, ...] = ()
    excluded_span_name_prefixes: tuple[str, ...] = ()
    excluded_texts: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    answers_with: str | None = None
    own_errors: frozenset[str] = frozenset()
    billed_by: str | None = None
    json_texts: frozenset[str] = frozenset()
    scopes: tuple[str, ...] = ()
    exclusive_keys: frozenset[str] = frozenset()
    total_is_its_own: bool = False
    total_of: frozenset[str] = frozenset()
    zero_is_unreported: bool = False
    estimates_lack: Lacking | None = None
    estimates: Estimated | None = None
    first_chunk_events: frozenset[str] = frozenset()
    exception_fails: bool = False
    dedup_scope: str | None = None
    layer: Layer = Layer.CLIENT
    rank: int = 0

    def __post_init__(self) -> None:
        for name in (*self.keys, *self.needs, *self.unnamed_needs, *filter(None, [self.answers_with])):
            if name not in POSITION:
                raise ValueError(f"{self.name} has keys for {name}, which is no field")

    # What follows is worked out for the dialects that spans of this process turn out to be of.

    @cached_property
    def slots(self) -> Mapping[str, Slot]:
        """Where the value of each key goes."""
        slots: dict[str, Slot] = {}
        for name, entries in self.keys.items():
            for rank, entry in self._ranked(entries):
                reader = entry.reader if isinstance(entry, As) else READERS[name]
                slots[key_of(entry)] = Slot(POSITION[name], rank, reader)
        return slots

    @cached_property
    def not_in_total(self) -> Mapping[int, Mapping[int, frozenset[str]]]:
        """For fields with parts beside their whole: the ranks of the keys of such parts, with their providers."""
        not_in_total: dict[int, dict[int, frozenset[str]]] = {}
        for name, entries in self.keys.items():
            parts = {rank: entry.providers for rank, entry in self._ranked(entries) if isinstance(entry, NotInTotal)}
            if parts:
                not_in_total[POSITION[name]] = parts
        return not_in_total

    @staticmethod
    def _ranked(entries: tuple[Entry, ...]) -> Iterable[tuple[int, Entry]]:
        # From 1 where a key says more than its value: only ranks above 0 are remembered.
        return enumerate(entries, 1 if any(isinstance(entry, NotInTotal) for entry in entries) else 0)

    @cached_property
    def required_any_but_operation(self) -> frozenset[str]:
        """The markers that are not keys of the operation."""
        return self.required_any - {key for key, slot in self.slots.items() if slot.position == 0}

    @cached_property
    def needed(self) -> tuple[int, ...]:
        """The positions of `needs` in `SpanFields`."""
        return tuple(POSITION[name] for name in self.needs)

    @cached_property
    def needed_unnamed(self) -> tuple[int, ...]:
        """The same of `unnamed_needs`."""
        return tuple(POSITION[name] for name in self.unnamed_needs)

    @cached_property
    def parts_are_within(self) -> bool:
        """Whether every part is counted within its whole."""
        return not (self.input_excludes_cache or self.not_in_total)

    def is_scope(self, name: str) -> bool:
        """Whether an instrumentation scope of this name writes the dialect."""
        return any(
            name.startswith(scope) if scope.endswith((".", "-", "_")) else name == scope for scope in self.scopes
        )

    def marker_keys(self) -> frozenset[str]:
        """Keys that are looked for, whatever stands there."""
        return self.required_any | self.exclusive_keys | self.operations_by_key.keys()

    def has_scope_or_sign(self) -> bool:
        """Whether keys that are markers are not enough to tell it."""
        return bool(self.scopes or self.exclusive_keys)
