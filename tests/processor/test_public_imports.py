"""The public import paths of `infraprism.processor` and the attribution API."""

from __future__ import annotations

import importlib

import pytest
from tests.kit.spans import KeepsEvents

from infraprism.processor import DeliveryStats, InfraPrismSpanProcessor

PUBLIC = {
    "infraprism.processor": (
        "AttributionRecorder",
        "ContentFreeSpanExporter",
        "DeliveryStats",
        "EventExporter",
        "InfraPrismSpanProcessor",
        "Usage",
        "event_span",
        "to_event",
    ),
    "infraprism.instrumentation": ("attribution",),
}


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in PUBLIC.items() for name in names])
def test_a_public_name_can_be_imported_and_is_exported(module: str, name: str) -> None:
    imported = importlib.import_module(module)
    assert callable(getattr(imported, name))
    assert name in imported.__all__


def test_the_processor_package_exports_no_other_name() -> None:
    assert set(importlib.import_module("infraprism.processor").__all__) == set(PUBLIC["infraprism.processor"])


def test_an_unknown_name_raises_attribute_error() -> None:
    processor = importlib.import_module("infraprism.processor")
    with pytest.raises(AttributeError):
        _ = processor.NoSuchName


def test_tally_is_the_former_name_of_delivery_stats() -> None:
    processor = InfraPrismSpanProcessor(KeepsEvents())
    assert processor.tally is processor.delivery_stats
    with pytest.raises(AttributeError):
        processor.tally = DeliveryStats()  # type: ignore[misc]
    processor.shutdown()
