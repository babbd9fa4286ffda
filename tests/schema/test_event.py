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
    """A text that could show one face to a check and another to an encoder."""

    __slots__ = ()


def assert_in_the_table(made: Event) -> None:
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
def test_whatever_is_given_only_what_the_table_allows_is_held(values: dict[str, Any], tags: dict[str, Any]) -> None:
    made = Event(**values, tags=tags)
    assert_in_the_table(made)
    assert 0 <= made.timestamp_ns < 2**63
    assert 0 <= made.span_id < 2**64
    assert 0 <= made.trace_id < 2**128
    assert len(made.tags) <= fields.MAX_TAGS


@given(any_event())
@MORE
def test_every_event_survives_the_wire(made: Event) -> None:
    attributes = wire.attributes(made, usage_detail=True)
    assert wire.read(made.trace_id, made.span_id, made.timestamp_ns, attributes) == made
    without = wire.attributes(made)
    assert wire.read(made.trace_id, made.span_id, made.timestamp_ns, without) == made.without_usage_detail()
    assert not any(key.startswith("infraprism.usage.") for key in without)


@given(st.dictionaries(st.sampled_from(sorted(fields.BY_KEY)) | st.text(), ANYTHING))
@MORE
def test_whatever_comes_in_on_the_wire_is_read_into_the_table_or_refused(found: dict[str, Any]) -> None:
    made = wire.read(1, 1, 1, found)
    if fields.COST_STATUS.key in found and fields.SUCCESS.key in found:
        assert made is not None
        assert_in_the_table(made)
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


def test_the_inherited_short_cuts_go_through_the_same_checks() -> None:
    made = event()
    assert made._replace(model="my prompt text").model == INVALID_MODEL
    assert made._replace(error_code="a message", success=False).error_code is None
    assert made._replace(input_tokens=1).total_tokens == 501
    assert Event._make([*made[:3], "my prompt text", *made[4:]]).model == INVALID_MODEL
    with pytest.raises((TypeError, ValueError), match="unexpected"):  # which, depends on the version of Python
        made._replace(prompt="text")


@pytest.mark.parametrize("name", [field.name for field in FIELDS if field.kind == "string"])
def test_a_text_of_another_class_is_refused_even_if_it_fits(name: str) -> None:
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
def test_an_entity_is_there_as_a_whole_or_not_at_all(changed: dict[str, Any]) -> None:
    made = event(**changed)
    assert (made.entity_type, made.entity_id) == (None, None)


def test_an_error_is_only_there_on_failure_and_then_always_has_a_type() -> None:
    assert event(error_type="timeout", error_code="408").error_type is None
    made = event(success=False, error_type="made up", error_code="a b")
    assert (made.error_type, made.error_code) == ("other", None)


def test_the_total_is_only_there_where_both_counts_are() -> None:
    assert event(input_tokens=1, output_tokens=2).total_tokens == 3
    assert event(input_tokens=None).total_tokens is None
    assert event(output_tokens=-1).total_tokens is None
    assert event(input_tokens=0, output_tokens=0).total_tokens == 0


