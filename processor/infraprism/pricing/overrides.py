"""The user's own prices: a JSON or YAML file that has precedence over the table.

prices:
  - provider: openai            # any spelling of a provider
    model: gpt-4o*              # the name as the call has it; * and ? as in file names
    rates: {input: "2.00", output: "8.00", cache_read: "1.00"}     # USD per million tokens, in quotes
    from: 2026-01-01            # all of these are optional: from, until, hours, days, not_on (see `rows`),
    tier: standard              # standard if not given
    region: westeurope          # only calls of this region
    deployment: my-prod
    source: our contract        # printed by `infraprism price`
  - provider: azure
    deployment: my-prod
    as: gpt-4o-2024-08-06       # priced like this model of the table
    factor: "1.1"               # multiplied by this
  - provider: google            # a factor alone: the price of the table, multiplied
    model: claude-*
    factor: "1.1"
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import translate
from pathlib import Path
from typing import Any, Final, NamedTuple

from infraprism.pricing import names, rows
from infraprism.pricing.file_error import PricesFileError
from infraprism.pricing.money import parse
from infraprism.pricing.price_file import Section, UnreadableError, load, repeated_key
from infraprism.pricing.rows import Row
from infraprism.schema.fields import SERVICE_TIERS

_WHICH: Final = frozenset({"provider", "model", "tier", "region", "deployment"})
_DERIVATION: Final = frozenset({"as", "factor", "source"})


class Override(NamedTuple):
    """One entry of the file: the calls that it applies to, and either a row of rates or a model of the table."""

    provider: str
    model: re.Pattern[str]
    tier: str
    region: str | None
    deployment: str | None
    row: Row | None
    base_model: str | None
    """The model of the table that the price is derived from; "" is the model of the call."""
    factor: str | None
    source: str

    def applies(self, provider: str, model: str, tier: str, region: str, deployment: str) -> bool:
        """Whether the entry applies to such a call; names in lower case."""
        return (
            self.provider == provider
            and (self.tier == tier or self.base_model is not None)
            and self.model.fullmatch(model) is not None
            and self.region in (None, region)
            and self.deployment in (None, deployment)
        )


def read(path: Path) -> tuple[Override, ...]:
    """The entries of a file, in its order: the first that applies to a call counts.

    Raises PricesFileError.
    """
    entries: list[Override] = []
    try:
        listed = _listed(load(path))
    except OSError as error:
        raise PricesFileError(f"{path}: {error.strerror or error}") from None
    except UnreadableError as error:
        raise PricesFileError(f"{path}: {error}") from None
    for number, entry in enumerate(listed, start=1):
        try:
            entries.append(_entry(entry, path.name))
        except ValueError as error:
            raise PricesFileError(f"{path}, entry {number}: {error}") from None
    return tuple(entries)


def _listed(content: Any) -> list[Any]:
    if not isinstance(content, Section) or not isinstance(content.get("prices"), list):
        raise UnreadableError("it is not a mapping with a list 'prices'")
    unknown = sorted(content.keys() - {"prices"})
    if unknown:
        raise UnreadableError(f"{unknown[0]!r} is not known here; only 'prices' is")
    if content.repeated is not None:
        raise UnreadableError(f"{content.repeated!r} is given twice")
    return list(content["prices"])


def _entry(entry: Any, file: str) -> Override:
    if not isinstance(entry, Section):
        raise ValueError("it is not a mapping")  # noqa: TRY004 - the file is wrong, not the program
    repeated = repeated_key(entry)
    if repeated is not None:
        raise ValueError(f"{repeated!r} is given twice")
    provider = _provider(entry.get("provider"))
    if "model" not in entry and "deployment" not in entry:
        raise ValueError("an entry needs 'model' or 'deployment'")
    tier = entry.get("tier", "standard")
    if tier not in SERVICE_TIERS:
        raise ValueError(f"'tier' is one of {', '.join(SERVICE_TIERS)}, not {tier!r}")
    source = f"{file}: {entry['source']}" if "source" in entry else file
    row = None
    base_model = None
    if "as" in entry or ("factor" in entry and "rates" not in entry):
        base_model = _text(entry, "as", "")
        unknown = sorted(entry.keys() - _WHICH - _DERIVATION)
        if unknown or "tier" in entry:
            raise ValueError(
                f"{(unknown or ['tier'])[0]!r} cannot be combined with 'as' or 'factor', which apply to all prices"
            )
        if "factor" in entry:
            _factor(entry["factor"])
    else:
        written = {key: value for key, value in entry.items() if key not in _WHICH}
        row = rows.read(written | {"source": source})
    return Override(
        provider=provider,
        model=re.compile(translate(_text(entry, "model", "*").lower())),
        tier=tier,
        region=_lower(entry, "region"),
        deployment=_lower(entry, "deployment"),
        row=row,
        base_model=base_model,
        factor=_text(entry, "factor", "") or None,
        source=source,
    )


def _provider(spelling: Any) -> str:
    if not isinstance(spelling, str) or not spelling:
        raise ValueError("an entry needs 'provider', as text")
    return names.price_key(spelling)


def _factor(written: Any) -> None:
    if not isinstance(written, str):
        raise ValueError(f"'factor' is in quotes, such as '1.1', not {written!r}")  # noqa: TRY004 - the file is wrong
    parse(written, 1)


def _text(entry: Mapping[str, Any], key: str, absent: str) -> str:
    value = entry.get(key, absent)
    if not isinstance(value, str):
        raise ValueError(f"{key!r} is not text; put it in quotes: {value!r}")  # noqa: TRY004
    return value


def _lower(entry: Mapping[str, Any], key: str) -> str | None:
    return _text(entry, key, "").lower() if key in entry else None
