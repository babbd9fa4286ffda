"""The lists of statements and conditions that the template of the configuration has places for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from collector.generator import json_counts, keys, reductions, scopes
from collector.generator.families import Families
from collector.generator.guards import ALL_COUNTS, Kept, one_of, printable
from collector.generator.ottl import CLEAN, COUNTS, COUNTS_KEY, RESOURCE, SPAN, all_of, any_of, at, matches, put, text

from infraprism.dialects import DIALECTS
from infraprism.dialects.table import Dialect
from infraprism.schema import fields, wire
from infraprism.schema.fields import ENTITY_ID, ENTITY_TYPE, SESSION_ID, TAG_KEY, TAGS, Field

SPAN_NAME: Final = "llm_call"
"""The name of each cleaned span that is no event of our own."""
_TAG_KEY: Final = "^infraprism[.]tags[.]" + TAG_KEY.pattern + "$"
_HAS_TAGS: Final = f"IsMatch(Keys({SPAN}), {text('infraprism[.]tags[.]')})"
_IS_EVENT: Final = f'scope.name == "{wire.SCOPE_NAME}"'
_IS_NO_EVENT: Final = f'scope.name != "{wire.SCOPE_NAME}"'
_NAMES: Final = "names"
_TAG_NAMES: Final = at(SPAN, _NAMES)
"""Where the list of the tags' keys stands while they are checked; no such key is kept before or after."""
_EVENT_NAME: Final = f'Concat([{at(SPAN, fields.OPERATION.key)}, {at(SPAN, fields.MODEL.key)}], " ")'
EVENT: Final = "event"
"""The mark of an event of our own, until it has its name."""
_NO_CALL: Final = "no call"
_NAME: Final = at(CLEAN, "name")
"""Where a span's own name stands while it is recognised."""
_RECOGNISED: Final = "dialect"
_KEPT: Final = at(SPAN, "kept")
"""Where the cleaned attributes of a family stand until those that all share are added; no such key is kept before."""
_REFUSED: Final = "refused"
_TAGS: Final = "tags"
_OWN: Final = (fields.COST_STATUS.key, fields.SUCCESS.key)
"""What each event of ours has, and no other span."""


class Group(NamedTuple):
    """Statements for the spans of which one of the conditions is true."""

    conditions: tuple[str, ...]
    statements: tuple[str, ...]


