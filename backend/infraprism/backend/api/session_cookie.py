"""The cookie of a session, and the check that a request comes from a page of this server."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from infraprism.backend.accounts.accounts import only_header
from infraprism.backend.accounts.sessions import LIFETIME_S
from infraprism.backend.api.errors import ApiError

_SECURE_NAME: Final = "__Host-infraprism"
_LOOPBACK_NAME: Final = "infraprism"
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_JSON: Final = "application/json"
_SAME_SITE: Final = frozenset({"same-origin", "none"})


class SessionCookie:
    """Reads and sets the cookie. `base_url` is where browsers reach the server.

    The cookie is Secure, except on plain HTTP to a loopback address: without TLS only that can be reached.
    """

    def __init__(self, base_url: str = "") -> None:
        parts = urlsplit(base_url)
        self._origin = f"{parts.scheme}://{parts.netloc}".lower() if parts.netloc else ""

    def token(self, request: Request) -> str | None:
        """The token of the session of a request."""
        return request.cookies.get(self._name(request)) or None

    def set(self, request: Request, response: Response, token: str) -> None:
        """Send the cookie."""
        response.set_cookie(
            self._name(request),
            token,
            max_age=LIFETIME_S,
            path="/",
            secure=self._is_secure(request),
            httponly=True,
            samesite="lax",
        )

    def delete(self, request: Request, response: Response) -> None:
        """Remove the cookie."""
        response.delete_cookie(
            self._name(request), path="/", secure=self._is_secure(request), httponly=True, samesite="lax"
        )

    def check_origin(self, request: Request) -> None:
        """Refuse a request of a page of another site, and a body that a form of another site can send.

        Raises ApiError.
        """
        headers = request.headers
        is_own = self._is_own(headers.getlist("origin"), request)
        if not is_own or headers.get("sec-fetch-site", "none") not in _SAME_SITE:
            raise ApiError(403, "forbidden", "the request comes from a page of another site")
        if request.method == "POST" and headers.get("content-type", "").partition(";")[0].strip().lower() != _JSON:
            raise ApiError(415, "unsupported_media_type", f"send content-type {_JSON}")

    def _is_own(self, origins: list[str], request: Request) -> bool:
        """Whether the header Origin is absent, as from a program, or names this server."""
        if not origins:
            return True
        origin, host = (only_header(origins) or "").lower(), self._host(request)
        own = {self._origin, f"https://{host}"} - {""}
        if _is_loopback(host):
            own.add(f"http://{host}")
        return bool(host) and origin in own

    def _name(self, request: Request) -> str:
        return _SECURE_NAME if self._is_secure(request) else _LOOPBACK_NAME

    def _is_secure(self, request: Request) -> bool:
        is_plain = request.url.scheme == "http" and not self._origin.startswith("https:")
        return not (is_plain and _is_loopback(self._host(request)))

    @staticmethod
    def _host(request: Request) -> str:
        return (only_header(request.headers.getlist("host")) or "").lower()


def _is_loopback(host: str) -> bool:
    try:
        return urlsplit(f"//{host}").hostname in _LOOPBACK
    except ValueError:
        return False
