"""The REST API of the backend, with every decimal exact."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

import requests

from infraprism.cli import exact_json
from infraprism.cli.failure import Failure

DEFAULT_ENDPOINT: Final = "http://localhost:4318"
PAGE: Final = 1000
_TIMEOUT_S: Final = (5.0, 60.0)
_OK: Final = 200
_UNAUTHORIZED: Final = 401


class Api:
    """Reads from one backend.

    Endpoint and key default to INFRAPRISM_ENDPOINT and INFRAPRISM_API_KEY. Every method raises Failure, in words
    that hold neither the key nor anything else the backend did not mean to be shown.
    """

    def __init__(self, endpoint: str | None = None, api_key: str | None = None) -> None:
        given = endpoint or os.environ.get("INFRAPRISM_ENDPOINT", "").strip() or DEFAULT_ENDPOINT
        self.endpoint = given.rstrip("/").removesuffix("/v1/traces")
        self._key = (api_key or os.environ.get("INFRAPRISM_API_KEY", "")).strip()
        self._session = requests.Session()

    def get(self, path: str, parameters: Mapping[str, str | int] | None = None) -> Any:
        """The JSON of `path`, numbers with a point as Decimal."""
        if not self._key:
            raise Failure("set INFRAPRISM_API_KEY to the key of your account; `infraprism serve` prints it")
        answer = self._answer(path, parameters, {"Authorization": f"Bearer {self._key}"})
        if answer.status_code == _UNAUTHORIZED:
            raise Failure(f"{self.endpoint} refuses the key: check INFRAPRISM_API_KEY")
        if answer.status_code != _OK:
            raise Failure(f"{self.endpoint} answers {answer.status_code}{_reason(answer)}")
        return _decoded(answer, self.endpoint)

    def is_healthy(self) -> bool:
        """Whether the backend answers; needs no key. Raises Failure where nothing answers at all."""
        return self._answer("/healthz", None, {}).status_code == _OK

    def all_events(self, parameters: Mapping[str, str | int]) -> Iterator[dict[str, Any]]:
        """Every event, newest first, page by page."""
        asked: dict[str, str | int] = {"limit": PAGE, **parameters}
        while True:
            page = self.get("/v1/events", asked)
            yield from page["data"]
            cursor = page["pagination"].get("next_cursor")
            if not cursor:
                return
            asked["cursor"] = cursor

    def _answer(
        self, path: str, parameters: Mapping[str, str | int] | None, headers: Mapping[str, str]
    ) -> requests.Response:
        try:
            return self._session.get(
                self.endpoint + path, params=parameters, headers=headers, timeout=_TIMEOUT_S, allow_redirects=False
            )
        except requests.exceptions.Timeout:
            raise Failure(f"{self.endpoint} does not answer in time: check INFRAPRISM_ENDPOINT") from None
        except requests.exceptions.ConnectionError:
            raise Failure(
                f"nothing answers at {self.endpoint}: start `infraprism serve`, or set INFRAPRISM_ENDPOINT"
            ) from None
        except (requests.exceptions.RequestException, ValueError):
            raise Failure("INFRAPRISM_ENDPOINT is no URL such as http://localhost:4318") from None


def _decoded(answer: requests.Response, endpoint: str) -> Any:
    try:
        return exact_json.loads(answer.content)
    except ValueError:
        raise Failure(f"{endpoint} is no InfraPrism backend: check INFRAPRISM_ENDPOINT") from None


def _reason(answer: requests.Response) -> str:
    try:
        message = answer.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return ""
    return f": {message}" if isinstance(message, str) else ""
