"""Statements of the allow-list: one block per kind of value, with all its keys and the one pattern of its values.

A block copies the attributes of its keys, writes MARK before each value that passes the guard, replaces every other
value, and adds the result to the cleaned attributes. At the end each text without MARK is removed once more, and MARK
is taken away. So no single statement decides alone whether a text is forwarded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from collector.generator import messages, scopes
from collector.generator.messages import Step
from collector.generator.ottl import SPAN, at, cache, keep, matches, put, replace_values, text, when
from collector.generator.recognised import LAST_EXCEPTION

from infraprism.dialects import guards, values
from infraprism.dialects.guards import GUARDS, Guard, guards_of, one_of
from infraprism.dialects.table import Dialect
from infraprism.providers import error_messages, error_names, regions
from infraprism.schema import fields, wire

MARK: Final = "#"
SPAN_NAME: Final = "llm_call"
CANDIDATE: Final = "candidate"
"""The name of a span that has passed no allow-list yet."""
TAG_KEY: Final = f"^infraprism[.]tags[.]{fields.TAG_KEY.pattern}$"
ATTRIBUTION: Final = (fields.ENTITY_TYPE.key, fields.ENTITY_ID.key, fields.SESSION_ID.key)
_ATTRIBUTION_KEY: Final = f"^(?:{'|'.join(map(re.escape, ATTRIBUTION))}|{TAG_KEY[1:-1]})$"
_ATTRIBUTION_PREFIX: Final = "^infraprism[.](?:entity_|session_id|tags[.])"
"""The keys of attribution, before tag keys are folded and checked."""
_UPPER_TAG_KEY: Final = f"^({re.escape(fields.TAG_PREFIX)}.*[A-Z].*)$"
_HAS_UPPER_TAG_KEY: Final = f'"{re.escape(fields.TAG_PREFIX)}[^"]*[A-Z]'
_IS_EVENT: Final = f'scope.name == "{wire.SCOPE_NAME}"'
_IS_NO_EVENT: Final = f'scope.name != "{wire.SCOPE_NAME}"'
_CLEAN: Final = cache("clean")
_NUMBERS: Final = cache("numbers")
_BLOCK: Final = cache("block")
_DIGITS: Final = cache("text")
_TAGS: Final = cache("tags")
_NAME: Final = "[A-Za-z0-9_@~/][A-Za-z0-9._:/@~#+-]{0,127}"
_UNMARKED: Final = f"(?s)^[^{MARK}].*$"
_STRINGIFY: Final = f"stringify_all({_BLOCK})"
_MARKED: Final = f"{MARK}$1"
_CODE: Final = Guard("code", fields.ERROR_CODE.pattern)
_TITLES: Final = {
    "operation": "What was called: a billed operation of the tables, or `no_call`.",
    "provider": "Who was called: a known provider, or `other`.",
    "host": "The server: the domain of a known provider, with the region where that changes the price, or `other`.",
    "tier": "The service tier and other modifiers of the price: a known one, or `unknown`.",
    "usage_parts": "Counts by model, of calls that several models served.",
    "word": "Constant words of instrumentations.",
    "error": "Errors that were marked above, or `_OTHER`.",
    "error_text": "Messages that were marked above.",
    "fingerprint": "Ids of responses: their SHA-256, so that two spans of one call can be matched.",
    "code": "The error code of an event of InfraPrism's own exporters.",
    "model": "Names of models: letters, digits and `._:/@+-`, at most 128.",
    "count": "Counts: whole numbers.",
    "number": "Durations, amounts of money, true or false.",
}


def event_guards(dialects: Sequence[Dialect]) -> dict[str, Guard]:
    """The guards of the fields of InfraPrism's own events, tags and attribution aside."""
    by_name = {"model": guards.MODEL, "provider": guards.PROVIDER, "service_tier": guards.TIER, "error_code": _CODE}
    by_name |= {"operation": guards.operation_guard(dialects), "total_tokens": guards.NUMBER}
    by_kind = {
        "int": guards.COUNT,
        "decimal": guards.NUMBER,
        "bool": guards.NUMBER,
        "string": guards.word_guard(dialects),
    }
    return {
        field.key: by_name.get(field.name) or by_kind[field.kind]
        for field in fields.FIELDS
        if field.kind != "tags" and field.key not in ATTRIBUTION
    }


