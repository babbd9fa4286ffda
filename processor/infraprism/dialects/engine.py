"""Reads a span's attributes by the tables: one pass, and only values under keys of a table are ever looked at.

This runs for every call of the application, so it is written for few instructions: plain tuples, and a function call
only for a value that is not of the type it should be.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

from infraprism.dialects import DIALECTS, counts, values
from infraprism.dialects.table import POSITION, Dialect, Estimated, Lacking, Layer, SpanFields, layer_of
from infraprism.providers.detection import is_vague, provider_in_scope
from infraprism.providers.model_names import operation_of
from infraprism.schema.fields import MAX_TOKENS, TAG_PREFIX
from infraprism.schema.patterns import compiled
from infraprism.schema.usage import Usage

MARKER_KEYS: Final = frozenset().union(*(dialect.required_any for dialect in DIALECTS))
"""A span that has none of these keys is no LLM call of any dialect."""
FIRST_CHUNKS: Final = {dialect.name: dialect.first_chunk_events for dialect in DIALECTS if dialect.first_chunk_events}
"""For the dialects that have them the names of the span events that mark the first chunk of a stream."""
OWN_ERRORS: Final = {dialect.name: dialect.own_errors for dialect in DIALECTS if dialect.own_errors}
"""For the dialects that have them the errors that are not the call's."""
EXCEPTION_FAILS: Final = frozenset(dialect.name for dialect in DIALECTS if dialect.exception_fails)
"""The dialects whose recorded exceptions say that the call failed, whatever the status is."""
DEDUP_SCOPES: Final = {dialect.name: dialect.dedup_scope for dialect in DIALECTS if dialect.dedup_scope}
"""For the dialects that have one what stands for the scope when calls are settled."""

_STREAMED: Final = POSITION["streamed"]
_NOTHING: Final[list[Any]] = [None] * len(SpanFields._fields)
_REQUEST_MODEL: Final = POSITION["request_model"]
_RESPONSE_MODEL: Final = POSITION["response_model"]
_PROVIDER: Final = POSITION["provider"]
_ERROR: Final = POSITION["error"]
_UNNAMED_ERROR: Final = "_OTHER"
_PLAIN_TYPES: Final[dict[values.Reader, type]] = {values.text: str, values.count: int}
# The generated constructors of named tuples take five times as long.
_tuple: Final[Callable[..., Any]] = tuple.__new__


class ParsedSpan(NamedTuple):
    """What a span says about a billed call.

    `operation` is one of the field table's; `usage` follows the arithmetic of the conventions, and `contradicts` says
    that the counts cannot all be true; `tags` are those on the span itself, unchecked. `layer` and `rank` say how near
    to the provider the span was made, and how far its numbers can be trusted: see `Dialect`.
    """

    operation: str
    span_fields: SpanFields
    usage: Usage
    tags: dict[str, Any]
    contradicts: bool = False
    dialect: str = ""
    layer: Layer = Layer.CLIENT
    rank: int = 0


class _Plan:
    """A dialect in the form that is quick to read; made for those alone that spans turn out to be of."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.operation_tells = not (
            dialect.operations_by_key
            or dialect.operation_by_model
            or dialect.excluded_span_names
            or dialect.excluded_span_name_suffixes
            or dialect.excluded_span_name_prefixes
            or dialect.excluded_texts
        )
        """Whether the name of the operation is all that says whether a span is a call, and what kind of one."""
        self.slot_of: Callable[[str], tuple[int, int, Any, type | None] | None] = {
            key: (slot.position, slot.rank, slot.reader, _PLAIN_TYPES.get(slot.reader))
            for key, slot in dialect.slots.items()
        }.get
        self.texts = {
            text: (
                tuple({slot.position for key, slot in dialect.slots.items() if key.startswith(text + ".")}),
                values.tree(text, dialect.slots),
            )
            for text in dialect.json_texts
        }


_plan: Final = cache(_Plan)


class _Candidate(NamedTuple):
    """A dialect that spans of a scope may be of: they are not if they have none of its markers or signs.

    `are_all_foreign` says the same of this dialect and of all before it. `hint` is the provider whose client the scope
    is about, if its name tells one.
    """

    is_foreign: Callable[[Iterable[str]], bool]
    are_all_foreign: Callable[[Iterable[str]], bool]
    dialect: Dialect
    layer: Layer
    hint: str | None


@lru_cache(maxsize=512)
def _candidates(scope: str) -> tuple[tuple[_Candidate, ...], _Candidate]:
    """The dialects that a scope's spans can be of, in order: all but the last, and the last."""
    found: list[_Candidate] = []
    seen: frozenset[str] = frozenset()
    for dialect in DIALECTS:
        told = not dialect.has_scope_or_sign() or dialect.is_scope(scope)
        keys = dialect.required_any if told else dialect.exclusive_keys
        if keys:
            seen |= keys
            layer = layer_of(scope, dialect.layer)
            hint = provider_in_scope(scope) if layer is Layer.CLIENT else None
            found.append(_Candidate(keys.isdisjoint, seen.isdisjoint, dialect, layer, hint))
    return tuple(found[:-1]), found[-1]


