"""The event: its checks, its copies and its wire form."""

from __future__ import annotations

import pickle
import re
from copy import copy, deepcopy
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kit.any_event import any_event
from tests.kit.events import event

from infraprism.processor import Usage
from infraprism.schema import FIELDS, Event, cost_text, event_id, fields, wire
from infraprism.schema.event import INVALID_MODEL, fits

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.decimals()
    | st.sampled_from(["chat", "openai", "priced", "customer", "429", Decimal("0.1")]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
)
NAMES = [name for name in Event._fields if name not in ("total_tokens", "tags")]
TEXTS = [field for field in FIELDS if field.kind == "string" or field.name == "cost_usd"]
MORE = settings(max_examples=100, deadline=None)


class Text(str):
    """A subclass of str, which could return one text to a check and another one to an encoder."""

    __slots__ = ()


def assert_matches_the_field_table(made: Event) -> None:
    for key, value in wire.attributes(made, usage_detail=True).items():
        if key.startswith(fields.TAG_PREFIX):
            assert fields.TAG_KEY.fullmatch(key.removeprefix(fields.TAG_PREFIX))
            assert fits(fields.TAGS, value)
            continue
        field = fields.BY_KEY[key]
        if type(value) is str:
            assert field.regex.fullmatch(value)
        elif type(value) is int:
            assert 0 <= value <= field.maximum
        else:
            assert type(value) is bool
            assert field.kind == "bool"


@given(st.fixed_dictionaries(dict.fromkeys(NAMES, ANYTHING)), st.dictionaries(st.text(), ANYTHING))
@MORE
def test_an_event_holds_only_values_that_the_field_table_allows(values: dict[str, Any], tags: dict[str, Any]) -> None:
    made = Event(**values, tags=tags)
    assert_matches_the_field_table(made)
    assert 0 <= made.timestamp_ns < 2**63
    assert 0 <= made.span_id < 2**64
    assert 0 <= made.trace_id < 2**128
    assert len(made.tags) <= fields.MAX_TAGS


@given(any_event())
@MORE
def test_every_event_is_equal_after_a_round_trip_over_the_wire(made: Event) -> None:
    attributes = wire.attributes(made, usage_detail=True)
    assert wire.read(made.trace_id, made.span_id, made.timestamp_ns, attributes) == made
    without = wire.attributes(made)
    assert wire.read(made.trace_id, made.span_id, made.timestamp_ns, without) == made.without_usage_detail()
    assert not any(key.startswith("infraprism.usage.") for key in without)


@given(st.dictionaries(st.sampled_from(sorted(fields.BY_KEY)) | st.text(), ANYTHING))
@MORE
def test_any_attributes_on_the_wire_become_a_valid_event_or_none(found: dict[str, Any]) -> None:
    made = wire.read(1, 1, 1, found)
    if fields.COST_STATUS.key in found and fields.SUCCESS.key in found:
        assert made is not None
        assert_matches_the_field_table(made)
    else:
        assert made is None


@given(any_event())
def test_an_event_is_equal_to_its_copies(made: Event) -> None:
    assert pickle.loads(pickle.dumps(made)) == made
    assert copy(made) == made
    assert deepcopy(made) == made
    assert made._replace() == made
    assert type(made._replace()) is Event


def test_nothing_can_be_changed_or_added() -> None:
    made = event()
    with pytest.raises(AttributeError):
        made.model = "other"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        made.prompt = "text"  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        Event(**made._asdict(), prompt="text")


@pytest.mark.parametrize(
    ("text", "is_name"),
    [
        *(
            (name, True)
            for name in ("@cf/meta/llama-3.1-8b-instruct", "~a/b", "/models/llama", "a#b", "ft:gpt-4o:x::1")
        ),
        *((text, False) for text in ("@ you", "# heading", "#tag", "/imagine a cat", "a\nb", "a" * 129, "who?")),
    ],
)
def test_names_of_models_are_valid_and_prompts_are_not(text: str, is_name: bool) -> None:
    assert event(model=text).model == (text if is_name else INVALID_MODEL)


