"""The compiled price table: one file per provider in `data/`, read when a price of that provider is first needed.

`scripts/prices/compile.py` makes the files; `make prices` runs it. A file is `{"id", "models": [...], "premiums":
[...]}`; a model is `{"id", "match": {"is": [...], "re": [...]}, "rows": {tier: [row, ...]}, "source"}`. The first model
that matches a name is the one. Rows are described in `rows`.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from infraprism.pricing import rows
from infraprism.pricing.names import alphanumeric
from infraprism.pricing.rows import Row

DATA: Final = Path(__file__).parent / "data"
ABOUT: Final = "about.json"
SUFFIX_MARK: Final = "{suffix}"
_SUFFIX: Final = (
    r"(?:[-@](?:latest|preview|exp|beta|default|20\d{6}|20\d{2}-\d{2}-\d{2}|\d{2}-\d{2}|\d{2}-20\d{2}|\d{3,4}|v\d+))*"
    r"(?::\d+)?(?::\d+k)?"
)
"""What may follow the beginning of a name: dates, versions, and words that do not change the price."""

UNKNOWN_FACTOR: Final = "unknown"


class Premium(NamedTuple):
    """A provider's surcharge on all token rates, by the region or kind of a deployment.

    `factor` is a number such as "1.1", or "unknown" where the deployment is not billed by tokens or has no known rate.
    """

    models: re.Pattern[str]
    region: re.Pattern[str] | None
    deployment: re.Pattern[str] | None
    factor: str
    source: str

    def applies(self, model_id: str, region: str, deployment: str) -> bool:
        """Whether the surcharge applies; region and deployment in lower case without punctuation."""
        return (
            self.models.fullmatch(model_id) is not None
            and (self.region is None or self.region.fullmatch(region) is not None)
            and (self.deployment is None or self.deployment.fullmatch(deployment) is not None)
        )


class Model(NamedTuple):
    """One model of the table: its id there, and its rows by service tier."""

    provider: str
    id: str
    rows: Mapping[str, list[dict[str, Any]]]
    source: str

    def tier(self, tier: str) -> tuple[Row, ...] | None:
        """The rows of a tier, or None if the model has no price in it."""
        written = self.rows.get(tier)
        return None if written is None else tuple(rows.read(row, self.source) for row in written)


class Provider:
    """The models of one provider, found by name."""

    def __init__(self, data: Mapping[str, Any], source: str) -> None:
        self.id: str = data["id"]
        self._models = [
            Model(self.id, model["id"], model["rows"], model.get("source", source)) for model in data["models"]
        ]
        self._regions = {model.id.partition("/")[0] for model in self._models if model.id.partition("/")[1]}
        self._exact: dict[str, int] = {}
        patterns: list[str] = []
        self._by_group: list[int] = []
        for index, model in enumerate(data["models"]):
            for name in model["match"].get("is", ()):
                self._exact.setdefault(name, index)
            for pattern in model["match"].get("re", ()):
                patterns.append(f"({pattern.replace(SUFFIX_MARK, _SUFFIX)})\\Z")
                self._by_group.append(index)
        self._patterns = re.compile("|".join(patterns)) if patterns else None
        self.premiums = [
            Premium(
                re.compile(premium["models"]),
                re.compile(premium["region"]) if "region" in premium else None,
                re.compile(premium["deployment"]) if "deployment" in premium else None,
                premium["factor"],
                premium["source"],
            )
            for premium in data.get("premiums", ())
        ]

    def premium(self, model: Model, region: str, deployment: str) -> Premium | None:
        """The first surcharge that applies to a model in that region and deployment."""
        where = alphanumeric(region), alphanumeric(deployment)
        return next((premium for premium in self.premiums if premium.applies(model.id, *where)), None)

    def find(self, name: str) -> Model | None:
        """The first model that matches a name in lower case."""
        index = self._exact.get(name)
        found = self._patterns.match(name) if self._patterns else None
        if found is not None and found.lastindex is not None:
            by_pattern = self._by_group[found.lastindex - 1]
            index = by_pattern if index is None else min(index, by_pattern)
        return None if index is None else self._models[index]

    def find_in(self, region: str, name: str) -> Model | None:
        """The same for a call in a region: the model `<region>/...` if the table has one, which has its own rates."""
        if region in self._regions:
            found = self.find(f"{region}/{name}")
            if found is not None and found.id.startswith(f"{region}/"):
                return found
        return self.find(name)

    def __iter__(self) -> Any:
        return iter(self._models)


@cache
def about() -> Mapping[str, Any]:
    """The origin of the table: `version`, `package`, `package_version`, `licence`, `sha256`, `providers`."""
    loaded: Mapping[str, Any] = json.loads((DATA / ABOUT).read_text("utf-8"))
    return loaded


def provider(provider_id: str) -> Provider | None:
    """One provider of the table; None if the table does not have it."""
    return _loaded(provider_id) if provider_id in _known() else None


@cache
def _known() -> frozenset[str]:
    return frozenset(about()["providers"])


@cache
def _loaded(provider_id: str) -> Provider:
    source = f"{about()['package']} {about()['package_version']}"
    return Provider(json.loads((DATA / f"{provider_id}.json").read_text("utf-8")), source)
