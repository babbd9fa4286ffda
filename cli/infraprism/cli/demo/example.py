"""Where the example app is: in a checkout, or beside this module in an installed wheel."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from infraprism.cli.failure import Failure

NAME: Final = "support_desk.py"
_PLACES: Final = (
    Path(__file__).parent / "examples" / NAME,
    Path(__file__).parents[4] / "examples" / NAME,
)


def example_app() -> Path:
    """The path of the app; raises Failure if it, or what it needs, is missing."""
    missing = [package for package in ("openai", "anthropic") if find_spec(package) is None]
    if missing:
        raise Failure(f"the demo runs the vendors' own packages: pip install {' '.join(missing)}")
    found = next((place for place in _PLACES if place.is_file()), None)
    if found is None:
        raise Failure(f"{NAME} is missing from this installation: install infraprism-opentelemetry again")
    return found
