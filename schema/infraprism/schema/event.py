"""The event: one billed call as a closed, immutable value.

Rule 1 of the product lives here. Whatever a caller passes, an `Event` holds only what the field table allows: each
value is checked when the event is made, there is no other way to make one, and nothing can be changed or added
afterwards. A value that does not fit is left out; it is never trimmed, masked or escaped into something that fits.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from typing import Any, Final, NamedTuple, Self

from infraprism.schema import fields
from infraprism.schema.fields import Field

INVALID_MODEL: Final = "invalid"
MAX_TIMESTAMP_NS: Final = 2**63 - 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# The host application may run under any decimal context; ours is private, so that a cost is never rounded by it.
_EXACT: Final = Context(prec=60)
_COST_LIMIT: Final = Decimal(10) ** fields.MAX_COST_DIGITS
_LAST_DIGIT: Final = Decimal(1).scaleb(-fields.MAX_COST_DIGITS)

_is_model: Final = fields.MODEL.regex.fullmatch
_is_entity_id: Final = fields.ENTITY_ID.regex.fullmatch
_is_session_id: Final = fields.SESSION_ID.regex.fullmatch
_is_error_code: Final = fields.ERROR_CODE.regex.fullmatch
_is_tag_key: Final = fields.TAG_KEY.fullmatch
_is_tag_value: Final = fields.TAGS.regex.fullmatch
_PROVIDERS: Final = frozenset(fields.PROVIDERS)
_OPERATIONS: Final = frozenset(fields.OPERATIONS)
_COST_STATUSES: Final = frozenset(fields.COST_STATUSES)
_ENTITY_TYPES: Final = frozenset(fields.ENTITY_TYPES)
_ERROR_TYPES: Final = frozenset(fields.ERROR_TYPES)
_MAX_TOKENS: Final = fields.MAX_TOKENS
_MAX_SEARCHES: Final = 10**6
_MAX_TRACE_ID: Final = 2**128 - 1
_MAX_SPAN_ID: Final = 2**64 - 1
_SERVICE_TIERS: Final = frozenset(fields.SERVICE_TIERS)


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


def _from_to(first: str, last: str) -> slice:
    return slice(_Values._fields.index(first), _Values._fields.index(last) + 1)


# What `Event.again` takes over.
_WHAT: Final = _from_to("model", "operation")
_HOW_AND_WHOSE: Final = _from_to("success", "error_code")
_SERVED: Final = _from_to("service_tier", "streamed")


class Event(_Values):
    """One billed call.

    `timestamp_ns` is when the request was made, in nanoseconds since 1970, UTC. `trace_id` and `span_id` are the
    call's own and make up its identity. `tags` are pairs, sorted by key. All other fields are described in
    `infraprism.schema.fields`.

    Raises nothing for values of a wrong type, pattern or range: the model becomes `invalid`, provider and operation
    become `other`, everything else is left out.
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
        """Check every value; see the class for what becomes of one that does not fit."""
        counted_input = input_tokens if type(input_tokens) is int and 0 <= input_tokens <= _MAX_TOKENS else None
        counted_output = output_tokens if type(output_tokens) is int and 0 <= output_tokens <= _MAX_TOKENS else None
        cost = _cost(cost_usd)
        entity = None if entity_id is None else _text(entity_id, _is_entity_id)
        kind = None if entity is None else _one_of(entity_type, _ENTITY_TYPES)
        succeeded = success is True
        # What is absent needs no check, and what every event has is checked here: the calls for it would be half of the
        # constructor's time.
        # tuple.__new__ and not super(): a NamedTuple's own __new__ costs a second call for every event.
        return tuple.__new__(
            cls,
            (
                _count(trace_id, _MAX_TRACE_ID) or 0,
                _count(span_id, _MAX_SPAN_ID) or 0,
                _count(timestamp_ns, MAX_TIMESTAMP_NS) or 0,
                _text(model, _is_model) or INVALID_MODEL,
                _one_of(provider, _PROVIDERS) or "other",
                _one_of(operation, _OPERATIONS) or "other",
                counted_input,
                counted_output,
                None if counted_input is None or counted_output is None else counted_input + counted_output,
                _count(latency_ms, fields.MAX_LATENCY_MS) or 0,
                cost,
                _cost_status(cost, cost_status),
                succeeded,
                kind if entity else None,
                entity if kind else None,
                None if session_id is None else _text(session_id, _is_session_id),
                _tags(tags) if tags else (),
                None if succeeded else _one_of(error_type, _ERROR_TYPES) or "other",
                None if succeeded else _text(error_code, _is_error_code),
                None if cache_read_tokens is None else _count(cache_read_tokens),
                None if cache_write_tokens is None else _count(cache_write_tokens),
                None if cache_write_1h_tokens is None else _count(cache_write_1h_tokens),
                None if reasoning_tokens is None else _count(reasoning_tokens),
                None if audio_input_tokens is None else _count(audio_input_tokens),
                None if audio_output_tokens is None else _count(audio_output_tokens),
                None if web_searches is None else _count(web_searches, _MAX_SEARCHES),
                None if time_to_first_token_ms is None else _count(time_to_first_token_ms, fields.MAX_LATENCY_MS),
                _one_of(service_tier, _SERVICE_TIERS),
                streamed if streamed is True or streamed is False else None,
            ),
        )

    def again(  # noqa: PLR0917 - by position, since it is made for speed
        self,
        trace_id: object,
        span_id: object,
        timestamp_ns: object,
        latency_ms: object,
        counts: Sequence[object],
        cost_usd: object,
        cost_status: object,
        time_to_first_token_ms: object,
    ) -> Self:
        """Another call of the kind that this one is: all that is no number is this event's, which was checked.

        `counts` are the tokens and searches, eleven of them: input, output, cache reads and writes, those of the
        writes that are kept for an hour, reasoning, audio in and out, web searches, and two that no event has. The
        same as a new event of all these values, for half of the work.
        """
        # Without a helper, and by position: it is made for each call, and each function call is a twentieth of it.
        given, answered, read, written, hour, reasoning, audio_in, audio_out, searches, _, _ = counts
        if type(given) is not int or not 0 <= given <= _MAX_TOKENS:
            given = None
        if type(answered) is not int or not 0 <= answered <= _MAX_TOKENS:
            answered = None
        cost = None if cost_usd is None else _cost(cost_usd)
        return tuple.__new__(
            type(self),
            (
                trace_id if type(trace_id) is int and 0 <= trace_id <= _MAX_TRACE_ID else 0,
                span_id if type(span_id) is int and 0 <= span_id <= _MAX_SPAN_ID else 0,
                timestamp_ns if type(timestamp_ns) is int and 0 <= timestamp_ns <= MAX_TIMESTAMP_NS else 0,
                *self[_WHAT],  # type: ignore[misc]  # a slice of a tuple is one
                given,
                answered,
                None if given is None or answered is None else given + answered,
                latency_ms if type(latency_ms) is int and 0 <= latency_ms <= fields.MAX_LATENCY_MS else 0,
                cost,
                _cost_status(cost, cost_status),
                *self[_HOW_AND_WHOSE],
                read if type(read) is int and 0 <= read <= _MAX_TOKENS else None,
                written if type(written) is int and 0 <= written <= _MAX_TOKENS else None,
                None if hour is None else _count(hour),
                reasoning if type(reasoning) is int and 0 <= reasoning <= _MAX_TOKENS else None,
                None if audio_in is None else _count(audio_in),
                None if audio_out is None else _count(audio_out),
                None if searches is None else _count(searches, _MAX_SEARCHES),
                None if time_to_first_token_ms is None else _count(time_to_first_token_ms, fields.MAX_LATENCY_MS),
                *self[_SERVED],
            ),
        )

    @classmethod
    def _make(cls, iterable: Iterable[Any]) -> Self:  # type: ignore[override]
        """Keep the inherited short cuts (`_make`, `_replace`) behind the same checks."""
        values = dict(zip(cls._fields, iterable, strict=True))
        del values["total_tokens"]
        return cls(**values)

    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, object]]:
        values = self._asdict()
        del values["total_tokens"]
        return (), values

    @property
    def id(self) -> str:
        """`evt_` and 32 hex digits: the same call sent again is the same event."""
        return event_id(self.trace_id, self.span_id)

    @property
    def timestamp(self) -> datetime:
        """When the request was made, UTC, to the millisecond."""
        return _EPOCH + timedelta(milliseconds=self.timestamp_ns // 1_000_000)

    @property
    def name(self) -> str:
        """The name of the span that an event travels as."""
        return f"{self.operation} {self.model}"

    def without_usage_detail(self) -> Self:
        """The same event without the opt-in fields."""
        return self._replace(**_NO_DETAIL)


_NO_DETAIL: Final[dict[str, Any]] = {field.name: None for field in fields.USAGE_DETAIL}


def event_id(trace_id: int, span_id: int) -> str:
    """The identity of a call, from the ids of its span. The store computes the same in SQL."""
    from hashlib import sha256  # noqa: PLC0415 - brings OpenSSL with it, for those alone who ask

    digest = sha256(trace_id.to_bytes(16, "big") + span_id.to_bytes(8, "big")).hexdigest()
    return f"evt_{digest[:32]}"


def cost_text(cost_usd: Decimal) -> str:
    """A cost as plain digits: no exponent, no needless zeros."""
    text = format(cost_usd, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def fits(field: Field, value: object) -> bool:
    """Whether a text value may stand in this field; for callers that want to say so to their user."""
    return isinstance(value, str) and field.regex.fullmatch(value) is not None


def _text(value: object, matches: Any) -> str | None:
    # `type is str`, since a subclass could answer the pattern with one text and the encoder with another.
    return value if type(value) is str and matches(value) else None


def _one_of(value: object, allowed: frozenset[str]) -> str | None:
    return value if type(value) is str and value in allowed else None


def _count(value: object, maximum: int = fields.MAX_TOKENS) -> int | None:
    return value if type(value) is int and 0 <= value <= maximum else None


def _cost(value: object) -> Decimal | None:
    if type(value) is not Decimal or not value.is_finite() or value.is_signed() or value >= _COST_LIMIT:
        return None
    return None if _EXACT.remainder(value, _LAST_DIGIT) else value.normalize(_EXACT)


def _cost_status(cost: Decimal | None, status: object) -> str:
    known = _one_of(status, _COST_STATUSES)
    if cost is None:
        return known if known not in (None, "priced", "provider_reported") else "incomplete"
    return known if known in ("priced", "provider_reported") else "priced"


def _tags(tags: Mapping[str, str] | Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    pairs = tags.items() if isinstance(tags, Mapping) else tags
    kept = {
        key: value
        for key, value in pairs
        if type(key) is str and type(value) is str and _is_tag_key(key) and _is_tag_value(value)
    }
    return tuple(sorted(kept.items())[: fields.MAX_TAGS])
