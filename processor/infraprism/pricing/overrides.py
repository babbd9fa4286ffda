"""The user's own prices: a JSON or YAML file that wins over the table.

prices:
  - provider: openai            # any spelling of a provider
    model: gpt-4o*              # the name as the call has it; * and ? as in file names
    rates: {input: "2.00", output: "8.00", cache_read: "1.00"}     # USD per million tokens, in quotes
    from: 2026-01-01            # all of these are optional: from, until, hours, days, not_on (see `rows`),
    tier: standard              # standard if not given
    region: westeurope          # only calls that say so
    deployment: my-prod
    source: our contract        # printed by `infraprism price`
  - provider: azure
    deployment: my-prod
    as: gpt-4o-2024-08-06       # priced like this model of the table
    factor: "1.1"               # times that much
  - provider: google            # a factor alone: like the table says, times that much
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
from infraprism.pricing.located import Located, UnreadableError, load
from infraprism.pricing.money import parse
from infraprism.pricing.rows import Row
from infraprism.schema.fields import SERVICE_TIERS

_WHICH: Final = frozenset({"provider", "model", "tier", "region", "deployment"})
_LIKE: Final = frozenset({"as", "factor", "source"})


class Override(NamedTuple):
    """One entry of the file: which calls, and either a row of rates or a model to be priced like."""

    provider: str
    model: re.Pattern[str]
    tier: str
    region: str | None
    deployment: str | None
    row: Row | None
    like: str | None
    """The model of the table whose prices are taken; "" is the one that the call names."""
    factor: str | None
    source: str

    def meant(self, provider: str, model: str, tier: str, region: str, deployment: str) -> bool:
        """Whether the entry is about such a call; names in lower case."""
        return (
            self.provider == provider
            and (self.tier == tier or self.like is not None)
            and self.model.fullmatch(model) is not None
            and self.region in (None, region)
            and self.deployment in (None, deployment)
        )


def read(path: Path) -> tuple[Override, ...]:
    """The entries of a file, in its order: the first that fits a call is the one that counts.

    Raises PricesFileError.
    """
    line = 1
    try:
        entries = []
        for entry in _listed(load(path)):
            line = entry.line
            entries.append(_entry(entry, path.name))
    except OSError as error:
        raise PricesFileError(f"{path}: {error.strerror or error}") from None
    except UnreadableError as error:
        raise PricesFileError(f"{path}, line {error.line}: {error}") from None
    except ValueError as error:
        raise PricesFileError(f"{path}, line {line}: {error}") from None
    return tuple(entries)


def _listed(content: Any) -> list[Located]:
    if not isinstance(content, Located) or not isinstance(content.get("prices"), list):
        raise UnreadableError(1, "it is a mapping with a list 'prices'")
    unknown = sorted(content.keys() - {"prices"})
    if unknown:
        raise UnreadableError(content.line, f"{unknown[0]!r} is not known here; only 'prices' is")
    for index, entry in enumerate(content["prices"]):
        if not isinstance(entry, Located):
            raise UnreadableError(content.line, f"entry {index + 1} of 'prices' is no mapping")
    return list(content["prices"])


def _entry(entry: Mapping[str, Any], file: str) -> Override:
    provider = _provider(entry.get("provider"))
    if "model" not in entry and "deployment" not in entry:
        raise ValueError("an entry needs 'model' or 'deployment'")
    tier = entry.get("tier", "standard")
    if tier not in SERVICE_TIERS:
        raise ValueError(f"'tier' is one of {', '.join(SERVICE_TIERS)}, not {tier!r}")
    source = f"{file}: {entry['source']}" if "source" in entry else file
    row = None
    like = None
    if "as" in entry or ("factor" in entry and "rates" not in entry):
        like = _text(entry, "as", "")
        unknown = sorted(entry.keys() - _WHICH - _LIKE)
        if unknown or "tier" in entry:
            raise ValueError(
                f"{(unknown or ['tier'])[0]!r} does not go with 'as' and 'factor', which take all of a model's prices"
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
        like=like,
        factor=_text(entry, "factor", "") or None,
        source=source,
    )


def _provider(spelling: Any) -> str:
    if not isinstance(spelling, str) or not spelling:
        raise ValueError("an entry needs 'provider', a text")
    # A provider that the table does not have is the user's own, and goes by the name that events carry.
    return names.provider_of(spelling) or spelling.lower()


def _factor(written: Any) -> None:
    if not isinstance(written, str):
        raise ValueError(f"'factor' is in quotes, such as '1.1', not {written!r}")  # noqa: TRY004 - the file is wrong
    parse(written, 1)


def _text(entry: Mapping[str, Any], key: str, absent: str) -> str:
    value = entry.get(key, absent)
    if not isinstance(value, str):
        raise ValueError(f"{key!r} is a text, in quotes if need be, not {value!r}")  # noqa: TRY004
    return value


def _lower(entry: Mapping[str, Any], key: str) -> str | None:
    return _text(entry, key, "").lower() if key in entry else None