@dataclass(frozen=True)
class Lists:
    """One list per place in the template, under the place's name."""

    dialects: Sequence[Dialect] = DIALECTS
    max_tags: int = fields.MAX_TAGS

    @property
    def _foreign(self) -> tuple[Kept, ...]:
        return (*keys.kept_keys(self.dialects), reductions.exception(keys.EXCEPTION_TYPE))

    @property
    def exact(self) -> list[str]:
        """Every key that may leave, but for the tags'."""
        names = (kept.key for kept in (*self._foreign, *keys.event_keys()))
        return sorted({*names, *keys.ATTRIBUTION})

    @property
    def _families(self) -> Families:
        return Families(self.dialects)

    def recognise_events(self) -> list[str]:
        """The statement that marks the events of our own."""
        is_event = (f"{at(SPAN, key)} != nil" for key in _OWN)
        return [put("span.name", text(_NO_CALL)), put("span.name", text(EVENT), *is_event)]

    def told(self) -> list[str]:
        """Statements that note on a scope which dialects it tells: once for all its spans."""
        return [
            put(_told(number), "true", f"IsMatch(scope.name, {text(scopes.of_dialect(dialect))})")
            for number, dialect in enumerate(self.dialects)
            if dialect.scopes
        ]

    def recognise(self) -> list[str]:
        """Statements that mark the billed calls of others; the first dialect that recognises a span decides."""
        statements = [put(_NAME, "span.name"), put("span.name", text(_NO_CALL))]
        for number, (dialect, mark) in enumerate(zip(self.dialects, self._families.marks, strict=True)):
            found = f"{_RECOGNISED} {number}"
            free = f"span.name == {text(_NO_CALL)}"
            statements.append(put("span.name", text(found), free, _recognised(dialect, _told(number))))
            statements.append(put("span.name", text(mark), f"span.name == {text(found)}", _billed(dialect)))
        return statements

    def unmarked(self) -> list[str]:
        """The condition of spans that are no billed call."""
        marks = one_of({*self._families.marks, EVENT})
        return [f"not IsMatch(span.name, {text(marks)})"]

    @property
    def _json_texts(self) -> dict[str, tuple[tuple[str, ...], ...]]:
        return keys.json_paths(self.dialects)

    def exact_keys(self) -> list[str]:
        """The statement that keeps the keys that may leave, and the texts that are taken apart; tags aside."""
        names = sorted({*self.exact, *self._json_texts})
        return [f"keep_keys({SPAN}, [{', '.join(map(text, names))}])"]

    def resource_keys(self) -> list[str]:
        """The statement that keeps what a resource may say: the attribution of a whole service."""
        exact = one_of(keys.ATTRIBUTION).removeprefix("^(?:").removesuffix(")$")
        pattern = f"^(?:{exact}|{_TAG_KEY.removeprefix('^').removesuffix('$')})$"
        return [f"keep_matching_keys({RESOURCE}, {text(pattern)})"]

    def collect_tags(self) -> list[str]:
        """Statements that put the span's tags into the cache, and those of its resource that it has not itself."""
        on_resource = f"IsMatch(Keys({RESOURCE}), {text('infraprism[.]tags[.]')})"
        return [
            f'merge_maps({CLEAN}, {SPAN}, "insert") where {_HAS_TAGS}',
            f'merge_maps({CLEAN}, {RESOURCE}, "insert") where {on_resource} and {_IS_NO_EVENT}',
            f"keep_matching_keys({CLEAN}, {text(_TAG_KEY)})",
        ]

    def check_tags(self) -> list[str]:
        """Statements that take the tags off and put back, in the order of their keys, those whose value fits."""
        statements = [
            f'merge_maps({CLEAN}, {SPAN}, "insert")',
            f"keep_matching_keys({CLEAN}, {text(_TAG_KEY)})",
            f"delete_matching_keys({SPAN}, {text('^infraprism[.]tags[.]')})",
            put(_TAG_NAMES, f"Sort(Keys({CLEAN}))"),
        ]
        for slot in range(self.max_tags):
            name = f"{_TAG_NAMES}[{slot}]"
            there = f"Len({_TAG_NAMES}) > {slot}"
            value = f"{CLEAN}[{name}]"
            statements.append(put(f"{SPAN}[{name}]", f"String({value})", there, _identifier(value, TAGS)))
        return [*statements, f"delete_key({SPAN}, {text(_NAMES)})"]

    def keep_tags(self) -> list[str]:
        """Statements that start the cleaned span with the tags that were checked."""
        return [
            f'merge_maps({CLEAN}, {SPAN}, "insert") where {_HAS_TAGS}',
            f"keep_matching_keys({CLEAN}, {text(_TAG_KEY)})",
        ]

    def attribution(self) -> list[str]:
        """Statements that copy who the call is for: what the span says, else its resource; an entity as a whole."""
        statements = []
        for where in (SPAN, RESOURCE):
            kind, entity, session = (at(where, key) for key in keys.ATTRIBUTION)
            free = f"{at(CLEAN, ENTITY_ID.key)} == nil"
            kinds = matches(kind, ENTITY_TYPE.re2)
            whole = (free, kinds, _identifier(entity, ENTITY_ID))
            statements.append(put(at(CLEAN, ENTITY_TYPE.key), kind, *whole))
            statements.append(put(at(CLEAN, ENTITY_ID.key), f"String({entity})", *whole))
            said = f"{at(CLEAN, SESSION_ID.key)} == nil", _identifier(session, SESSION_ID)
            statements.append(put(at(CLEAN, SESSION_ID.key), f"String({session})", *said))
        return statements

    def families(self) -> list[Group]:
        """For each family the mark of its spans, and the statements that copy its keys."""
        return [
            Group(
                (f"span.name == {text(mark)}",),
                (*self._taken_apart(own), *_copies(k for k in self._foreign if k.key in own), put(_KEPT, CLEAN)),
            )
            for mark, own in self._families.keys.items()
            if own
        ]

    def _taken_apart(self, texts: Iterable[str]) -> Iterator[str]:
        """Statements that make attributes of the counts in JSON texts."""
        for key, paths in self._json_texts.items():
            if key in texts:
                yield from json_counts.statements(key, paths)

    def json_texts(self) -> list[Group]:
        """The JSON texts of no family, each with its condition and the statements that take it apart."""
        shared = self._json_texts.keys() - self._families.special
        return [Group((f"IsString({at(SPAN, key)})",), tuple(self._taken_apart([key]))) for key in sorted(shared)]

    def keep_family(self) -> list[str]:
        """The statement that adds what was kept of the family's keys."""
        return [f'merge_maps({CLEAN}, {_KEPT}, "insert") where IsMap({_KEPT})']

    def copy_shared(self) -> list[str]:
        """Statements that copy the keys that all dialects share."""
        special = self._families.special
        return list(_copies(kept for kept in self._foreign if kept.key not in special))

    def copy_event(self) -> list[str]:
        """Statements that copy the fields of an event of our own."""
        return [statement for kept in keys.event_keys() for statement in kept.copies]

    def has_tags(self) -> list[str]:
        """Whether a span has tags."""
        return [_HAS_TAGS]

    def is_event(self) -> list[str]:
        """Whether a span is an event of our own."""
        return [_IS_EVENT]

    def is_no_event(self) -> list[str]:
        """Whether a span is anybody else's."""
        return [_IS_NO_EVENT]

    def event_name(self) -> list[str]:
        """The statement that names an event as its fields say."""
        return [put("span.name", _EVENT_NAME)]

    def failed(self) -> list[str]:
        """Whether a span has a status message that may tell a code."""
        return ['span.status.code == STATUS_CODE_ERROR and span.status.message != ""']

    def status(self) -> list[str]:
        """Statements that make a code of a status message."""
        return list(reductions.status_text())

    def no_status(self) -> list[str]:
        """The statement that takes every other status message away."""
        return [put("span.status.message", '""', f"not IsMatch(span.status.message, {text(reductions.STATUS_TEXT)})")]

    def exceptions(self) -> list[str]:
        """Statements that note on its span the class of a recorded exception, and the failure that only that tells."""
        fails = sorted(f"{at(SPAN, marker)} != nil" for marker in keys.exception_fails(self.dialects))
        failed = [
            put("span.status.code", "STATUS_CODE_ERROR", 'spanevent.name == "exception"', is_of) for is_of in fails
        ]
        return [*failed, *reductions.exception_type(at(SPAN, keys.EXCEPTION_TYPE))]

    def first_chunks(self) -> list[str]:
        """Statements that note on its span, under the conventions' keys, that and when a stream began."""
        found = []
        for marker, names in sorted(keys.first_chunk_events(self.dialects).items()):
            is_first = (f"{at(SPAN, marker)} != nil", matches("spanevent.name", one_of(names)))
            passed = "(spanevent.time_unix_nano - span.start_time_unix_nano) / 1000000000.0"
            in_order = "spanevent.time_unix_nano >= span.start_time_unix_nano"
            found.append(
                put(at(SPAN, keys.FIRST_CHUNK), passed, *is_first, f"{at(SPAN, keys.FIRST_CHUNK)} == nil", in_order)
            )
            found.append(put(at(SPAN, keys.STREAMED), "true", *is_first))
        return found

    def usage_events(self) -> list[str]:
        """Statements that note on its span the counts in an event that is for them."""
        return list(reductions.usage_event())

    def scope_names(self) -> list[str]:
        """Statements that leave of a scope's name and version what is known."""
        kept = 'scope.cache["name"]'
        versions = f"{_IS_EVENT} and IsMatch(scope.version, {text(scopes.VERSION)})"
        return [
            put("scope.version", '""', f"not ({versions})"),
            put(kept, "scope.name", f"IsMatch(scope.name, {text(scopes.pattern(self.dialects))})"),
            *(
                put(kept, text(start), f"{kept} == nil", f"IsMatch(scope.name, {text('^' + re.escape(start))})")
                for start in scopes.starts(self.dialects)
            ),
            put(kept, "SHA256(scope.name)", f"{kept} == nil"),
            put("scope.name", kept),
        ]

    def check_marks(self) -> list[str]:
        """The statement that refuses spans without a mark, and those with an attribute that stands twice."""
        marks = one_of(self._families.marks)
        return [
            _refuse(_IS_NO_EVENT, f"not IsMatch(span.name, {text(marks)})"),
            f'merge_maps({CLEAN}, {SPAN}, "insert")',
            _refuse(f"Len({CLEAN}) != Len({SPAN})"),
        ]

    def checks(self) -> list[Group]:
        """For the events of our own and for each mark the statements that refuse what does not fit."""
        families, events = self._families, keys.event_keys()
        groups = [Group((_IS_EVENT,), (*_known(kept.key for kept in events), *_refusals(events)))]
        for mark, own in families.keys.items():
            may = (kept.key for kept in self._foreign if kept.key in own or kept.key not in families.special)
            refusals = _refusals(kept for kept in self._foreign if kept.key in own)
            groups.append(Group((f"{_IS_NO_EVENT} and span.name == {text(mark)}",), (*_known(may), *refusals)))
        attribution = [kept for kept in events if kept.key in keys.ATTRIBUTION]
        shared = [kept for kept in self._foreign if kept.key not in families.special]
        groups.append(Group((_IS_NO_EVENT,), tuple(_refusals([*attribution, *shared]))))
        groups.append(Group((_HAS_TAGS,), tuple(self._tag_refusals())))
        return groups

    def _tag_refusals(self) -> Iterator[str]:
        """Statements that refuse spans with a tag which does not fit, place by place, or one too many."""
        tags = at(CLEAN, _TAGS)
        yield put(tags, SPAN)
        yield f"keep_matching_keys({tags}, {text('^infraprism[.]tags[.]')})"
        yield _refuse(f"Len({tags}) > {self.max_tags}")
        for place in range(self.max_tags):
            fits = printable(f"{tags}[Keys({tags})[{place}]]", TAGS)
            yield _refuse(f"Len({tags}) > {place}", f"not ({fits})")

    def passed(self) -> list[str]:
        """The statement that names what passed."""
        return [put("span.name", text(SPAN_NAME), _IS_NO_EVENT, f"span.name != {text(_REFUSED)}")]

    def gate_names(self) -> list[str]:
        """The conditions of spans whose name is not the one they must have, as that of those that were refused."""
        return [f"{_IS_EVENT} and span.name != {_EVENT_NAME}", f"{_IS_NO_EVENT} and span.name != {text(SPAN_NAME)}"]

    def gate_status(self) -> list[str]:
        """The condition of spans whose status message says more than a code."""
        return [f"not IsMatch(span.status.message, {text(reductions.STATUS_TEXT)})"]

    def gate_scopes(self) -> list[str]:
        """Conditions of spans whose scope says more than its known name."""
        return [
            f"not IsMatch(scope.name, {text(scopes.pattern(self.dialects))})",
            f'scope.version != "" and not ({_IS_EVENT} and IsMatch(scope.version, {text(scopes.VERSION)}))',
        ]


