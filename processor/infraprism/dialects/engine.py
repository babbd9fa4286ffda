"""Reads a span's attributes by the tables of the dialects, in one pass.

Only values under keys of a table are read. This runs for every call of the application, so it avoids allocations and
function calls: plain tuples, and a reader only for a value that is not of the expected type.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

from infraprism.dialects import DIALECTS, counts, values
from infraprism.dialects.table import POSITION, Dialect, Layer, RawSpan, SpanFields, layer_of
from infraprism.providers.detection import is_vague, provider_in_scope
from infraprism.providers.model_names import operation_of
from infraprism.schema.fields import MAX_TOKENS, TAG_PREFIX
from infraprism.schema.patterns import compiled
from infraprism.schema.usage import Usage

MARKER_KEYS: Final = frozenset().union(*(dialect.required_any for dialect in DIALECTS))
"""A span that has none of these keys is not an LLM call of any dialect."""

_STREAMED: Final = POSITION["streamed"]
_EMPTY: Final[list[Any]] = [None] * len(SpanFields._fields)
_REQUEST_MODEL: Final = POSITION["request_model"]
_RESPONSE_MODEL: Final = POSITION["response_model"]
_PROVIDER: Final = POSITION["provider"]
_REPORTED_COST: Final = POSITION["reported_cost_usd"]
_STATED_COST: Final = POSITION["stated_cost"]
_COST_IS_OF_PROVIDER: Final = POSITION["cost_is_of_provider"]
_COST_IS_IN_USD: Final = POSITION["cost_is_in_usd"]
_PLAIN_TYPES: Final[dict[values.Reader, type]] = {values.text: str, values.count: int}
# The generated constructors of named tuples take five times as long.
_tuple: Final[Callable[..., Any]] = tuple.__new__


class ParsedSpan(NamedTuple):
    """A billed call as its span reports it.

    `operation` is one of the field table's. `usage` follows the arithmetic of the conventions, and `contradicts` is
    True if its counts cannot all be correct. `tags` are the `infraprism.tags.*` attributes, unchecked. `layer` and
    `rank`: see `Dialect`. `dialect` is None for a span that was restored from storage.
    """

    operation: str
    span_fields: SpanFields
    usage: Usage
    tags: dict[str, Any]
    contradicts: bool = False
    dialect: Dialect | None = None
    layer: Layer = Layer.CLIENT
    rank: int = 0


class _Plan:
    """A dialect prepared for reading, made when its first span is read."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        pattern = dialect.excluded_span_name_pattern
        self.is_excluded_name = None if pattern is None else compiled(pattern).fullmatch
        self.operation_is_enough = not dialect.operation_by_model and pattern is None
        """Whether the value of the operation alone determines if a span is a call, and of which kind."""
        self.slot_of: Callable[[str], tuple[int, int, Any, type | None] | None] = {
            key: (slot.position, slot.rank, slot.reader, _PLAIN_TYPES.get(slot.reader))
            for key, slot in dialect.slots.items()
        }.get
        self.texts = {
            text: (
                tuple({slot.position for key, slot in dialect.slots.items() if key.startswith(text + ".")}),
                values.tree(text, dialect.slots, is_usage=text in dialect.usage_texts),
            )
            for text in dialect.json_texts
        }


_plan: Final = cache(_Plan)


class _Option(NamedTuple):
    """A dialect that a scope's spans can be of.

    `lacks_keys` is True for a span that has none of the keys that identify the dialect in this scope, `all_lack_keys`
    for one that has none of this dialect and of all before it. `hint` is the provider that the scope's name contains,
    if any.
    """

    lacks_keys: Callable[[Iterable[str]], bool]
    all_lack_keys: Callable[[Iterable[str]], bool]
    dialect: Dialect
    layer: Layer
    hint: str | None


@lru_cache(maxsize=512)
def _options(scope: str) -> tuple[tuple[_Option, ...], _Option]:
    """The dialects that a scope's spans can be of, in order: all but the last, and the last."""
    found: list[_Option] = []
    seen: frozenset[str] = frozenset()
    for dialect in DIALECTS:
        identified = not dialect.needs_scope_or_exclusive_key() or dialect.is_scope(scope)
        keys = dialect.required_any if identified else dialect.exclusive_keys
        if keys:
            seen |= keys
            layer = layer_of(scope, dialect.layer)
            hint = provider_in_scope(scope) if layer is Layer.CLIENT else None
            found.append(_Option(keys.isdisjoint, seen.isdisjoint, dialect, layer, hint))
    return tuple(found[:-1]), found[-1]


