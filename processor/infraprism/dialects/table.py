"""The table of a dialect: the keys that identify its spans, and the keys of each field.

A dialect is the way in which one instrumentation writes LLM calls. It is one `Dialect` in a file of its own. The engine
applies all tables in the same way and knows no vendor. What a table cannot express is one function in the vendor's
file, `Dialect.refine`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum
from functools import cached_property
from typing import Any, Final, NamedTuple

from opentelemetry.trace import StatusCode

from infraprism.dialects import values
from infraprism.dialects.exceptions import recorded_exceptions
from infraprism.dialects.values import Reader


class SpanFields(NamedTuple):
    """Everything that a span reports about a call; None where it reports nothing. Durations are in milliseconds.

    The counts from `input_tokens` to `web_searches` have the order of `Usage`. `total_tokens` is the provider's total,
    used to check the counts. `session_on_span` is the dialect's own session, conversation or user. It can be any text
    and is used only with `INFRAPRISM_SESSION_FROM_SPAN`.
    `is_stream_end`: the span is the second of two spans of a streamed call, written when the stream ended.
    `duration_ms`: the duration of the call that such a span reports.
    `stated_cost`: a cost of any origin. It becomes the `reported_cost_usd` only if `cost_is_of_provider`, and if a
    currency belongs to it, only if `cost_is_in_usd`.
    `region` and `speed` modify the price, as the response reports them. `usage_parts` is a text of
    `infraprism.schema.usage_parts`. `has_unpriced_usage`: the response has usage that changes the bill and that has no
    rate.

    The last three are set by `refine` functions, never from a key:
    `failed`: whether the call failed; None: the error and the span status determine it.
    `parts_included`: input and output are known to include all their parts, whatever the table defines.
    `dedup_scope`: used as the instrumentation scope for deduplication, where two instrumentations share one scope.
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
    stated_cost: Decimal | None
    cost_is_of_provider: bool | None
    cost_is_in_usd: bool | None

    region: str | None
    speed: str | None
    usage_parts: str | None
    has_unpriced_usage: bool | None

    failed: bool | None = None
    parts_included: bool | None = None
    dedup_scope: str | None = None


POSITION: Final = {name: position for position, name in enumerate(SpanFields._fields)}
"""The position of each field in `SpanFields`."""

_REFINED: Final = ("failed", "parts_included", "dedup_scope")

READERS: Final[dict[str, Reader]] = {
    **{name: values.count for name in SpanFields._fields if name not in _REFINED},
    **dict.fromkeys(("operation", "provider", "host"), values.text),
    **dict.fromkeys(("request_model", "response_model"), values.model),
    **dict.fromkeys(("error", "error_code"), values.text),
    **dict.fromkeys(("entity_type", "session_on_span", "response_id"), values.text),
    **dict.fromkeys(("entity_id", "session_id"), values.identifier),
    "streamed": values.flag,
    "is_stream_end": values.flag,
    "duration_ms": values.seconds,
    "time_to_first_token_ms": values.seconds,
    "service_tier": values.tier,
    "reported_cost_usd": values.money,
    "stated_cost": values.money,
    "cost_is_of_provider": values.flag,
    "cost_is_in_usd": values.flag,
    "region": values.modifier,
    "speed": values.modifier,
    "usage_parts": values.usage_text,
    "has_unpriced_usage": values.changes_bill,
}
"""How the values of each field are read, unless an entry of a table defines another reader."""


class RawSpan(NamedTuple):
    """The span that a `refine` function gets.

    `operation` is the operation as the instrumentation writes it. Behind the OpenTelemetry Collector `attributes` has
    only the keys of the table and its `refine_keys`. `source` is the finished span, or None.
    """

    name: str
    operation: str | None
    attributes: Mapping[str, Any]
    source: Any = None

    def has_error_status(self) -> bool:
        """Whether the span's status is ERROR."""
        status = None if self.source is None else self.source.status
        return status is not None and status.status_code is StatusCode.ERROR

    def exception_types(self) -> list[str]:
        """The classes of the recorded exceptions, last first; empty where events cannot be read."""
        try:
            return recorded_exceptions(self.source)[0]
        except Exception:  # noqa: BLE001 - an unreadable event must not lose the call
            return []


_tuple: Final[Callable[..., Any]] = tuple.__new__


