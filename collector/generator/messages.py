"""Statements that reduce an error's message to its HTTP status and the name of the error in it.

Candidates for names are cut out of the message where a known wording has one. They pass the block of error names with
the other errors, so that only words of its closed lists are forwarded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from collector.generator.ottl import SPAN, at, cache, matches, put, text, when
from collector.generator.recognised import LAST_EXCEPTION

from infraprism.dialects.guards import EXCEPTION_TYPE, one_of
from infraprism.providers import error_messages, error_names

Step = str | tuple[str, str]
"""A statement, or a pattern and its replacement in each value of the block."""
REDUCED: Final = (
    f"^(?:[a-z]{{1,40}}{error_messages.CLASS_SUFFIX}: )?(?:Error code: {error_messages.STATUS})?"
    "(?: 'code': '[a-z_]{1,64}')?$"
)
"""All that a status message can be."""
_MESSAGE: Final = "span.status.message"
_KEYS: Final = {"class": "status.class", "code": "status.code", "text": "status.text", "wording": "status.word"}
"""Where the parts of the message are kept in the block."""
_QUOTE: Final = r"""\\{0,2}["']"""
_ENDING: Final = "(?i:error|exception)?"
_CLASS: Final = (
    rf"""(?s)^([A-Za-z0-9_.$]{{0,199}}?[A-Za-z0-9]){_ENDING}(?::\s.*|[(]['")].*|:?)$""",
    rf"(?s)^.*?[(]([A-Za-z]{{1,100}}?){_ENDING}[)] when calling the .*$",
    r"(?s)^.*?\bcode = ([A-Za-z]{1,100})(?:[\s,>)].*)?$",
)
"""Where a message has the class of an error: at its beginning, as botocore writes it, and as gRPC for Go does."""
_CODE: Final = (
    rf"(?s)^.*{_QUOTE}code{_QUOTE}: ?{_QUOTE}([A-Za-z_]{{1,64}}){_QUOTE}.*$",
    rf"(?s)^.*{_QUOTE}(?:type|status|reason|__type){_QUOTE}: ?{_QUOTE}([A-Za-z_]{{1,64}}){_QUOTE}.*$",
    r"(?s)^[(]([A-Za-z_]{1,64})[)] .*$",
    r"(?s)^([A-Za-z_]{1,64})(?:: |[\n,>)]).*$",
    r"(?s)^.*?(?:StatusCode[.]|^[0-9]{1,2} |StatusRuntimeException: |status: )([A-Za-z_]{1,64})(?:[\s:,>)].*)?$",
)
"""Where a message has a provider's code."""
_GENERAL: Final = (
    f"(?s)^(?i:{one_of(code for code, kind in error_names.CODES.items() if kind in error_names.GENERAL)})"
    r"(?:: .*|[\n,>)].*)?$"
)
"""Codes at the beginning of a message that may be any word, such as `internal_error`."""


def names_in(block: str) -> Iterator[Step]:
    """Cut candidates for the name of the error out of the status message."""
    classes = ((pattern, f"${{1}}{error_messages.CLASS_SUFFIX}") for pattern in _CLASS)
    named = (one for one in error_messages.NAME_PATTERNS if one.name)
    worded = ((one.pattern, one.name + error_messages.CLASS_SUFFIX) for one in named)
    yield from _cut(at(block, _KEYS["class"]), classes, "A-Za-z0-9_.$")
    codes = ((_GENERAL, ""), *((pattern, "$1") for pattern in _CODE))
    yield from _cut(at(block, _KEYS["code"]), codes, "A-Za-z_")
    yield from _cut(at(block, _KEYS["wording"]), ((f"(?s)^(?:.*?(?:{of})).*$", word) for of, word in worded), "a-z")


def _cut(target: str, replacements: Iterable[tuple[str, str]], letters: str) -> Iterator[Step]:
    """Replace the message by what one of the patterns finds in it; without a match it has other letters."""
    yield put(target, _MESSAGE)
    for pattern, replacement in (*replacements, (f"(?s)^.*[^{letters}].*$", "")):
        yield when(f"replace_pattern({target}, {text(pattern)}, {text(replacement)})", f"IsString({target})")


def code(block: str) -> Iterator[Step]:
    """Keep the provider's code, if the candidate was marked as one."""
    found = at(block, _KEYS["code"])
    quoted = f"""Concat([" 'code': '", {found}, "'"], "")"""
    yield put(cache("code"), '""')
    yield put(cache("code"), quoted, matches(found, "^#[A-Za-z]"))
    yield f"delete_key({block}, {text(_KEYS['code'])})"


def names(block: str) -> Iterator[Step]:
    """Keep the class in the message, and of the exceptions the last one if the class of the first is not known."""
    yield put(cache("class"), '""')
    for part in ("class", "wording"):
        found = at(block, _KEYS[part])
        yield put(cache("class"), f'Concat([{found}, ": "], "")', matches(found, "^#"))
        yield f"delete_key({block}, {text(_KEYS[part])})"
    first, last = at(block, EXCEPTION_TYPE), at(block, LAST_EXCEPTION)
    yield put(first, last, f"not ({matches(first, '^#')})", f"{last} != nil")
    yield f"delete_key({block}, {text(LAST_EXCEPTION)})"


def status_in(block: str) -> Iterator[Step]:
    """Reduce the message to its HTTP status."""
    yield put(at(block, _KEYS["text"]), _MESSAGE)
    for pattern in error_messages.STATUS_PATTERNS:
        yield f"(?s)^(?:.*?(?:{pattern})).*$", "$1"
    yield f"^{error_messages.MESSAGE_PREAMBLE}", ""
    for status, beginnings in error_messages.MESSAGE_PREFIXES.items():
        yield f"(?s)^(?:{one_of(beginnings)}).*$", str(status)


def reduced(block: str, keys: Iterable[str]) -> Iterator[Step]:
    """Put the message together: the class, the HTTP status and the code that were found."""
    found = at(block, _KEYS["text"])
    yield put(cache("status"), '""')
    status = f'Concat(["Error code: ", {found}], "")'
    yield put(cache("status"), status, matches(found, f"^{error_messages.STATUS}$"))
    yield f"delete_key({block}, {text(_KEYS['text'])})"
    class_, code = (f'ConvertCase({cache(name)}, "lower")' for name in ("class", "code"))
    yield put(_MESSAGE, f'Concat([{class_}, {cache("status")}, {code}], "")')
    yield f'replace_pattern({_MESSAGE}, "#", "")'
    for key in keys:
        yield put(
            at(block, key),
            f'Concat(["#", {_MESSAGE}], "")',
            f"{at(block, key)} != nil",
            f"IsMatch({_MESSAGE}, {text(REDUCED)})",
        )


def chosen(keys: Iterable[str]) -> Iterator[str]:
    """Statements that choose the message: an attribute with one, or the status message of a failed span."""
    yield put(_MESSAGE, '""', "span.status.code != STATUS_CODE_ERROR")
    for key in keys:
        yield put(_MESSAGE, at(SPAN, key), f'{_MESSAGE} == ""', f"IsString({at(SPAN, key)})")
