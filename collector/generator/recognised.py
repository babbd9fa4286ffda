"""Statements that run before the allow-list: recognise LLM calls, parse usage, read span events.

What they write are attributes of the span, which pass the allow-list like all others.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final

from collector.generator import scopes
from collector.generator.ottl import SPAN, at, cache, keep, matches, put, replace_values, text, when

from infraprism.dialects import semconv
from infraprism.dialects.guards import EXCEPTION_TYPE, NO_CALL, one_of
from infraprism.dialects.table import Dialect
from infraprism.dialects.values import MAX_JSON, NOT_BILLED, UNPRICED
from infraprism.schema import fields

_NAME: Final = cache("name")
_USAGE: Final = "span.cache"
_PYTHON_WORDS: Final = (("None", "null"), ("True", "true"), ("False", "false"), ("'", '"'))
"""How Python prints what JSON writes otherwise. Quotes come last: an object is classified by them."""
LAST_EXCEPTION: Final = "exception.last"
"""The class of the last recorded exception; it counts where the first one's is not known."""
_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
_STREAMED: Final = "gen_ai.request.stream"


def marker_keys(dialects: Iterable[Dialect]) -> list[str]:
    """The statement that keeps the keys of which every LLM call has at least one."""
    keys = {fields.COST_STATUS.key}.union(*(dialect.required_any | dialect.exclusive_keys for dialect in dialects))
    return [keep(cache("markers"), sorted(keys))]


def exclusions(dialects: Iterable[Dialect]) -> list[str]:
    """Statements that mark spans that are no calls by their name or by one text: neither is forwarded."""
    found: dict[str, list[Dialect]] = defaultdict(list)
    for dialect in dialects:
        names = dialect.excluded_span_names
        exact = [name for name in names if "*" not in name]
        ends = [name.removeprefix("*") for name in names if name.startswith("*")]
        starts = [name.removesuffix("*") for name in names if name.endswith("*")]
        patterns = [f"^(?:{one_of(exact)})$"] if exact else []
        patterns += [f"(?:{one_of(ends)})$"] * bool(ends)
        patterns += [f"^(?:{one_of(starts)})"] * bool(starts)
        for pattern in patterns:
            found[f"IsMatch({_NAME}, {text(pattern)})"].append(dialect)
        # Of the constants that a `refine` function reads all exclude a span so far.
        for key, constants in dialect.refine_keys.items():
            for constant in constants:
                found[matches(at(SPAN, key), f"^{re.escape(constant)}$")].append(dialect)
    return [put("span.name", text(NO_CALL), condition, _is_one_of(of)) for condition, of in sorted(found.items())]


def _is_one_of(dialects: Sequence[Dialect]) -> str:
    """Whether a span is of one of these dialects."""
    by_key = sorted({key for dialect in dialects if not dialect.scopes for key in dialect.required_any})
    if by_key:
        return "(" + " or ".join(f"{at(SPAN, key)} != nil" for key in by_key) + ")"
    return " or ".join(f"IsMatch(scope.name, {text(scopes.of_dialect(dialect))})" for dialect in dialects)


def read_usage(dialects: Sequence[Dialect]) -> list[str]:
    """Statements that make attributes of usage that is a map, or an object in JSON or as Python prints one."""
    keys = sorted({key for dialect in dialects for key in dialect.json_texts})
    if not keys:
        return []
    is_python = f"IsMatch(Values({_USAGE}), {text(chr(91) + chr(91) + ',]' + chr(34) + '[{]' + chr(39))})"
    each = (at(_USAGE, key) for key in keys)
    return [
        put(_USAGE, SPAN),
        keep(_USAGE, keys),
        f"truncate_all({_USAGE}, {MAX_JSON})",
        *(when(replace_values(_USAGE, *words), is_python) for words in _PYTHON_WORDS),
        *(put(one, f"ParseJSON({one})", f"IsString({one})") for one in each),
        when(f"flatten({_USAGE})", f"Len({_USAGE}) > 0"),
        when(f'merge_maps({SPAN}, {_USAGE}, "insert")', f"Len({_USAGE}) > 0"),
        *_unknown_usage(dialects),
    ]