def read(attributes: Mapping[str, Any], scope: str = "", name: str = "", source: Any = None) -> ParsedSpan | None:
    """The billed call that a span with these attributes reports, or None. The first dialect that matches decides.

    `scope` is the name of the instrumentation scope, `name` the span's, which is only compared with constants. `source`
    is the finished span; `refine` functions read the recorded exceptions from it.
    """
    others, last = _options(scope)
    # Most spans follow the conventions: one set operation excludes all other dialects.
    if not others[-1].all_lack_keys(attributes):
        for option in others:
            if not option.lacks_keys(attributes):
                return _read(_plan(option.dialect), option.layer, attributes, option.hint, name, source)
    if last.lacks_keys(attributes):
        return None
    return _read(_plan(last.dialect), last.layer, attributes, last.hint, name, source)


def read_by(dialect: Dialect, attributes: Mapping[str, Any]) -> ParsedSpan | None:
    """The billed call by one table, which does not have to be in `DIALECTS`."""
    return _read(_Plan(dialect), dialect.layer, attributes, None, "", None)


def _read(  # noqa: C901, PLR0917 - the hot path
    plan: _Plan, layer: Layer, attributes: Mapping[str, Any], hint: str | None, name: str, source: Any
) -> ParsedSpan | None:
    dialect = plan.dialect
    found = _EMPTY.copy()
    ranks: dict[int, int] = {}
    tags: dict[str, Any] = {}
    _fill(plan, attributes.items(), found, ranks, tags)
    for text, (positions, tree) in plan.texts.items():
        if text in attributes and None in [found[position] for position in positions]:
            _fill(plan, values.leaves(attributes[text], tree), found, ranks, {})
    if found[_STATED_COST] is not None:
        _accept_cost(found, ranks)
    reported_operation = found[0]
    operation = _operation(plan, found, attributes, name)
    if operation is None:
        return None
    if dialect.needed and all(found[position] is None for position in dialect.needed):
        return None
    if hint is not None and (found[_PROVIDER] is None or is_vague(found[_PROVIDER])):
        found[_PROVIDER] = hint
    if found[_STREAMED] is None and reported_operation in dialect.streamed_operations:
        found[_STREAMED] = True
    found[0] = operation
    span_fields = _tuple(SpanFields, found)
    if dialect.refine is not None:
        span = _tuple(RawSpan, (name, reported_operation, attributes, source))
        refined = dialect.refine(span, span_fields)
        if refined is None or refined.operation is None:
            return None
        if refined is not span_fields:
            span_fields, found = refined, list(refined)
    usage, contradicts = counts.usage(dialect, found, ranks)
    parsed: ParsedSpan = _tuple(
        ParsedSpan,
        (span_fields.operation, span_fields, usage, tags, contradicts, dialect, layer, dialect.rank),
    )
    return parsed


def _accept_cost(found: list[Any], ranks: dict[int, int]) -> None:
    """Use the stated cost as the reported one if the provider reported it, in USD where a currency belongs to it."""
    is_usd = found[_COST_IS_IN_USD]
    if is_usd is None:
        is_usd = ranks.get(_STATED_COST, 0) == 0
    if found[_REPORTED_COST] is None and found[_COST_IS_OF_PROVIDER] and is_usd:
        found[_REPORTED_COST] = found[_STATED_COST]


def _operation(plan: _Plan, found: list[Any], attributes: Mapping[str, Any], name: str) -> str | None:
    """The event's operation; None if the span is not a billed call."""
    dialect, reported = plan.dialect, found[0]
    if plan.operation_is_enough and reported is not None:
        return dialect.operations.get(reported)
    if plan.is_excluded_name is not None and plan.is_excluded_name(name) is not None:
        return None
    model = found[_RESPONSE_MODEL] or found[_REQUEST_MODEL]
    if reported is not None:
        operation = dialect.operations.get(reported)
    elif model is None or dialect.required_any_but_operation.isdisjoint(attributes):
        operation = None
    else:
        operation = dialect.unnamed_operation
    return operation_of(model, operation) if operation is not None and dialect.operation_by_model else operation


def _fill(
    plan: _Plan, items: Iterable[tuple[str, Any]], found: list[Any], ranks: dict[int, int], tags: dict[str, Any]
) -> None:
    """Fill the fields, each from the best of its keys that has a readable value, and the tags."""
    slot_of = plan.slot_of
    for key, raw in items:
        slot = slot_of(key)
        if slot is None:
            if type(key) is str and key.startswith(TAG_PREFIX):
                tags[key[len(TAG_PREFIX) :]] = raw
            continue
        position, rank, reader, plain = slot
        kind = type(raw)
        if kind is plain and (0 <= raw <= MAX_TOKENS if kind is int else 0 < len(raw) <= values.MAX_TEXT):
            value = raw
        else:
            value = reader(raw)
            if value is None:
                continue
        if rank:
            if found[position] is not None and ranks.get(position, 0) < rank:
                continue
            ranks[position] = rank
        elif ranks:
            ranks.pop(position, None)
        found[position] = value
