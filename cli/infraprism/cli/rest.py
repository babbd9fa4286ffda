"""Client of the REST API of the backend, with exact decimals."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

import requests

from infraprism.cli import exact_json
from infraprism.cli.failure import Failure
from infraprism.schema.settings import KEY_PREFIX, NOT_A_KEY

DEFAULT_ENDPOINT: Final = "http://localhost:4318"
PAGE: Final = 1000
_TIMEOUT_S: Final = (5.0, 60.0)
_OK: Final = 200
_UNAUTHORIZED: Final = 401


class Api:
    """Reads from one backend.

    Endpoint and key default to INFRAPRISM_ENDPOINT and INFRAPRISM_API_KEY. Every method raises Failure. Its message
    contains neither the key nor a text of the backend, except the message of its error response.
    """

    def __init__(self, endpoint: str | None = None, api_key: str | None = None) -> None:
        url = endpoint or os.environ.get("INFRAPRISM_ENDPOINT", "").strip() or DEFAULT_ENDPOINT
        self.endpoint = url.rstrip("/").removesuffix("/v1/traces")
        self._key = (api_key or os.environ.get("INFRAPRISM_API_KEY", "")).strip()
        self._session = requests.Session()

    def get(self, path: str, parameters: Mapping[str, str | int] | None = None) -> Any:
        """The parsed JSON of `path`; numbers with a decimal point are Decimal."""
        if not self._key:
            raise Failure("set INFRAPRISM_API_KEY to the key of your account; `infraprism serve` prints it")
        if not self._key.startswith(KEY_PREFIX):
            raise Failure(f"INFRAPRISM_API_KEY {NOT_A_KEY}")
        response = self._response(path, parameters, {"Authorization": f"Bearer {self._key}"})
        if response.status_code == _UNAUTHORIZED:
            raise Failure(f"{self.endpoint} rejects the key: check INFRAPRISM_API_KEY")
        if response.status_code != _OK:
            raise Failure(f"{self.endpoint} responds with {response.status_code}{_reason(response)}")
        return _decoded(response, self.endpoint)

    def is_healthy(self) -> bool:
        """Whether the backend is healthy. Needs no key. Raises Failure if it does not respond."""
        return self._response("/healthz", None, {}).status_code == _OK

    def all_events(self, parameters: Mapping[str, str | int]) -> Iterator[dict[str, Any]]:
        """Every event, newest first, page by page."""
        query: dict[str, str | int] = {"limit": PAGE, **parameters}
        while True:
            page = self.get("/v1/events", query)
            yield from page["data"]
            cursor = page["pagination"].get("next_cursor")
            if not cursor:
                return
            query["cursor"] = cursor

    def _response(
        self, path: str, parameters: Mapping[str, str | int] | None, headers: Mapping[str, str]
    ) -> requests.Response:
        try:
            return self._session.get(
                self.endpoint + path, params=parameters, headers=headers, timeout=_TIMEOUT_S, allow_redirects=False
            )
        except requests.exceptions.Timeout:
            raise Failure(f"{self.endpoint} does not respond in time: check INFRAPRISM_ENDPOINT") from None
        except requests.exceptions.ConnectionError:
            raise Failure(
                f"nothing listens at {self.endpoint}: start `infraprism serve`, or set INFRAPRISM_ENDPOINT"
            ) from None
        except (requests.exceptions.RequestException, ValueError):
            raise Failure("INFRAPRISM_ENDPOINT is not a URL such as http://localhost:4318") from None


def _decoded(response: requests.Response, endpoint: str) -> Any:
    try:
        return exact_json.loads(response.content)
    except ValueError:
        raise Failure(f"{endpoint} is not an InfraPrism backend: check INFRAPRISM_ENDPOINT") from None


def _reason(response: requests.Response) -> str:
    try:
        message = response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return ""
    return f": {message}" if isinstance(message, str) else ""