def _told(number: int) -> str:
    return f'scope.attributes["{number}"]'


def _recognised(dialect: Dialect, noted: str) -> str:
    """Whether a span is of the dialect: by a marker where the scope tells it, or none has to; else by a sign."""
    marked = _any_key(dialect.required_any)
    if not dialect.has_scope_or_sign():
        return marked
    if not dialect.scopes:
        return _any_key(dialect.exclusive_keys)
    ways = [f"({noted} != nil and {marked})"]
    if dialect.exclusive_keys:
        ways.append(f"({noted} == nil and {_any_key(dialect.exclusive_keys)})")
    return any_of(*ways)


def _any_key(names: Iterable[str]) -> str:
    """Whether the span has one of the keys."""
    return any_of(*(f"{at(SPAN, key)} != nil" for key in sorted(names)))


def _billed(dialect: Dialect) -> str:
    """Whether the operation that the span names is a billed call of the dialect, or may be left unnamed."""
    named = [at(SPAN, key) for key in keys.keys_of("operation", dialect)]
    unnamed = [f'(not IsString({value}) or {value} == "")' for value in named]
    # The best key that has a text decides, even if the next one names a call.
    calls = [all_of(*unnamed[:place], matches(value, one_of(dialect.operations))) for place, value in enumerate(named)]
    if dialect.unnamed_operation is not None and dialect.required_any_but_operation:
        calls.append(all_of(*unnamed, _any_key(dialect.required_any_but_operation)))
    billed = any_of(*(f"({call})" for call in calls))
    # The names do not leave, so that nobody after the collector could tell by them.
    excluded_span_names = [one_of(dialect.excluded_span_names)] if dialect.excluded_span_names else []
    excluded_span_names += [f"^(?s).*{re.escape(end)}$" for end in dialect.excluded_span_name_suffixes]
    excluded_span_names += [f"^{re.escape(beginning)}" for beginning in dialect.excluded_span_name_prefixes]
    asks = [f"{at(SPAN, key)} != {text(nothing)}" for key, nothing in dialect.excluded_texts.items()]
    named = [f"not ({matches(_NAME, '|'.join(excluded_span_names))})"] if excluded_span_names else []
    return all_of(*named, *asks, billed)