def with_fields(fields: SpanFields, **changed: object) -> SpanFields:
    """The same as `fields._replace(...)`, in a third of the time."""
    found: list[Any] = list(fields)
    for name, value in changed.items():
        found[POSITION[name]] = value
    replaced: SpanFields = _tuple(SpanFields, found)
    return replaced


Refine = Callable[[RawSpan, SpanFields], SpanFields | None]
"""Corrects the fields of one span of a dialect; None: the span is not a billed call. Must be a pure function.

The `operation` of the fields is the event's. The counts are as reported, before the arithmetic of `dialects.counts`.
"""


class Layer(IntEnum):
    """How close an instrumentation is to the provider. Of two spans of one call the lower layer is preferred."""

    CLIENT = 0
    WRAPPER = 1
    FRAMEWORK = 2


WRAPPERS: Final = frozenset({"litellm", "instructor", "portkey", "aisuite"})
"""Words in the names of scopes that instrument a package that wraps clients."""
FRAMEWORKS: Final = frozenset(
    {
        *("langchain", "langgraph", "llamaindex", "llama_index", "haystack", "dspy", "guardrails", "crewai", "agno"),
        *("openai_agents", "autogen", "smolagents", "google_adk", "pydantic_ai", "claude_agent_sdk", "strands"),
        *("semantic_kernel", "agent_framework", "mcp", "ag2"),
    }
)
"""Words in the names of scopes that instrument a framework."""


def layer_of(scope: str, otherwise: Layer) -> Layer:
    """The layer by the name of the instrumentation scope, as in `opentelemetry.instrumentation.langchain`."""
    words = set(re.split(r"[./@-]", scope.lower()))
    if words & FRAMEWORKS:
        return Layer.FRAMEWORK
    return max(Layer.WRAPPER, otherwise) if words & WRAPPERS else otherwise


class Slot(NamedTuple):
    """The target of one key: the field's position in `SpanFields`, and the key's rank, where lower is preferred."""

    position: int
    rank: int
    reader: Reader


class As(NamedTuple):
    """A key with its own reader instead of the field's, for example for another unit."""

    key: str
    reader: Reader


class NotInTotal(NamedTuple):
    """A key of a part of the input or output that the reported input or output excludes: it is added.

    With `providers` only for calls that these providers bill.
    """

    key: str
    providers: frozenset[str] = frozenset()


CACHE_NOT_IN_INPUT: Final = frozenset({"anthropic", "aws_bedrock"})
"""Providers that report an input without the tokens read from and written to the cache."""

Entry = str | As | NotInTotal


def key_of(entry: Entry) -> str:
    """The key of an entry of a table."""
    return entry if isinstance(entry, str) else entry.key