def _unknown_usage(dialects: Sequence[Dialect]) -> list[str]:
    """Statements that mark a span with a number other than 0 in an unknown field of a provider's usage object.

    Only the mark is written, no key and no value. Fields in lists, which have numbers in their keys, are not compared.
    """
    texts = sorted({text for dialect in dialects for text in dialect.usage_texts})
    if not texts:
        return []
    known: dict[str, set[str]] = defaultdict(set)
    for dialect in dialects:
        for key in dialect.slots:
            of = next((text for text in dialect.usage_texts if key.startswith(f"{text}.")), None)
            if of is not None:
                path, _, name = key[len(of) + 1 :].rpartition(".")
                if not re.search("[.][0-9]", path):
                    known[path].add(name)
    any_text = f"^(?:{one_of(texts)})[.]"
    top = _short(known.pop("", set()) - set(NOT_BILLED))
    nested = "|".join(
        f"{path}[.]{_short(names - set(NOT_BILLED))}"
        for path, names in sorted(known.items())
        if names - set(NOT_BILLED)
    )
    is_known = f"{any_text}(?:{top}|{nested}|(?:.*[.])?(?:[0-9]+|{_short(set(NOT_BILLED))}))(?:[.]|$)"
    return [
        f"keep_matching_keys({_USAGE}, {text(any_text)})",
        when(f"delete_matching_keys({_USAGE}, {text(is_known)})", f"Len({_USAGE}) > 0"),
        replace_values(_USAGE, "(?s)^.*$", ""),
        put(at(SPAN, UNPRICED), "true", f"IsMatch(Values({_USAGE}), {text('[1-9]')})"),
    ]


def _short(words: set[str]) -> str:
    """A pattern of words of letters, digits and `_`, with each common prefix written once."""
    if words == {""}:
        return ""
    by_letter = groupby(sorted(words - {""}), key=itemgetter(0))
    found: list[str] = [letter + _short({word[1:] for word in group}) for letter, group in by_letter]
    if len(found) == 1 and "" not in words:
        return found[0]
    return f"(?:{'|'.join(found)})" + "?" * ("" in words)


def read_events(dialects: Sequence[Dialect]) -> list[str]:
    """Statements that run once per span event: what it reports becomes attributes, or the status, of its span."""
    is_exception = 'spanevent.name == "exception"'
    kind, message = (at("spanevent.attributes", f"exception.{name}") for name in ("type", "message"))
    markers = sorted({key for dialect in dialects if dialect.exception_fails for key in dialect.required_any})
    is_failure = ("span.status.code == STATUS_CODE_ERROR", 'span.status.message == ""')
    statements = [
        *(put("span.status.code", "STATUS_CODE_ERROR", is_exception, f"{at(SPAN, one)} != nil") for one in markers),
        put(at(SPAN, LAST_EXCEPTION), kind, is_exception, f"IsString({kind})"),
        put(at(SPAN, EXCEPTION_TYPE), kind, is_exception, f"IsString({kind})", f"{at(SPAN, EXCEPTION_TYPE)} == nil"),
        put("span.status.message", message, is_exception, *is_failure, f"IsString({message})"),
    ]
    names = {name for dialect in dialects for name in dialect.first_chunk_events}
    if names:
        is_first = f"IsMatch(spanevent.name, {text(f'^(?:{one_of(names)})$')})"
        in_order = "spanevent.time_unix_nano >= span.start_time_unix_nano"
        passed_s = "(spanevent.time_unix_nano - span.start_time_unix_nano) / 1000000000.0"
        unset = f"{at(SPAN, _FIRST_CHUNK)} == nil"
        statements.append(put(at(SPAN, _FIRST_CHUNK), passed_s, is_first, unset, in_order))
        statements.append(put(at(SPAN, _STREAMED), "true", is_first))
    is_usage = f"spanevent.name == {text(semconv.USAGE_EVENT)}"
    is_call = " or ".join(f"{at(SPAN, key)} != nil" for key in sorted(semconv.SEMCONV.required_any))
    return [*statements, when(f'merge_maps({SPAN}, spanevent.attributes, "insert")', is_usage, f"({is_call})")]
