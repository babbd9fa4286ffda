"""The lists of statements and conditions that the template of the configuration has places for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from collector.generator import json_counts, keys, reductions, scopes
from collector.generator.guards import Kept, one_of, printable
from collector.generator.ottl import CLEAN, RESOURCE, SPAN, all_of, any_of, at, matches, put, text

from infraprism.processor.dialects import DIALECTS
from infraprism.processor.dialects.table import Dialect
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
_OWN: Final = (fields.COST_STATUS.key, fields.SUCCESS.key)
"""What each event of ours has, and no other span."""


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

    def no_call(self) -> list[str]:
        """The condition of spans that are no billed call; the first dialect that recognises them decides."""
        is_call = "false"
        for dialect in reversed(self.dialects):
            recognised = _recognised(dialect)
            is_call = any_of(f"({recognised} and {_billed(dialect)})", f"(not {recognised} and {is_call})")
        is_event = all_of(_IS_EVENT, *(f"{at(SPAN, key)} != nil" for key in _OWN))
        return ["not " + any_of(f"({is_event})", f"({_IS_NO_EVENT} and {is_call})")]

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

    def copy_foreign(self) -> list[str]:
        """Statements that copy the dialects' keys."""
        return [statement for kept in self._foreign for statement in kept.copies]

    def copy_event(self) -> list[str]:
        """Statements that copy the fields of an event of our own."""
        return [statement for kept in keys.event_keys() for statement in kept.copies]

    def has_tags(self) -> list[str]:
        """Whether a span has tags."""
        return [_HAS_TAGS]

    def json_texts(self) -> list[tuple[str, list[str]]]:
        """For each JSON text with counts a condition, and the statements that take it apart."""
        return [
            group
            for key, paths in self._json_texts.items()
            for group in (
                (json_counts.plain_condition(key), list(json_counts.plain_statements(key))),
                (json_counts.condition(key, paths), list(json_counts.statements(key, paths))),
            )
        ]

    def is_event(self) -> list[str]:
        """Whether a span is an event of our own."""
        return [_IS_EVENT]

    def is_no_event(self) -> list[str]:
        """Whether a span is anybody else's."""
        return [_IS_NO_EVENT]

    def event_name(self) -> list[str]:
        """The statement that names an event as its fields say."""
        return [put("span.name", _EVENT_NAME)]

    def span_name(self) -> list[str]:
        """The statement that names any other span."""
        return [put("span.name", text(SPAN_NAME))]

    def status(self) -> list[str]:
        """Statements that clean the status message."""
        return list(reductions.status_text())

    def exceptions(self) -> list[str]:
        """Statements that note on its span the class of a recorded exception."""
        return list(reductions.exception_type(at(SPAN, keys.EXCEPTION_TYPE)))

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

    def gate_keys(self) -> list[str]:
        """Conditions of spans that have a key which may not leave, or not from this scope."""
        tags = _TAG_KEY.removeprefix("^").removesuffix("$")
        own = sorted({*(kept.key for kept in keys.event_keys()), *keys.ATTRIBUTION})
        foreign = sorted({*(kept.key for kept in self._foreign), *keys.ATTRIBUTION})
        return [
            f"{scope} and not IsMatch(Keys({SPAN}), {text(_key_list(names, tags))})"
            for scope, names in ((_IS_EVENT, own), (_IS_NO_EVENT, foreign))
        ]

    def gate_values(self) -> list[str]:
        """Conditions of spans that have a value which does not fit its key."""
        every = {kept.key: kept for kept in (*self._foreign, *keys.event_keys())}
        return [every[key].gate for key in sorted(every)]

    def gate_tags(self) -> list[str]:
        """The condition of spans that have a tag which does not fit, place by place, or one too many.

        The tags stand before all other keys: another condition says so.
        """
        bad = []
        for place in range(self.max_tags + 1):
            name = f"Keys({SPAN})[{place}]"
            is_tag = f"Len({SPAN}) > {place} and IsMatch({name}, {text('^infraprism[.]tags[.]')})"
            fits = printable(f"{SPAN}[{name}]", TAGS)
            bad.append(f"({is_tag} and not ({fits}))" if place < self.max_tags else f"({is_tag})")
        # One condition, so that spans without tags are looked at once and not once for each place.
        return [f"{_HAS_TAGS} and {any_of(*bad)}"]

    def gate_names(self) -> list[str]:
        """The condition of spans whose name is not the one they must have."""
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


def _recognised(dialect: Dialect) -> str:
    """Whether a span is of the dialect: by a marker where the scope tells it, or none has to; else by a sign."""
    marked = _any_key(dialect.markers)
    if not dialect.has_scope_or_sign():
        return marked
    if not dialect.scopes:
        return _any_key(dialect.signs)
    told = f"IsMatch(scope.name, {text(scopes.of_dialect(dialect))})"
    ways = [f"({told} and {marked})"]
    if dialect.signs:
        ways.append(f"(not {told} and {_any_key(dialect.signs)})")
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
    if dialect.unnamed_operation is not None and dialect.other_markers:
        calls.append(all_of(*unnamed, _any_key(dialect.other_markers)))
    billed = any_of(*(f"({call})" for call in calls))
    # The names do not leave, so that nobody after the collector could tell by them.
    return all_of(f"not ({matches('span.name', one_of(dialect.no_calls))})", billed) if dialect.no_calls else billed


def _identifier(value: str, field: Field) -> str:
    """Whether a value is an identifier: a text of the field's, or a whole number, which becomes text."""
    return any_of(f"IsInt({value})", f"({printable(value, field)})")


def _key_list(names: Sequence[str], tags: str) -> str:
    """The pattern of a JSON list of tags' keys, and of these keys behind them."""
    exact = one_of(names).removeprefix("^(?:").removesuffix(")$")
    return rf'^\[(?:"{tags}",?)*(?:"(?:{exact})",?)*\]$'