class Allowed:
    """The allow-list of some dialects, as statements and lists for the template."""

    def __init__(self, dialects: Sequence[Dialect]) -> None:
        self._dialects = dialects
        self._guards = {**event_guards(dialects), **guards_of(dialects)}
        self.by_kind: dict[str, list[str]] = {}
        for key, guard in sorted(self._guards.items()):
            self.by_kind.setdefault(guard.kind, []).append(key)
        self._streams = sorted(
            key for d in dialects for key, slot in d.slots.items() if slot.reader is values.is_stream_object
        )

    @property
    def keys(self) -> list[str]:
        """Every key that may be forwarded, tags aside."""
        return sorted(self._guards)

    def places(self) -> dict[str, Sequence[str]]:
        """What belongs in the places of the template."""
        entity_type = at(SPAN, fields.ENTITY_TYPE.key)
        return {
            "attribution": list(_printable("resource.attributes")),
            "failed": [f"{at(SPAN, key)} != nil" for key in self._error_keys()],
            "errors": list(self._errors()),
            "allowed": list(self._allowed()),
            "scope_names": list(self._scope_names()),
            "allowed_keys": self.keys,
            "tag_key": [_ATTRIBUTION_KEY],
            "allowed_values": [
                "^(?:[A-Za-z0-9_@~/][A-Za-z0-9._:/@~#+-]*)?$",
                f"^(?:{'|'.join(self._free_texts())})$",
                messages.REDUCED,
            ],
            "gate": [
                f"not IsMatch(span.status.message, {text(messages.REDUCED)})",
                'not IsMatch(scope.name, "^[A-Za-z0-9@._/-]{0,128}$")',
                f'scope.version != "" and not ({_IS_EVENT} and IsMatch(scope.version, {text(scopes.VERSION)}))',
                f"{entity_type} != nil and not IsMatch({entity_type}, {text(f'^(?:{guards.ENTITY_TYPE.pattern})$')})",
                f"{_IS_NO_EVENT} and ({at(SPAN, fields.MODEL.key)} != nil or {at(SPAN, fields.ERROR_CODE.key)} != nil)",
                f"{_IS_EVENT} and span.name != {_EVENT_NAME}",
                f"{_IS_NO_EVENT} and span.name != {text(SPAN_NAME)}",
            ],
        }

    def _error_keys(self) -> list[str]:
        return [*self.by_kind["error"], *self.by_kind.get("error_text", ())]

    def _free_texts(self) -> list[str]:
        """Patterns of the constant words that have other characters than names have."""
        words = guards.operations(self._dialects) | guards.constant_words(self._dialects)
        return [re.escape(word) for word in sorted(words) if not re.fullmatch(_NAME, word)]

    def _allowed(self) -> Iterator[str]:
        own = one_of(key.removeprefix(fields.PREFIX) for key in event_guards(self._dialects) if key not in GUARDS)
        yield "# Of a span of InfraPrism's own exporters its fields; of every other span no such field."
        yield when(f'keep_matching_keys({SPAN}, "^infraprism[.]")', _IS_EVENT)
        yield when(f"delete_matching_keys({SPAN}, {text(f'^infraprism[.](?:{own})$')})", _IS_NO_EVENT)
        yield put(_CLEAN, 'ParseJSON("{}")')
        yield put(_NUMBERS, 'ParseJSON("{}")')
        yield "# Keys that only have to be present."
        yield from self._block("presence", [_STRINGIFY, ("(?s)^.*$", f"{MARK}{guards.PRESENT}")], self._present())
        if self._streams:
            yield "# A stream that Python printed in place of the answer: that it is one."
            steps: list[Step] = [
                (values.STREAM_OBJECT, f"{MARK}true"),
                _STRINGIFY,
                ("^true$", f"{MARK}true"),
                (_UNMARKED, ""),
            ]
            yield from self._block("streams", steps, self._streams)
        for kind, title in _TITLES.items():
            keys = self.by_kind.get(kind)
            if not keys:
                continue
            if kind == "model":
                yield from self._attribution()
            yield f"# {title}"
            guard = self._guards[keys[0]]
            if guard.numbers or guard.flags:
                yield from self._numbers(guard, keys)
                continue
            yield from self._block(kind, self._steps(guard), keys)
        yield from self._last_checks()

    def _present(self) -> list[str]:
        return [key for key in self.by_kind.get("presence", ()) if key not in self._streams]

    def _block(self, kind: str, steps: Iterable[Step], keys: Sequence[str], target: str = _CLEAN) -> Iterator[str]:
        yield put(_BLOCK, SPAN)
        yield keep(_BLOCK, keys)
        for step in steps:
            yield step if isinstance(step, str) else replace_values(_BLOCK, *step)
        if kind == "operation":
            yield put("span.name", text(guards.NO_CALL), f"IsMatch(Values({_BLOCK}), {text(_ONLY_NO_CALL)})")
        yield f'merge_maps({target}, {_BLOCK}, "{"upsert" if target == SPAN else "insert"}")'

    def _steps(self, guard: Guard) -> Iterator[Step]:
        """How the values of a block are reduced and marked; what is not marked is replaced."""
        match guard.kind:
            case "provider":
                yield rf'(?s)^\s*"?([^{MARK}\s"].*?)"?\s*$', "$1"
                yield f"(?s)^({guard.pattern})(?:[./].*)?$", _MARKED
            case "host":
                yield rf"(?s)^\s*(?:.*://)?(?:[^/]*@)?([^/:@{MARK}]*).*$", "$1"
                yield from ((f"(?i)^(?:{of})[.]*$", MARK + host) for of, host in regions.closed_forms())
                yield f"^(?:[^.{MARK}]*[.])*?({guard.pattern})[.]*$", _MARKED
            case "fingerprint":
                yield f"^({guard.pattern})$", _MARKED
                hashed = f'replace_all_patterns({_BLOCK}, "value", "(?s)^([^{MARK}].*)$", "$1", SHA256, "{MARK}%s")'
                yield hashed
            case "word":
                yield _STRINGIFY
                yield rf'^\["({values.ERROR_END})"\]$', "$1"
                yield f"^({guard.pattern})$", _MARKED
            case "model":
                yield f'^"([^{MARK}].*)"$', "$1"
                yield f"^({guard.pattern})$", _MARKED
            case "operation":
                yield f"^({guard.pattern})$", _MARKED
                yield _UNMARKED, MARK + guards.NO_CALL
                yield _STRINGIFY
                yield r"(?s)^[\[{].*$", MARK + guards.NO_CALL
                return
            case "error" | "error_text":
                pass
            case _:
                yield f"^({guard.pattern})$", _MARKED
        if guard.otherwise:
            yield _UNMARKED, MARK + guard.otherwise

    def _errors(self) -> Iterator[str]:
        """Reduce and mark errors and messages, in place."""
        ends = one_of(end for end, _ in error_names.CLASSES)
        class_name = f"(?is)^(?:[^{MARK}].*[.])?[^.{MARK}]*?({ends}){error_names.CLASS_ENDING}"
        class_end = f"${{1}}{error_messages.CLASS_SUFFIX}"
        texts = self.by_kind.get("error_text", [])
        steps: list[Step] = [
            *messages.names_in(_BLOCK),
            (f"^({guards.ERROR_CODE})$", _MARKED),
            *messages.code(_BLOCK),
            ("^([^#_]*)_([^_]*)_?([^_]*)_?([^_]*)_?([^_]*)_?([^_]*)$", "$1$2$3$4$5$6"),
            f'replace_all_patterns({_BLOCK}, "value", {text(class_name)}, {text(class_end)}, ToLowerCase, "{MARK}%s")',
            *messages.names(_BLOCK),
            (_UNMARKED, MARK + guards.OTHER_ERROR),
        ]
        keys = [*self.by_kind["error"], LAST_EXCEPTION]
        yield "# Names of errors: a status, a provider's code, the end of a class name, or `_OTHER`."
        yield from messages.chosen(texts)
        yield from self._block("error", steps, keys, SPAN)
        yield "# Messages: the HTTP status in them."
        yield from self._block(
            "error_text", [*messages.status_in(_BLOCK), *messages.reduced(_BLOCK, texts)], texts, SPAN
        )

    def _numbers(self, guard: Guard, keys: Sequence[str]) -> Iterator[str]:
        """Numbers keep their type, if all of a block pass; else those that pass become texts of digits."""
        digits = f"not IsMatch(Values({_DIGITS}), {text(_list_of(guard.pattern))})"
        steps: list[Step] = [
            put(_DIGITS, _BLOCK),
            f"stringify_all({_DIGITS})",
            when(_STRINGIFY, digits),
            (f"^({guard.pattern})$", _MARKED),
            (_UNMARKED, ""),
            (f"^{MARK}", ""),
        ]
        yield from self._block(guard.kind, steps, keys, _NUMBERS)

    def _attribution(self) -> Iterator[str]:
        yield "# Attribution: your own text, printable and on one line; the span's goes before its resource's."
        yield put(_BLOCK, SPAN)
        yield from _printable(_BLOCK)
        yield when(f'merge_maps({_BLOCK}, resource.attributes, "insert")', _IS_NO_EVENT)
        yield from _limited_tags()
        yield f'merge_maps({_CLEAN}, {_BLOCK}, "insert")'

    def _last_checks(self) -> Iterator[str]:
        yield "# Everything else is text, and a text without the mark is removed. Twice: no step decides alone."
        for _ in range(2):
            yield f"stringify_all({_CLEAN})"
            yield replace_values(_CLEAN, _UNMARKED, "")
        yield replace_values(_CLEAN, f"^{MARK}", "")
        yield put("span.status.message", '""', f"not IsMatch(span.status.message, {text(messages.REDUCED)})")
        yield "# Once more: a number is digits, true or false, and nothing else."
        yield put(_DIGITS, _NUMBERS)
        yield replace_values(_DIGITS, "^$", "0")
        yield f"stringify_all({_DIGITS})"
        yield put(
            _NUMBERS, 'ParseJSON("{}")', f"not IsMatch(Values({_DIGITS}), {text(_list_of(guards.NUMBER.pattern))})"
        )
        yield f'merge_maps({_CLEAN}, {_NUMBERS}, "upsert")'
        yield f'delete_matching_keys({SPAN}, "")'
        yield put(SPAN, _CLEAN)
        yield "# Only a span that came this far has the name that the gate lets pass."
        yield put("span.name", text(SPAN_NAME), f"span.name == {text(CANDIDATE)}")
        is_named = (f"IsString({at(SPAN, field.key)})" for field in (fields.OPERATION, fields.MODEL))
        yield put("span.name", _EVENT_NAME, _IS_EVENT, *is_named)

    def _scope_names(self) -> Iterator[str]:
        versions = f"{_IS_EVENT} and IsMatch(scope.version, {text(scopes.VERSION)})"
        yield put("scope.version", '""', f"not ({versions})")
        prefixes = scopes.starts(self._dialects)
        unmarked = f'not IsMatch(scope.name, "^{MARK}")'
        yield f'replace_pattern(scope.name, "^{MARK}+", "")'
        yield f"replace_pattern(scope.name, {text(f'^({scopes.pattern(self._dialects)})$')}, {text(_MARKED)})"
        if prefixes:
            yield f"replace_pattern(scope.name, {text(f'(?s)^({prefixes}).*$')}, {text(_MARKED)})"
        yield put("scope.name", f'Concat(["{MARK}", SHA256(scope.name)], "")', unmarked)
        yield put("scope.name", '""', unmarked)
        yield f'replace_pattern(scope.name, "^{MARK}", "")'