def test_replace_and_make_run_the_same_checks() -> None:
    made = event()
    assert made._replace(model="my prompt text").model == INVALID_MODEL
    assert made._replace(error_code="a message", success=False).error_code is None
    assert made._replace(input_tokens=1).total_tokens == 501
    assert Event._make([*made[:3], "my prompt text", *made[4:]]).model == INVALID_MODEL
    with pytest.raises((TypeError, ValueError), match="unexpected"):  # which, depends on the version of Python
        made._replace(prompt="text")


@pytest.mark.parametrize("name", [field.name for field in FIELDS if field.kind == "string"])
def test_a_subclass_of_str_is_left_out_even_if_its_text_is_valid(name: str) -> None:
    example = fields.BY_KEY[next(field.key for field in FIELDS if field.name == name)].example
    given_plain = {name: example, "success": False, "entity_type": "customer", "entity_id": "x"} | {name: example}
    given_other = given_plain | {name: Text(example)}
    assert getattr(event(**given_plain), name) == example
    assert getattr(event(**given_other), name) in (None, INVALID_MODEL, "other", "priced")


@pytest.mark.parametrize(
    "changed",
    [
        {"entity_type": "customer", "entity_id": None},
        {"entity_type": None, "entity_id": "acme"},
        {"entity_type": "company", "entity_id": "acme"},
        {"entity_type": "customer", "entity_id": "two\nlines"},
    ],
)
def test_entity_type_and_entity_id_are_both_present_or_both_absent(changed: dict[str, Any]) -> None:
    made = event(**changed)
    assert (made.entity_type, made.entity_id) == (None, None)


def test_an_error_type_is_present_exactly_on_failure() -> None:
    assert event(error_type="timeout", error_code="408").error_type is None
    made = event(success=False, error_type="made up", error_code="a b")
    assert (made.error_type, made.error_code) == ("other", None)


def test_the_total_is_present_only_with_both_counts() -> None:
    assert event(input_tokens=1, output_tokens=2).total_tokens == 3
    assert event(input_tokens=None).total_tokens is None
    assert event(output_tokens=-1).total_tokens is None
    assert event(input_tokens=0, output_tokens=0).total_tokens == 0


@pytest.mark.parametrize(
    ("cost", "status", "expected_cost", "expected_status"),
    [
        (Decimal("0.0065"), "priced", Decimal("0.0065"), "priced"),
        (Decimal("0.0065"), "provider_reported", Decimal("0.0065"), "provider_reported"),
        (Decimal("0.0065"), "no_usage", Decimal("0.0065"), "priced"),
        (None, "unknown_model", None, "unknown_model"),
        (None, "priced", None, "incomplete"),
        (Decimal(-1), "priced", None, "incomplete"),
        (Decimal("NaN"), "priced", None, "incomplete"),
        (Decimal("Infinity"), "priced", None, "incomplete"),
        (Decimal("1e-19"), "priced", None, "incomplete"),
        (Decimal("1e18"), "priced", None, "incomplete"),
        (0.0065, "priced", None, "incomplete"),
        ("0.0065", "priced", None, "incomplete"),
        (Decimal(0), "priced", Decimal(0), "priced"),
    ],
)
def test_a_cost_is_exact_or_absent_with_a_status(
    cost: Any, status: str, expected_cost: Decimal | None, expected_status: str
) -> None:
    made = event(cost_usd=cost, cost_status=status)
    assert (made.cost_usd, made.cost_status) == (expected_cost, expected_status)


@given(st.integers(0, 10**36 - 1))
def test_a_cost_keeps_every_digit_under_any_decimal_context(units: int) -> None:
    cost = Decimal((0, tuple(map(int, str(units))), -18))
    with localcontext(prec=3):
        made = event(cost_usd=cost)
        text = wire.attributes(made)[fields.COST_USD.key]
        again = wire.read(1, 1, 1, wire.attributes(made))
    assert made.cost_usd == cost
    assert fields.COST_USD.regex.fullmatch(str(text))
    assert again is not None
    assert again.cost_usd == cost


@pytest.mark.parametrize(
    ("cost", "text"), [("0.00650", "0.0065"), ("1E+2", "100"), ("0", "0"), ("1E-18", "0.000000000000000001")]
)
def test_a_cost_is_written_as_decimal_digits(cost: str, text: str) -> None:
    assert cost_text(Decimal(cost)) == text


