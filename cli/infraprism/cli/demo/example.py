"""The path of the example app: in the repository, or next to this module in an installed wheel."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from infraprism.cli.failure import Failure

NAME: Final = "support_desk.py"
_PATHS: Final = (
    Path(__file__).parent / "examples" / NAME,
    Path(__file__).parents[4] / "examples" / NAME,
)


def example_app() -> Path:
    """The path of the app. Raises Failure if it or a package that it needs is missing."""
    missing = [package for package in ("openai", "anthropic") if find_spec(package) is None]
    if missing:
        raise Failure(f"the demo needs the client packages of the vendors: pip install {' '.join(missing)}")
    found = next((path for path in _PATHS if path.is_file()), None)
    if found is None:
        raise Failure(f"{NAME} is missing from this installation: install infraprism-opentelemetry again")
    return found
