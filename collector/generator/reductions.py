"""Texts that are reduced to what the backend reads in them, so that nothing else of them leaves.

The name of an error becomes the provider's code, or the end of a class name, by which its kind is told; a host becomes
the provider's domain; a provider's name becomes the spelling that is known. The backend gets the same answer from the
reduced text as from the whole one, and a test compares them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from collector.generator.guards import Kept, one_of
from collector.generator.ottl import CLEAN, SPAN, at, matches, put, text

from infraprism.dialects import semconv
from infraprism.providers import detection, error_messages, error_names
from infraprism.providers.error_messages import CLASS_SUFFIX, longest_first

OTHER: Final = "other"
OTHER_ERROR: Final = "_OTHER"
"""The conventions' word for an error without a name that is known."""
_STATUS: Final = error_messages.STATUS
_BEDROCK: Final = "bedrock.any.amazonaws.com"
"""Stands for each host of Bedrock: names of regions and endpoints stay behind."""


_ENDS: Final = frozenset(end for end, _ in error_names.CLASSES)


_FOUND: Final = "E"
"""Marks what a pattern found in a text that has been lower-cased, so has no such letter."""
# All underscores are gone when this is looked for.
_CLASS: Final = rf"(?s)^(?:.*[.])?[^.]*?({longest_first(_ENDS)}){error_names.CLASS_ENDING}"
_CODE: Final = one_of(error_names.CODES)
ERROR_WORDS: Final = (
    f"^(?:{_STATUS}|{OTHER_ERROR}|{longest_first(error_names.CODES)}|(?:{longest_first(_ENDS)}){CLASS_SUFFIX})$"
)
"""All that an error's name can be once it is reduced."""
STATUS_TEXT: Final = f"^{error_messages.REDUCED_MESSAGE}$"
"""All that a status message can be."""


def reduce_error(source: str, target: str) -> tuple[str, ...]:
    """Statements that set `target` to the word which the error name `source` comes down to, or OTHER_ERROR."""
    is_text = f"IsString({source})", f'{source} != ""'
    return (
        put(target, f'ConvertCase({source}, "lower")', *is_text),
        f'replace_pattern({target}, "_", "")',
        f'replace_pattern({target}, {text(_CLASS)}, "{_FOUND}${{1}}{CLASS_SUFFIX}")',
        put(target, f'"{OTHER_ERROR}"', *is_text, f'not IsMatch({target}, "^{_FOUND}")'),
        f'replace_pattern({target}, "^{_FOUND}", "")',
        put(target, f'ConvertCase({source}, "lower")', matches(source, "(?i)" + _CODE)),
        put(target, source, matches(source, f"^{_STATUS}$")),
    )


def error(key: str) -> Kept:
    """An error's name; one that tells nothing still says that there was an error."""
    raw = at(SPAN, key)
    return Kept(key, reduce_error(raw, at(CLEAN, key)), matches(raw, ERROR_WORDS))


def _reduced(key: str, pattern: str, words: str, *first: str) -> Kept:
    """A text of which the pattern's group is taken, if that is one of the words; `first` are statements before it."""
    raw, clean = at(SPAN, key), at(CLEAN, key)
    is_known = matches(clean, words)
    return Kept(
        key,
        (
            put(clean, f'ConvertCase({raw}, "lower")', f"{clean} == nil", f"IsString({raw})", f'{raw} != ""'),
            *first,
            # Most are a known word as they stand, and are spared the longer pattern.
            f'replace_pattern({clean}, {text(pattern)}, "$1") where {clean} != nil and not ({is_known})',
            # Not left out: a better source that says nothing known still stands before a worse one.
            put(clean, f'"{OTHER}"', f"{clean} != nil", f"not ({is_known})"),
        ),
        matches(raw, words),
    )


def provider(key: str) -> Kept:
    """A provider's name: the longest known beginning of a dotted one."""
    known = longest_first(detection.SPELLINGS)
    return _reduced(key, rf'(?s)^\s*"?({known})(?:[./].*)?"?\s*$', one_of({*detection.SPELLINGS, OTHER}))


def host(key: str) -> Kept:
    """A host or address: the domain of a known provider."""
    before, after = r"^\s*(?:.*://)?(?:[^/]*@)?", r"(?::[^/]*)?(?:/.*)?\s*$"
    clean = at(CLEAN, key)
    bare = f'replace_pattern({clean}, {text(f"(?s){before}([^/:@]*){after}")}, "$1")'
    domain_of = f"^(?:[^.]*[.])*?({longest_first(detection.HOSTS)})[.]*$"
    words = one_of({*detection.HOSTS, OTHER, _BEDROCK})
    kept = _reduced(key, domain_of, words, f"{bare} where {matches(clean, '[/:@ ]')}")
    raw = at(SPAN, key)
    for pattern, provider_name in detection.HOST_PATTERNS:
        domain = next((name for name, of in detection.HOSTS.items() if of == provider_name), _BEDROCK)
        if detection.provider_of(domain, None, None) != provider_name:
            raise LookupError(f"no domain stands for the hosts of {provider_name}")
        found = f'{clean} == "{OTHER}"', matches(raw, f"(?is){before}(?:{pattern})[.]*{after}")
        kept = Kept(key, (*kept.copies, put(clean, f'"{domain}"', *found)), kept.proof)
    return kept


_MARK: Final = "~"
_NO_MARK: Final = "#"
"""Signs that no pattern has, so that the one is as good as the other."""
_IS_CODE: Final = _MARK + "0"
_IS_CLASS: Final = _MARK + "1"