@dataclass(frozen=True, eq=False, repr=False)
class Dialect:
    """The table of one dialect.

    Which spans are of the dialect:
    `required_any`: keys of which each span of a billed call has at least one.
    `scopes`: the instrumentation scopes that write the dialect, where its keys do not identify it. Names, or prefixes
    of names if they end in a dot, a hyphen or an underscore.
    `exclusive_keys`: keys that only this dialect writes. They identify it in any other scope.

    Which of these spans are billed calls:
    `operations`: the operation values that are billed calls, with the event's operation of each. Spans with another
    value are no events.
    `unnamed_operation`: the event's operation of a span that has no operation, but another key of `required_any` and a
    model. None: such spans are no events.
    `streamed_operations`: the operation values of streamed calls.
    `operation_by_model`: calls of all kinds have the same operation, so that the model's name determines the event's:
    see `infraprism.providers.model_names.operation_of`.
    `needs`: fields of which a call has at least one.
    `excluded_span_names`: names of spans that are not calls, such as counting tokens. A `*` at the start or the end
    stands for any text.

    What its attributes contain:
    `keys`: the keys of each field, best first.
    `json_texts`: keys of a JSON text or a map with fields in it. `keys` names a value in it by key and
    path,
    `<key>.<name>.<name>`. It is parsed only where one of its fields has no value otherwise. The collector flattens such
    texts to attributes of these names.
    `usage_texts`: those of `json_texts` that are a provider's usage object. A number in it that is neither in `keys`
    nor in `values.NOT_BILLED` leaves the call without a price.
    `input_excludes_cache`: the input count excludes cache reads and writes, always. Where False they are added only if
    the counts prove that they are excluded.
    `total_is_computed`: the total is the sum of the two counts that the instrumentation computed, so that it does not
    prove that they include their parts.
    `zero_is_unreported`: an input of 0, and an output of 0 next to it, were not reported.
    `first_chunk_events`: names of the span events that mark the first chunk of a stream.
    `exception_fails`: a recorded exception means that the call failed, whatever the span's status is.

    Which span of a call is preferred:
    `layer`: see `Layer`; the scope's name can raise it. `rank`: 0 if the counts are the provider's own; higher if they
    are less exact.

    `refine`: a function for what the table cannot express, called after the table was applied: see `Refine`.
    `refine_keys`: the keys that `refine` reads in addition to `keys`, each with the constants that it compares the
    value with. An empty tuple: only the presence of the key counts. The collector forwards no other keys and constants.

    Raises ValueError for a field that no key can fill.
    """

    name: str
    required_any: frozenset[str]
    operations: Mapping[str, str]
    keys: Mapping[str, tuple[Entry, ...]]
    scopes: tuple[str, ...] = ()
    exclusive_keys: frozenset[str] = frozenset()
    unnamed_operation: str | None = None
    streamed_operations: frozenset[str] = frozenset()
    operation_by_model: bool = False
    needs: tuple[str, ...] = ()
    excluded_span_names: tuple[str, ...] = ()
    json_texts: frozenset[str] = frozenset()
    usage_texts: frozenset[str] = frozenset()
    input_excludes_cache: bool = False
    total_is_computed: bool = False
    zero_is_unreported: bool = False
    first_chunk_events: frozenset[str] = frozenset()
    exception_fails: bool = False
    layer: Layer = Layer.CLIENT
    rank: int = 0
    refine: Refine | None = None
    refine_keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (*self.keys, *self.needs):
            if name not in READERS:
                raise ValueError(f"{self.name} has keys for {name}, which is no field of a table")

    # The properties are computed when the first span of the dialect is read.

    @cached_property
    def slots(self) -> Mapping[str, Slot]:
        """The target of each key."""
        slots: dict[str, Slot] = {}
        for name, entries in self.keys.items():
            for rank, entry in self._ranked(entries):
                reader = entry.reader if isinstance(entry, As) else READERS[name]
                slots[key_of(entry)] = Slot(POSITION[name], rank, reader)
        return slots

    @cached_property
    def not_in_total(self) -> Mapping[int, Mapping[int, frozenset[str]]]:
        """For fields with `NotInTotal` entries: the ranks of these entries, each with its providers."""
        not_in_total: dict[int, dict[int, frozenset[str]]] = {}
        for name, entries in self.keys.items():
            parts = {rank: entry.providers for rank, entry in self._ranked(entries) if isinstance(entry, NotInTotal)}
            if parts:
                not_in_total[POSITION[name]] = parts
        return not_in_total

    @staticmethod
    def _ranked(entries: tuple[Entry, ...]) -> Iterable[tuple[int, Entry]]:
        # From 1 where the engine has to know which key a value came from: it records only ranks above 0.
        return enumerate(entries, 1 if any(isinstance(entry, NotInTotal) for entry in entries) else 0)

    @cached_property
    def required_any_but_operation(self) -> frozenset[str]:
        """The keys of `required_any` that are not keys of the operation."""
        return self.required_any - {key for key, slot in self.slots.items() if slot.position == 0}

    @cached_property
    def needed(self) -> tuple[int, ...]:
        """The positions of `needs` in `SpanFields`."""
        return tuple(POSITION[name] for name in self.needs)

    @cached_property
    def parts_are_within(self) -> bool:
        """Whether the table has no part that the input or output excludes."""
        return not (self.input_excludes_cache or self.not_in_total)

    @cached_property
    def excluded_span_name_pattern(self) -> str | None:
        """A pattern (of Python and of RE2) that matches each complete excluded span name; None without any."""
        names = (re.escape(name).replace(r"\*", "(?s:.*)") for name in self.excluded_span_names)
        return "|".join(names) or None

    def is_scope(self, name: str) -> bool:
        """Whether an instrumentation scope of this name writes the dialect."""
        return any(
            name.startswith(scope) if scope.endswith((".", "-", "_")) else name == scope for scope in self.scopes
        )

    def marker_keys(self) -> frozenset[str]:
        """The keys that only have to be present, with any value."""
        present = (key for key, constants in self.refine_keys.items() if not constants)
        return self.required_any | self.exclusive_keys | frozenset(present)

    def needs_scope_or_exclusive_key(self) -> bool:
        """Whether the keys of `required_any` alone do not identify the dialect."""
        return bool(self.scopes or self.exclusive_keys)
