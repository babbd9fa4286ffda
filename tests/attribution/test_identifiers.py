"""Identifiers and tags: integers of any type, zero-width joiners, upper-case keys; invalid tags are left out alone."""

from __future__ import annotations

import enum
import logging
from typing import Any
from uuid import UUID

import pytest
from opentelemetry.sdk.resources import Resource
from tests.kit.events import event
from tests.kit.spans import ended

from infraprism.attribution import scope as attribution_scope
from infraprism.attribution.scope import NOTHING, attribution, current_attribution
from infraprism.dialects.guards import IDENTIFIER
from infraprism.processor import to_event
from infraprism.processor.conversion import resource_attribution
from infraprism.schema.event import Event

EMOJI = "\N{WOMAN}\u200d\N{PERSONAL COMPUTER}"
WORD = "\u0928\u092e\u0938\u094d\u200c\u0924\u0947"


class Tenant(enum.IntEnum):
    ACME = 7


class Plan(enum.StrEnum):
    PRO = "pro"


class Index:
    """An integer type of another package, such as numpy.int64."""

    def __index__(self) -> int:
        return 12


class Broken:
    def __index__(self) -> int:
        raise RuntimeError("CANARY")


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(attribution_scope, "warned", set())
    caplog.set_level(logging.WARNING, logger="infraprism.attribution")
    return caplog


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Tenant.ACME, "7"),
        (Plan.PRO, "pro"),
        (Index(), "12"),
        (-3, "-3"),
        (UUID(int=1), str(UUID(int=1))),
        (EMOJI, EMOJI),
        (WORD, WORD),
    ],
)
def test_integers_of_any_type_and_text_with_joiners_are_identifiers_and_tag_values(value: Any, text: str) -> None:
    with attribution(customer=value, session_id=value, tags={"key": value}):
        assert current_attribution() == {"customer": text, "session_id": text, "tags": {"key": text}}


def test_integers_of_numpy_are_identifiers() -> None:
    numpy = pytest.importorskip("numpy")
    with attribution(customer=numpy.int64(5), session_id=numpy.uint8(6), tags={"key": numpy.array([1, 2])}):
        assert current_attribution() == {"customer": "5", "session_id": "6"}


@pytest.mark.parametrize(
    "value",
    [True, False, 1.0, b"a", Broken(), pytest.param(10**5000, id="huge"), "\u200b", "a\u200eb", "a\u2060b", "a\nb"],
)
def test_other_values_are_left_out(value: Any, warnings: pytest.LogCaptureFixture) -> None:
    with attribution(customer=value, tags={"key": value}) as active:
        assert active == NOTHING
    assert "CANARY" not in warnings.text


@pytest.mark.parametrize("text", [EMOJI, WORD])
def test_the_event_and_the_guard_accept_what_the_attribution_accepts(text: str) -> None:
    made: Event = event(entity_type="customer", entity_id=text, session_id=text, tags={"key": text})
    assert (made.entity_id, made.session_id, made.tags) == (text, text, (("key", text),))
    assert IDENTIFIER.accepts(text)
    assert not IDENTIFIER.accepts(text + "\u200b")


def test_upper_case_tag_keys_are_folded_and_a_lower_case_key_takes_precedence() -> None:
    with attribution(tags={"Team": "outer", "env": "prod"}), attribution(tags={"TEAM": "x", "team": "y", "Team": "z"}):
        assert current_attribution() == {"tags": {"env": "prod", "team": "y"}}


def test_an_invalid_tag_is_left_out_alone_and_logged_by_its_key(warnings: pytest.LogCaptureFixture) -> None:
    tags: dict[str, Any] = {"good": "1", "broken": "CANARY\n", "flag": True, "_key": "x", "CANARY key": "CANARY"}
    for _ in range(2):
        with attribution(customer="acme", tags=tags):
            assert current_attribution() == {"customer": "acme", "tags": {"good": "1"}}
    assert [record.args[0] for record in warnings.records if isinstance(record.args, tuple)] == [
        "tag 'broken'",
        "tag 'flag'",
        "tag '_key'",
        "tags",
    ]
    assert "CANARY" not in warnings.text


def test_the_lines_about_tag_keys_are_bounded(warnings: pytest.LogCaptureFixture) -> None:
    for number in range(300):
        attribution(tags={f"_{number}": "x"})
    assert len(warnings.records) == 100


def test_resource_and_span_attributes_have_the_same_rules(warnings: pytest.LogCaptureFixture) -> None:
    attributes: dict[str, Any] = {
        "infraprism.entity_type": "customer",
        "infraprism.entity_id": EMOJI,
        "infraprism.session_id": 12,
        "infraprism.tags.Team": WORD,
        "infraprism.tags.broken": "CANARY\n",
    }
    expected = ("customer", EMOJI, "12", (("team", WORD),))
    assert resource_attribution(Resource(attributes)) == expected
    made = to_event(ended({"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", **attributes}))
    assert made is not None
    assert (made.entity_type, made.entity_id, made.session_id, made.tags) == expected
    assert "CANARY" not in warnings.text


def test_the_carried_attribution_is_the_same_attribution() -> None:
    with attribution(team="search", session_id="s", tags={"a": "1"}) as active:
        carried = current_attribution()
    with attribution(**carried) as again:
        assert again == active
    assert current_attribution() == {}
