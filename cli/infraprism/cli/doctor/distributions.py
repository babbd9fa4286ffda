"""The packages that InfraPrism needs, and the versions with which it is tested."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Final, NamedTuple

from infraprism.cli.doctor.finding import Finding
from infraprism.instrumentation.instrumentor import release


class Tested(NamedTuple):
    """The tested versions of a package: from `oldest`, up to all versions that start with `newest`."""

    oldest: tuple[int, ...]
    newest: tuple[int, ...]


TESTED: Final = {
    "opentelemetry-api": Tested((1, 35), (1,)),
    "opentelemetry-sdk": Tested((1, 35), (1,)),
    "opentelemetry-instrumentation": Tested((0, 56), (0,)),
    "openai": Tested((1, 55, 3), (3,)),
    "anthropic": Tested((0, 41, 0), (2,)),
}
"""The tests run with the oldest client packages and the newest of everything."""

_REQUIRED: Final = (
    "infraprism-opentelemetry",
    "opentelemetry-api",
    "opentelemetry-sdk",
    "opentelemetry-instrumentation",
)
_OPTIONAL: Final = ("opentelemetry-distro",)


def version_of(package: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        found = version(package)
    except PackageNotFoundError:
        return None
    except Exception:  # noqa: BLE001 - a damaged installation can raise anything
        return None
    return found if isinstance(found, str) else None


def installed() -> Iterator[Finding]:
    """Whether the packages are there, in tested versions."""
    for package in (*_REQUIRED, *_OPTIONAL):
        found = version_of(package)
        if found is not None:
            yield untested(package, found) or Finding("ok", package, found)
        elif package in _REQUIRED:
            yield Finding("problem", package, "not installed", "pip install infraprism-opentelemetry")


def untested(package: str, found: str) -> Finding | None:
    """A finding if this version of the package is outside the tested range."""
    tested = TESTED.get(package)
    if tested is None or not release(found):
        return None
    oldest = ".".join(map(str, tested.oldest))
    newest = ".".join(map(str, tested.newest))
    after = ".".join(map(str, (*tested.newest[:-1], tested.newest[-1] + 1)))
    if release(found) < tested.oldest:
        advice = f"pip install '{package}>={oldest}'"
        return Finding("problem", package, f"{found} is older than the oldest tested version, {oldest}", advice)
    if release(found)[: len(tested.newest)] > tested.newest:
        advice = f"pip install '{package}<{after}', or check the events of this version with INFRAPRISM_PREVIEW=1."
        return Finding("warning", package, f"{found} is newer than the tested versions, up to {newest}.x", advice)
    return None