def _to_status(target: str) -> tuple[str, ...]:
    """Statements that make of a message in a known wording its status."""
    told = (rf"(?s)^(?:.*?(?:{pattern})).*$" for pattern in error_messages.STATUS_PATTERNS)
    worded = (
        (rf"(?s)^{error_messages.MESSAGE_PREAMBLE}(?:{longest_first(beginnings)}).*$", str(status))
        for status, beginnings in error_messages.MESSAGE_PREFIXES.items()
    )
    return tuple(
        f"replace_pattern({target}, {text(pattern)}, {text(found)}) where {target} != nil"
        for pattern, found in (*((pattern, "$1") for pattern in told), *worded)
    )


def _without_others(key: str, pattern: str) -> str:
    """The statement that takes away what stands under a key, unless it is of the pattern."""
    return f"delete_key({CLEAN}, {text(key)}) where not ({matches(at(CLEAN, key), pattern)})"


def _to_name(message: str, code: str, class_end: str, *conditions: str) -> Iterator[str]:
    """Statements that find in a message a provider's code, or the end of a class name, and set the one or the other.

    What is found takes the place of the text, with a mark in front: the text has had that sign taken out.
    """
    told = at(CLEAN, "told")
    yield put(told, message, *conditions)
    yield f'replace_pattern({told}, "{_MARK}", "{_NO_MARK}") where {told} != nil'
    for pattern in error_messages.NAME_PATTERNS:
        kind = _IS_CODE if pattern.is_code else _IS_CLASS
        groups = re.compile(pattern.pattern).groups
        found = pattern.name or "".join(f"${{{number}}}" for number in range(1, groups + 1))
        whole = text(rf"(?s)^(?:.*?(?:{pattern.pattern})).*$")
        untold = f'{told} != nil and not IsMatch({told}, "^{_MARK}")'
        yield f'replace_pattern({told}, {whole}, "{kind}{found}") where {untold}'
    for target, kind in ((code, _IS_CODE), (class_end, _IS_CLASS)):
        yield put(target, f'ConvertCase({told}, "lower")', f"{told} != nil", f'IsMatch({told}, "^{kind}")')
        yield f'replace_pattern({target}, "^{kind}", "") where {target} != nil'
    yield f'delete_key({CLEAN}, "told")'


def status_text() -> tuple[str, ...]:
    """Statements that make of a status message what an error's text is read for: its status, and one name."""
    message, status, code, class_end = "span.status.message", *(at(CLEAN, key) for key in ("status", "code", "class"))
    return (
        put(status, message),
        *_to_status(status),
        _without_others("status", f"^{_STATUS}$"),
        *_to_name(message, code, class_end),
        put(message, '""'),
        put(message, f'Concat([{class_end}, "{CLASS_SUFFIX}: "], "")', f"{class_end} != nil"),
        put(message, f'Concat([{message}, "Error code: ", {status}], "")', f"{status} != nil"),
        put(message, f"""Concat([{message}, " 'code': '", {code}, "'"], "")""", f"{code} != nil"),
    )


def error_in_text(key: str) -> Kept:
    """A message: the status that it tells, else a name, or nothing."""
    raw, clean = at(SPAN, key), at(CLEAN, key)
    code, class_end = at(CLEAN, "code"), at(CLEAN, "class")
    return Kept(
        key,
        (
            put(clean, raw, f"IsString({raw})"),
            *_to_status(clean),
            _without_others(key, f"^{_STATUS}$"),
            put(clean, raw, f"{clean} == nil", matches(raw, ERROR_WORDS)),
            *_to_name(raw, code, class_end, f"{clean} == nil", f"IsString({raw})"),
            put(clean, code, f"{code} != nil"),
            put(clean, f'Concat([{class_end}, "{CLASS_SUFFIX}"], "")', f"{class_end} != nil"),
            f'delete_key({CLEAN}, "code")',
            f'delete_key({CLEAN}, "class")',
        ),
        matches(raw, ERROR_WORDS),
    )


def exception_type(found: str) -> tuple[str, ...]:
    """Statements, once per span event, that note the class of a recorded exception on the span; the last one counts.

    Where a failed span has no status message, the first exception's message takes its place, and is reduced as one.
    """
    name, noted = 'spanevent.attributes["exception.type"]', 'spanevent.cache["reduced"]'
    message, on_span = 'spanevent.attributes["exception.message"]', "span.status.message"
    return (
        put(
            on_span,
            message,
            'spanevent.name == "exception"',
            "span.status.code == STATUS_CODE_ERROR",
            f'{on_span} == ""',
            f"IsString({message})",
        ),
        *reduce_error(name, noted),
        put(found, noted, 'spanevent.name == "exception"', matches(noted, ERROR_WORDS), f'{noted} != "{OTHER_ERROR}"'),
    )


def usage_event() -> Iterator[str]:
    """Statements, once per span event, that note on the span the counts of an event that is for them."""
    for key in semconv.USAGE_EVENT_KEYS:
        said, noted = f"spanevent.attributes[{text(key)}]", at(SPAN, key)
        named = f"spanevent.name == {text(semconv.USAGE_EVENT)}"
        yield put(noted, said, named, f"{said} != nil", f"{noted} == nil")


def exception(key: str) -> Kept:
    """The class of an exception that the span recorded as an event."""
    raw, clean = at(SPAN, key), at(CLEAN, key)
    proof = matches(raw, ERROR_WORDS)
    return Kept(key, (put(clean, raw, proof),), proof)