_EVENT_NAME: Final = f'Concat([{at(SPAN, fields.OPERATION.key)}, {at(SPAN, fields.MODEL.key)}], " ")'
_ONLY_NO_CALL: Final = rf'^\[(?:"{MARK}{guards.NO_CALL}",?)+\]$'


def _list_of(pattern: str) -> str:
    """The pattern of a JSON list of texts that match; a nested value that is no JSON becomes an empty text."""
    return rf'^\[(?:"(?:{pattern})",?)*\]$'


def _printable(where: str) -> Iterator[str]:
    """Statements that keep an attribution: each value marked if it is printable, an entity only with its type."""
    found = re.fullmatch(r"\^\(\?:\[\^(.*)\]\{(\d+),(\d+)\}\)\$", fields.TAGS.re2)
    assert found, "the pattern of tags is no longer one of excluded characters"
    excluded, _, longest = found.groups()
    kind, entity = (at(where, field.key) for field in (fields.ENTITY_TYPE, fields.ENTITY_ID))
    is_kind = matches(kind, f"^{MARK}(?:{guards.ENTITY_TYPE.pattern})$")
    is_entity = f"{is_kind} and {matches(entity, f'^{MARK}[^{guards.UNPRINTABLE}]')}"
    # Replacing keys drops the first value of a duplicate key, so only where there is an upper-case key.
    folded = f'replace_all_patterns({where}, "key", {text(_UPPER_TAG_KEY)}, "$1", ToLowerCase, "%s")'
    yield f"keep_matching_keys({where}, {text(_ATTRIBUTION_PREFIX)})"
    yield when(folded, f"IsMatch(Keys({where}), {text(_HAS_UPPER_TAG_KEY)})")
    yield f"keep_matching_keys({where}, {text(_ATTRIBUTION_KEY)})"
    yield replace_values(where, f"^{MARK}+", "")
    # A byte that is not UTF-8 is read as U+FFFD; the backend could not read the request.
    yield replace_values(where, rf"(?s)^.*[{excluded}\x{{fffd}}].*$|^.{{{int(longest) + 1},}}$", guards.UNPRINTABLE)
    yield replace_values(where, f"^([^{guards.UNPRINTABLE}]*)$", _MARKED)
    yield f"stringify_all({where})"
    yield replace_values(where, "^(-?[0-9]+)$", _MARKED)
    yield replace_values(where, _UNMARKED, MARK + guards.UNPRINTABLE)
    yield when(f'delete_matching_keys({where}, "^infraprism[.]entity_")', f"not ({is_entity})")


def _limited_tags() -> Iterator[str]:
    """Statements that keep the first tags in the order of their keys, where there are more than an event may have."""
    tag_names = cache("tag")
    yield put(_TAGS, _BLOCK, f"Len({_BLOCK}) > {fields.MAX_TAGS}")
    yield when(f'keep_matching_keys({_TAGS}, "^infraprism[.]tags[.]")', f"IsMap({_TAGS})")
    yield put(tag_names, f"Sort(Keys({_TAGS}))", f"IsMap({_TAGS})")
    kept = ", ".join((*map(text, ATTRIBUTION), *(f"{tag_names}[{at_}]" for at_ in range(fields.MAX_TAGS))))
    yield when(f"keep_keys({_BLOCK}, [{kept}])", f"IsList({tag_names})", f"Len({tag_names}) > {fields.MAX_TAGS}")
