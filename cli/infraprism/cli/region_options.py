"""The options of regions."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import Final

from infraprism.backend.regions.regions import RegionsError, parsed
from infraprism.cli.failure import Failure

_REGION: Final = "INFRAPRISM_REGION"
_REGIONS: Final = "INFRAPRISM_REGIONS"


def add_region(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Add the option of one region."""
    parser.add_argument("--region", metavar="NAME", help=f"{meaning} (default: {_REGION}, or none)")


def add_regions(parser: argparse.ArgumentParser) -> None:
    """Add the options of a server."""
    add_region(parser, "the region of this server, such as us or eu: it serves the accounts of this region only")
    parser.add_argument(
        "--regions",
        metavar="NAME=URL,...",
        help=f"where the servers of all regions are, for accounts of other regions (default: {_REGIONS})",
    )


def region(args: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> str | None:
    """The region, or None."""
    return args.region or environment.get(_REGION, "").strip() or None


def regions(args: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The URLs of the regions. Raises Failure."""
    try:
        return parsed(args.regions if args.regions is not None else environment.get(_REGIONS, ""))
    except RegionsError as error:
        raise Failure(f"--regions or {_REGIONS}: {error}") from None