@pytest.mark.parametrize(
    ("cost", "status", "held", "said"),
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
def test_a_cost_is_exact_or_absent_with_a_reason(cost: Any, status: str, held: Decimal | None, said: str) -> None:
    made = event(cost_usd=cost, cost_status=status)
    assert (made.cost_usd, made.cost_status) == (held, said)


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
def test_a_cost_is_written_in_plain_digits(cost: str, text: str) -> None:
    assert cost_text(Decimal(cost)) == text


def test_the_identity_comes_from_trace_and_span_alone() -> None:
    assert event().id == event(model="x", success=False).id == event_id(1, 1)
    assert re.fullmatch("evt_[0-9a-f]{32}", event().id)
    assert len({event_id(trace, span) for trace in range(3) for span in range(3)}) == 9


def test_too_many_tags_and_wrong_ones_are_left_out() -> None:
    made = event(tags={f"key{n:02}": "x" for n in range(40)} | {"Bad": "x", "bad value": "x", "line": "a\nb", "n": 1})
    assert made.tags == tuple((f"key{n:02}", "x") for n in range(32))


def _python_of(re2: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\x\{([0-9a-f]{4})\}", r"\\u\1", re2))


@given(st.sampled_from(TEXTS), st.text(max_size=300) | st.from_regex(r"[a-z0-9_.-]{1,64}", fullmatch=True))
@MORE
def test_the_patterns_for_re2_accept_what_ours_accept(field: fields.Field, text: str) -> None:
    assert (_python_of(field.re2).search(text) is not None and not text.endswith("\n")) == bool(
        field.regex.fullmatch(text)
    )


@pytest.mark.parametrize("field", TEXTS)
def test_the_patterns_keep_to_what_re2_knows(field: fields.Field) -> None:
    assert field.re2.startswith("^(?:")
    assert field.re2.endswith(")$")
    for unknown in (r"\u", "(?=", "(?!", "(?<", r"\Z", r"\d800"):
        assert unknown not in field.re2
    repeats = [int(most) for most in re.findall(r"\{[0-9]*,([0-9]+)\}", field.re2)]
    assert all(most <= 1000 for most in repeats)


@pytest.mark.parametrize("field", [field for field in FIELDS if field.kind != "tags"])
def test_the_example_of_each_field_is_a_value_of_it(field: fields.Field) -> None:
    if field.kind in ("string", "decimal"):
        assert field.regex.fullmatch(field.example)
    elif field.kind == "int":
        assert 0 <= int(field.example) <= field.maximum
    else:
        assert field.example in ("true", "false")


def test_keys_are_ours_and_differ() -> None:
    keys = [field.key for field in FIELDS]
    assert len(set(keys)) == len(keys)
    assert all(key.startswith(fields.PREFIX) for key in keys)
    assert {field.name for field in FIELDS} == set(Event._fields) - {"trace_id", "span_id", "timestamp_ns"}


@pytest.mark.parametrize(
    "character", ["\n", "\r", "\t", "\0", "\x7f", "\u200b", "\u202e", "\u2028", "\ufeff", "\ud800"]
)
def test_invisible_and_line_breaking_characters_are_in_no_free_text(character: str) -> None:
    text = f"a{character}b"
    made = event(entity_id=text, session_id=text, tags={"a": text}, model=text)
    assert (made.entity_id, made.session_id, made.tags, made.model) == (None, None, (), INVALID_MODEL)


@pytest.mark.parametrize("text", ["Müller & Söhne", "客户", "😀", " spaces inside ", "x" * 256])
def test_names_in_all_scripts_are(text: str) -> None:
    made = event(entity_id=text, session_id=text, tags={"a": text})
    assert (made.entity_id, made.session_id, made.tags) == (text, text, (("a", text),))


_WITH_A_CALL = (
    "trace_id",
    "span_id",
    "timestamp_ns",
    "latency_ms",
    "cost_usd",
    "cost_status",
    "time_to_first_token_ms",
)
_COUNTED = tuple(Usage._fields[:9])


@MORE
@given(kind=any_event(), call=st.fixed_dictionaries(dict.fromkeys((*_WITH_A_CALL, *_COUNTED), ANYTHING)))
def test_another_call_of_a_kind_is_the_event_that_all_its_values_would_make(kind: Event, call: dict[str, Any]) -> None:
    counts = [call[name] for name in _COUNTED]
    before = [call[name] for name in _WITH_A_CALL[:4]]
    again = kind.with_measurements(*before, *[call[name] for name in _WITH_A_CALL[4:]], counts)

    values = {name: value for name, value in kind._asdict().items() if name != "total_tokens"}
    assert again == Event(**{**values, **call})
    assert type(again) is Event
    assert_in_the_table(again)
