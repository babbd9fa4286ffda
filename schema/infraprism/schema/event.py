"""The event: one billed call as a closed, immutable value.

Whatever a caller passes, an `Event` holds only what the field table allows. Each value is checked by `_CHECKS` when the
event is made, there is no other way to make one, and nothing can be changed or added afterwards. A value that does
not pass its check is left out; it is never trimmed, masked or escaped.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from typing import Any, Final, NamedTuple, Self

from infraprism.schema import fields
from infraprism.schema.fields import FIELDS, Field

INVALID_MODEL: Final = "invalid"
MAX_TIMESTAMP_NS: Final = 2**63 - 1
_MAX_TRACE_ID: Final = 2**128 - 1
_MAX_SPAN_ID: Final = 2**64 - 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# The host application may run under any decimal context; this one is private, so that a cost is never rounded by it.
_EXACT: Final = Context(prec=60)
_COST_LIMIT: Final = Decimal(10) ** fields.MAX_COST_DIGITS
_LAST_DIGIT: Final = Decimal(1).scaleb(-fields.MAX_COST_DIGITS)
_COSTED: Final = ("priced", "provider_reported")


class _Values(NamedTuple):
    trace_id: int
    span_id: int
    timestamp_ns: int
    model: str
    provider: str
    operation: str
    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    latency_ms: int
    cost_usd: Decimal | None
    cost_status: str
    success: bool
    entity_type: str | None
    entity_id: str | None
    session_id: str | None
    tags: tuple[tuple[str, str], ...]
    error_type: str | None
    error_code: str | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    cache_write_1h_tokens: int | None
    reasoning_tokens: int | None
    audio_input_tokens: int | None
    audio_output_tokens: int | None
    web_searches: int | None
    time_to_first_token_ms: int | None
    service_tier: str | None
    streamed: bool | None


Check = Callable[[object], Any]


def _count(maximum: int, default: int | None = None) -> Check:
    return lambda value: value if type(value) is int and 0 <= value <= maximum else default


def _matching(field: Field, default: str | None = None) -> Check:
    matches = field.regex.fullmatch
    # `type is str`, since a subclass could show one text to the pattern and another one to the encoder.
    return lambda value: value if type(value) is str and matches(value) else default


def _member(values: Iterable[str], default: str | None = None) -> Check:
    allowed = frozenset(values)
    return lambda value: value if type(value) is str and value in allowed else default


def _flag(value: object) -> bool | None:
    return value if value is True or value is False else None


def _cost(value: object) -> Decimal | None:
    if type(value) is not Decimal or not value.is_finite() or value.is_signed() or value >= _COST_LIMIT:
        return None
    return None if _EXACT.remainder(value, _LAST_DIGIT) else value.normalize(_EXACT)


def _tags(value: object) -> tuple[tuple[str, str], ...]:
    if not value:
        return ()
    pairs: Any = value.items() if isinstance(value, Mapping) else value
    is_key, is_value = fields.TAG_KEY.fullmatch, fields.TAGS.regex.fullmatch
    kept = {
        key: text for key, text in pairs if type(key) is str and type(text) is str and is_key(key) and is_value(text)
    }
    return tuple(sorted(kept.items())[: fields.MAX_TAGS])


def _check_of(field: Field) -> Check:
    if field.kind == "int":
        return _count(field.maximum)
    if field.kind == "string":
        return _member(field.values) if field.values else _matching(field)
    return {"bool": _flag, "decimal": _cost, "tags": _tags}[field.kind]


_BY_NAME: Final[dict[str, Check]] = {
    **{field.name: _check_of(field) for field in FIELDS},
    "trace_id": _count(_MAX_TRACE_ID, 0),
    "span_id": _count(_MAX_SPAN_ID, 0),
    "timestamp_ns": _count(MAX_TIMESTAMP_NS, 0),
    "model": _matching(fields.MODEL, INVALID_MODEL),
    "provider": _member(fields.PROVIDERS, "other"),
    "operation": _member(fields.OPERATIONS, "other"),
    "latency_ms": _count(fields.MAX_LATENCY_MS, 0),
    "success": lambda value: value is True,
}
_CHECKS: Final = tuple((_BY_NAME[name], _BY_NAME[name](None)) for name in _Values._fields)
"""For each position of an event its check, which returns what the event holds, and the value of an absent field."""

_AT: Final = {name: position for position, name in enumerate(_Values._fields)}
_INPUT, _OUTPUT, _TOTAL = _AT["input_tokens"], _AT["output_tokens"], _AT["total_tokens"]
_COST, _COST_STATUS, _SUCCESS = _AT["cost_usd"], _AT["cost_status"], _AT["success"]
_ENTITY_TYPE, _ENTITY_ID = _AT["entity_type"], _AT["entity_id"]
_ERROR_TYPE, _ERROR_CODE = _AT["error_type"], _AT["error_code"]

_MEASURED: Final = tuple(
    (_AT[name], *_CHECKS[_AT[name]])
    for name in (
        *("trace_id", "span_id", "timestamp_ns", "latency_ms", "cost_usd", "cost_status", "time_to_first_token_ms"),
        *("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens"),
        *("reasoning_tokens", "audio_input_tokens", "audio_output_tokens", "web_searches"),
    )
)
"""What differs between calls of one kind, in the order of the arguments of `Event.with_measurements`."""


def _with_total_and_status(values: list[Any]) -> list[Any]:
    """Apply the rules between counts, and between cost and its status, in place."""
    given, answered = values[_INPUT], values[_OUTPUT]
    values[_TOTAL] = None if given is None or answered is None else given + answered
    status = values[_COST_STATUS]
    if values[_COST] is None:
        values[_COST_STATUS] = "incomplete" if status is None or status in _COSTED else status
    elif status not in _COSTED:
        values[_COST_STATUS] = "priced"
    return values


def _consistent(values: list[Any]) -> list[Any]:
    """Apply all rules that involve several fields, in place."""
    if values[_ENTITY_TYPE] is None or values[_ENTITY_ID] is None:
        values[_ENTITY_TYPE] = values[_ENTITY_ID] = None
    if values[_SUCCESS]:
        values[_ERROR_TYPE] = values[_ERROR_CODE] = None
    elif values[_ERROR_TYPE] is None:
        values[_ERROR_TYPE] = "other"
    return _with_total_and_status(values)


class Event(_Values):
    """One billed call.

    `timestamp_ns` is the start time of the request in nanoseconds since 1970, UTC. `trace_id` and `span_id` identify
    the call. `tags` are pairs, sorted by key. All other fields are described in `infraprism.schema.fields`.

    Values of a wrong type, pattern or range raise nothing: the model becomes `invalid`, provider and operation become
    `other`, any other field is left out.
    """

    __slots__ = ()

    def __new__(
        cls,
        *,
        trace_id: int,
        span_id: int,
        timestamp_ns: int,
        model: object,
        provider: object,
        operation: object,
        latency_ms: object,
        success: bool,
        input_tokens: object = None,
        output_tokens: object = None,
        cost_usd: object = None,
        cost_status: object = None,
        entity_type: object = None,
        entity_id: object = None,
        session_id: object = None,
        tags: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        error_type: object = None,
        error_code: object = None,
        cache_read_tokens: object = None,
        cache_write_tokens: object = None,
        cache_write_1h_tokens: object = None,
        reasoning_tokens: object = None,
        audio_input_tokens: object = None,
        audio_output_tokens: object = None,
        web_searches: object = None,
        time_to_first_token_ms: object = None,
        service_tier: object = None,
        streamed: object = None,
    ) -> Self:
        """Check every value; see the class for values that do not pass."""
        given = (
            *(trace_id, span_id, timestamp_ns, model, provider, operation, input_tokens, output_tokens, None),
            *(latency_ms, cost_usd, cost_status, success, entity_type, entity_id, session_id, tags),
            *(error_type, error_code, cache_read_tokens, cache_write_tokens, cache_write_1h_tokens),
            *(reasoning_tokens, audio_input_tokens, audio_output_tokens, web_searches),
            *(time_to_first_token_ms, service_tier, streamed),
        )
        # Most optional fields are absent; skipping them halves the time.
        checked = [
            default if value is None else check(value) for (check, default), value in zip(_CHECKS, given, strict=True)
        ]
        # Not super(): a NamedTuple's own __new__ costs a second call for every event.
        return tuple.__new__(cls, _consistent(checked))

    def with_measurements(  # noqa: PLR0917  # by position: keywords cost a tenth of the call
        self,
        trace_id: object,
        span_id: object,
        timestamp_ns: object,
        latency_ms: object,
        cost_usd: object,
        cost_status: object,
        time_to_first_token_ms: object,
        counts: Sequence[object],
    ) -> Self:
        """Another call of the same kind: a copy with other ids, times, cost and counts, each checked as in a new event.

        `counts` are nine: input, output, cache reads, cache writes, cache writes kept for an hour, reasoning, audio
        input, audio output (tokens), and web searches. Raises ValueError for another number of them.
        """
        given = (
            *(trace_id, span_id, timestamp_ns, latency_ms, cost_usd, cost_status, time_to_first_token_ms),
            *counts,
        )
        values = list(self)
        for (position, check, default), value in zip(_MEASURED, given, strict=True):
            values[position] = default if value is None else check(value)
        return tuple.__new__(type(self), _with_total_and_status(values))

    @classmethod
    def _make(cls, iterable: Iterable[Any]) -> Self:  # type: ignore[override]
        """Run the same checks for the inherited `_make` and `_replace`."""
        values = dict(zip(cls._fields, iterable, strict=True))
        del values["total_tokens"]
        return cls(**values)

    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, object]]:
        values = self._asdict()
        del values["total_tokens"]
        return (), values

    @property
    def id(self) -> str:
        """`evt_` and 32 hexadecimal digits. An event that is sent again has the same id."""
        return event_id(self.trace_id, self.span_id)

    @property
    def timestamp(self) -> datetime:
        """Start time of the request, UTC, in milliseconds."""
        return _EPOCH + timedelta(milliseconds=self.timestamp_ns // 1_000_000)

    @property
    def name(self) -> str:
        """Name of the span of an event."""
        return f"{self.operation} {self.model}"

    def without_usage_detail(self) -> Self:
        """A copy without the opt-in fields."""
        return self._replace(**_NO_DETAIL)


_NO_DETAIL: Final[dict[str, Any]] = {field.name: None for field in fields.USAGE_DETAIL}


def event_id(trace_id: int, span_id: int) -> str:
    """The id of an event, from the ids of its span. The store computes the same id in SQL."""
    from hashlib import sha256  # noqa: PLC0415 - loads OpenSSL, which most processes do not need

    digest = sha256(trace_id.to_bytes(16, "big") + span_id.to_bytes(8, "big")).hexdigest()
    return f"evt_{digest[:32]}"


def cost_text(cost_usd: Decimal) -> str:
    """A cost as decimal digits, without exponent and trailing zeros."""
    text = format(cost_usd, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def fits(field: Field, value: object) -> bool:
    """Whether a text is a valid value of this field; for callers that report invalid values to their user."""
    return isinstance(value, str) and field.regex.fullmatch(value) is not None