def _identifier(value: str, field: Field) -> str:
    """Whether a value is an identifier: a text of the field's, or a whole number, which becomes text."""
    return any_of(f"IsInt({value})", f"({printable(value, field)})")


def _copies(kept: Iterable[Kept]) -> Iterator[str]:
    """Statements that copy keys; counts are made texts first, in a map of their own, so that one pattern is enough."""
    found = tuple(kept)
    counts = [one.key for one in found if one.is_count]
    if counts:
        yield put(COUNTS, SPAN)
        yield f"keep_keys({COUNTS}, [{', '.join(map(text, counts))}])"
        yield f"stringify_all({COUNTS})"
    for one in found:
        yield from one.copies
    if counts:
        yield f"delete_key({CLEAN}, {text(COUNTS_KEY)})"


def _refuse(*conditions: str) -> str:
    return put("span.name", text(_REFUSED), *conditions)


def _refusals(kept: Iterable[Kept]) -> Iterator[str]:
    found = tuple(kept)
    counts = [one.key for one in found if one.is_plain_count]
    if counts:
        yield put(COUNTS, SPAN)
        yield f"keep_keys({COUNTS}, [{', '.join(map(text, counts))}])"
        yield _refuse(f"not IsMatch(Values({COUNTS}), {text(ALL_COUNTS)})")
    for one in found:
        if not one.is_plain_count:
            yield _refuse(one.gate)


def _known(names: Iterable[str]) -> Iterator[str]:
    """Statements that refuse a span with a key that is neither one of these nor a tag's nor of the attribution."""
    known, tags = at(CLEAN, "known"), at(CLEAN, _TAGS)
    yield put(known, SPAN)
    yield f"keep_keys({known}, [{', '.join(map(text, sorted({*names, *keys.ATTRIBUTION})))}])"
    yield put(tags, SPAN)
    yield f"keep_matching_keys({tags}, {text(_TAG_KEY)})"
    yield _refuse(f"Len({known}) + Len({tags}) != Len({SPAN})")