def test_the_event_id_depends_only_on_trace_id_and_span_id() -> None:
    assert event().id == event(model="x", success=False).id == event_id(1, 1)
    assert re.fullmatch("evt_[0-9a-f]{32}", event().id)
    assert len({event_id(trace, span) for trace in range(3) for span in range(3)}) == 9


def test_invalid_tags_and_tags_beyond_the_limit_are_left_out() -> None:
    made = event(tags={f"key{n:02}": "x" for n in range(40)} | {"Bad": "x", "bad value": "x", "line": "a\nb", "n": 1})
    assert made.tags == tuple((f"key{n:02}", "x") for n in range(32))


def _python_of(re2: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\x\{([0-9a-f]{4})\}", r"\\u\1", re2))


@given(st.sampled_from(TEXTS), st.text(max_size=300) | st.from_regex(r"[a-z0-9_.-]{1,64}", fullmatch=True))
@MORE
def test_re2_patterns_accept_the_same_texts_as_the_python_patterns(field: fields.Field, text: str) -> None:
    assert (_python_of(field.re2).search(text) is not None and not text.endswith("\n")) == bool(
        field.regex.fullmatch(text)
    )


@pytest.mark.parametrize("field", TEXTS)
def test_patterns_use_only_re2_syntax(field: fields.Field) -> None:
    assert field.re2.startswith("^(?:")
    assert field.re2.endswith(")$")
    for unknown in (r"\u", "(?=", "(?!", "(?<", r"\Z", r"\d800"):
        assert unknown not in field.re2
    repeats = [int(most) for most in re.findall(r"\{[0-9]*,([0-9]+)\}", field.re2)]
    assert all(most <= 1000 for most in repeats)


@pytest.mark.parametrize("field", [field for field in FIELDS if field.kind != "tags"])
def test_the_example_of_each_field_is_valid(field: fields.Field) -> None:
    if field.kind in ("string", "decimal"):
        assert field.regex.fullmatch(field.example)
    elif field.kind == "int":
        assert 0 <= int(field.example) <= field.maximum
    else:
        assert field.example in ("true", "false")


def test_attribute_keys_are_unique_and_have_the_prefix() -> None:
    keys = [field.key for field in FIELDS]
    assert len(set(keys)) == len(keys)
    assert all(key.startswith(fields.PREFIX) for key in keys)
    assert {field.name for field in FIELDS} == set(Event._fields) - {"trace_id", "span_id", "timestamp_ns"}


@pytest.mark.parametrize(
    "character", ["\n", "\r", "\t", "\0", "\x7f", "\u200b", "\u202e", "\u2028", "\ufeff", "\ud800"]
)
def test_control_and_format_characters_are_not_allowed_in_free_text(character: str) -> None:
    text = f"a{character}b"
    made = event(entity_id=text, session_id=text, tags={"a": text}, model=text)
    assert (made.entity_id, made.session_id, made.tags, made.model) == (None, None, (), INVALID_MODEL)


@pytest.mark.parametrize("text", ["Müller & Söhne", "客户", "😀", " spaces inside ", "x" * 256])
def test_text_in_all_scripts_is_allowed_in_free_text(text: str) -> None:
    made = event(entity_id=text, session_id=text, tags={"a": text})
    assert (made.entity_id, made.session_id, made.tags) == (text, text, (("a", text),))


_MEASURED = (
    "trace_id",
    "span_id",
    "timestamp_ns",
    "latency_ms",
    "cost_usd",
    "cost_status",
    "time_to_first_token_ms",
)
_COUNTS = tuple(Usage._fields[:9])


@MORE
@given(kind=any_event(), call=st.fixed_dictionaries(dict.fromkeys((*_MEASURED, *_COUNTS), ANYTHING)))
def test_with_measurements_equals_a_new_event_of_the_same_values(kind: Event, call: dict[str, Any]) -> None:
    counts = [call[name] for name in _COUNTS]
    before = [call[name] for name in _MEASURED[:4]]
    again = kind.with_measurements(*before, *[call[name] for name in _MEASURED[4:]], counts)

    values = {name: value for name, value in kind._asdict().items() if name != "total_tokens"}
    assert again == Event(**{**values, **call})
    assert type(again) is Event
    assert_matches_the_field_table(again)