def read(attributes: Mapping[str, Any], scope: str = "", name: str = "") -> ParsedSpan | None:
    """The billed call that these attributes are about, or None. The first dialect that recognises them decides.

    `scope` is the name of the instrumentation scope that made the span, `name` the span's: it is compared with
    constants only, since it may hold anything.
    """
    others, last = _candidates(scope)
    # Most spans follow the conventions: one look at the keys tells that no other dialect wrote them.
    if not others[-1].are_all_foreign(attributes):
        for candidate in others:
            if not candidate.is_foreign(attributes):
                return _read(_plan(candidate.dialect), candidate.layer, attributes, candidate.hint, name)
    return None if last.is_foreign(attributes) else _read(_plan(last.dialect), last.layer, attributes, last.hint, name)


def read_by(dialect: Dialect, attributes: Mapping[str, Any]) -> ParsedSpan | None:
    """The billed call that these attributes are about as one table reads them, for trying out a table."""
    return _read(_Plan(dialect), dialect.layer, attributes, None, "")


def _read(plan: _Plan, layer: Layer, attributes: Mapping[str, Any], hint: str | None, name: str) -> ParsedSpan | None:
    dialect = plan.dialect
    found = _NOTHING.copy()
    ranks: dict[int, int] = {}
    tags: dict[str, Any] = {}
    _take(plan, attributes.items(), found, ranks, tags)
    for text, (positions, tree) in plan.texts.items():
        if text in attributes and None in [found[position] for position in positions]:
            _take(plan, values.leaves(attributes[text], tree), found, ranks, {})
    operation = _operation(plan, found, attributes, name)
    if operation is None:
        return None
    if dialect.needed and all(found[position] is None for position in dialect.needed):
        return None
    if dialect.billed_by is not None:
        found[_PROVIDER] = dialect.billed_by
    elif hint is not None and (found[_PROVIDER] is None or is_vague(found[_PROVIDER])):
        found[_PROVIDER] = hint
    if dialect.answers_with is not None and found[_ERROR] is None and found[POSITION[dialect.answers_with]] is None:
        found[_ERROR] = _UNNAMED_ERROR
    if found[0] in dialect.streams and found[_STREAMED] is None:
        found[_STREAMED] = True
    usage, contradicts = counts.usage(dialect, found, ranks)
    estimates, lacking = dialect.estimates, dialect.estimates_lack
    if (estimates is not None and _is_estimated(estimates, attributes, found)) or (
        lacking is not None and found[_STREAMED] and _lacks(lacking, attributes, found)
    ):
        usage, contradicts = Usage(), False
    span_fields = _tuple(SpanFields, found)
    parsed: ParsedSpan = _tuple(
        ParsedSpan, (operation, span_fields, usage, tags, contradicts, dialect.name, layer, dialect.rank)
    )
    return parsed


def _is_no_call(dialect: Dialect, attributes: Mapping[str, Any], name: str) -> bool:
    """Whether a span that looks like a call says somewhere that it is none."""
    if (
        name in dialect.excluded_span_names
        or name.endswith(dialect.excluded_span_name_suffixes)
        or name.startswith(dialect.excluded_span_name_prefixes)
    ):
        return True
    texts = dialect.excluded_texts
    return bool(texts) and any(attributes.get(key) == text for key, text in texts.items())


def _operation(plan: _Plan, found: list[Any], attributes: Mapping[str, Any], name: str) -> str | None:
    """What kind of call it is, as one of the field table's operations; None if it is none."""
    dialect, span_fields = plan.dialect, found[0]
    if plan.operation_tells and span_fields is not None:
        return dialect.operations.get(span_fields)
    if _is_no_call(dialect, attributes, name):
        return None
    if span_fields is not None:
        operation = dialect.operations.get(span_fields)
    elif dialect.needed_unnamed and all(found[position] is None for position in dialect.needed_unnamed):
        operation = None
    else:
        operation = None if dialect.required_any_but_operation.isdisjoint(attributes) else dialect.unnamed_operation
    if operation is None:
        return None
    for key, meant in dialect.operations_by_key.items():
        if key in attributes:
            operation = meant
    if dialect.operation_by_model:
        return operation_of(found[_RESPONSE_MODEL] or found[_REQUEST_MODEL], operation)
    return operation


def _is_estimated(estimated: Estimated, attributes: Mapping[str, Any], found: list[Any]) -> bool:
    model = found[_REQUEST_MODEL] or found[_RESPONSE_MODEL]
    return (
        attributes.get(estimated.key) == estimated.value
        and model is not None
        and compiled(estimated.models).search(model) is not None
    )


def _lacks(lacking: Lacking, attributes: Mapping[str, Any], found: list[Any]) -> bool:
    if found[POSITION[lacking.field]] is not None:
        return False
    names = (found[_REQUEST_MODEL], found[_RESPONSE_MODEL])
    if lacking.models is not None and not any(name and compiled(lacking.models).search(name) for name in names):
        return False
    # Behind the collector the text is taken apart.
    return lacking.text is None or any(key.startswith(lacking.text) for key in attributes if type(key) is str)


def _take(
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
