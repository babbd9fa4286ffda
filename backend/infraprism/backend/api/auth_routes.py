"""The routes under /auth/: setup, invitations, logins and passwords. They use a cookie; /v1/ accepts keys only."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field

from infraprism.backend.accounts import Member
from infraprism.backend.accounts.links import LIFETIME_S
from infraprism.backend.accounts.logins import Logins, NewSession
from infraprism.backend.accounts.people import MAX_EMAIL, MAX_NAME
from infraprism.backend.accounts.sessions import Session
from infraprism.backend.api.account_routes import member_fields
from infraprism.backend.api.client_address import ClientAddresses
from infraprism.backend.api.errors import ApiError
from infraprism.backend.api.login_pool import LoginPool
from infraprism.backend.api.session_cookie import SessionCookie

_MAX_TEXT: Final = 1024
_HEADERS: Final = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
Email = Annotated[str, Field(max_length=MAX_EMAIL)]
Password = Annotated[str, Field(max_length=_MAX_TEXT)]
Token = Annotated[str, Field(max_length=_MAX_TEXT)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]


class _Body(BaseModel):
    # A message of an error never contains the password.
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class SetupBody(_Body):
    """The first owner."""

    token: Token
    email: Email
    name: Name
    password: Password
    company: Name | None = None


class LoginBody(_Body):
    """An email and a password."""

    email: Email
    password: Password


class TokenBody(_Body):
    """The token of a link."""

    token: Token


class EmailBody(_Body):
    """An email."""

    email: Email


class ResetBody(_Body):
    """The token of a link and a new password."""

    token: Token
    password: Password


class InvitationBody(ResetBody):
    """The token of an invitation, a password, and the name if the one of the invitation is not kept."""

    name: Name | None = None


class PasswordBody(_Body):
    """The password and a new one."""

    password: Password
    new_password: Password


class AuthRoutes:
    """What the handlers need."""

    def __init__(self, logins: Logins, pool: LoginPool, cookie: SessionCookie, addresses: ClientAddresses) -> None:
        self.logins = logins
        self.pool = pool
        self.cookie = cookie
        self.addresses = addresses

    def opened(self, request: Request, session: NewSession, status: int = 200) -> Response:
        """The response with the cookie of a new session."""
        response = JSONResponse({"member": _described(session.member)}, status, _HEADERS)
        self.cookie.set(request, response, session.token)
        return response

    def current(self, request: Request) -> tuple[Session, Member]:
        """The session of a request. Raises ApiError."""
        token = self.cookie.token(request)
        found = self.logins.sessions.find(token) if token else None
        if found is None:
            raise ApiError(401, "unauthenticated", "log in first: POST /auth/login")
        return found


def add_auth_routes(app: FastAPI, routes: AuthRoutes) -> None:
    """Add the routes. They serve the pages of this server: docs/accounts.md lists them, not the OpenAPI document."""
    router = APIRouter(include_in_schema=False)
    checked = [Depends(routes.cookie.check_origin)]
    logins, pool, cookie = routes.logins, routes.pool, routes.cookie

    @router.post("/auth/setup", status_code=201, dependencies=checked)
    async def setup(request: Request, body: SetupBody) -> Response:
        """Create an owner with a setup link, and log in."""
        replaces = cookie.token(request)
        return routes.opened(request, await pool.run(lambda: logins.setup(**body.model_dump(), replaces=replaces)), 201)

    @router.post("/auth/accept-invitation", status_code=201, dependencies=checked)
    async def accept_invitation(request: Request, body: InvitationBody) -> Response:
        """Set the first password with an invitation, and log in."""
        replaces = cookie.token(request)
        session = await pool.run(lambda: logins.accept_invitation(**body.model_dump(), replaces=replaces))
        return routes.opened(request, session, 201)

    @router.post("/auth/login", dependencies=checked)
    async def login(request: Request, body: LoginBody) -> Response:
        """Log in. The session of the cookie ends, and a new one begins."""
        address, replaces = routes.addresses.of(request), cookie.token(request)
        session = await pool.run(
            lambda: logins.login(email=body.email, password=body.password, client_address=address, replaces=replaces)
        )
        return routes.opened(request, session)

    @router.post("/auth/verify-email", status_code=204, dependencies=checked)
    async def verify_email(body: TokenBody) -> Response:
        """Record that the email of a member is correct, with a link that was mailed."""
        await pool.run(lambda: logins.verify_email(body.token))
        return Response(status_code=204, headers=_HEADERS)

    @router.post("/auth/request-password-reset", status_code=202, dependencies=checked)
    async def request_password_reset(request: Request, body: EmailBody) -> Response:
        """Mail a link, if a member has the email. The response is the same for every email."""
        address = routes.addresses.of(request)
        logins.request_password_reset(body.email, address)
        return JSONResponse({}, 202, _HEADERS)

    @router.post("/auth/reset-password", status_code=204, dependencies=checked)
    async def reset_password(request: Request, body: ResetBody) -> Response:
        """Set a password with a link. All sessions of the member end."""
        await pool.run(lambda: logins.reset_password(body.token, body.password))
        response = Response(status_code=204, headers=_HEADERS)
        cookie.delete(request, response)
        return response

    _add_session_routes(router, routes, checked)
    _add_page_of_a_link(router)  # last: its path also matches others
    app.include_router(router)


def _add_session_routes(router: APIRouter, routes: AuthRoutes, checked: list[Any]) -> None:
    logins, cookie, pool = routes.logins, routes.cookie, routes.pool

    @router.post("/auth/logout", status_code=204, dependencies=checked)
    async def logout(request: Request) -> Response:
        """End the session of the cookie."""
        token = cookie.token(request)
        if token:
            await pool.run(lambda: logins.logout(token))
        response = Response(status_code=204, headers=_HEADERS)
        cookie.delete(request, response)
        return response

    @router.post("/auth/change-password", dependencies=checked)
    async def change_password(request: Request, body: PasswordBody) -> Response:
        """Change the password of the logged-in member. All sessions end, and a new one begins."""

        def change() -> NewSession:
            _, member = routes.current(request)
            return logins.change_password(member, password=body.password, new_password=body.new_password)

        return routes.opened(request, await pool.run(change))

    @router.get("/auth/sessions/current")
    def get_session(request: Request) -> Response:
        """The logged-in member."""
        session, member = routes.current(request)
        return JSONResponse({"session": session._asdict(), "member": _described(member)}, 200, _HEADERS)

    @router.get("/auth/sessions")
    def list_sessions(request: Request) -> Response:
        """The sessions of the logged-in member, oldest first."""
        session, member = routes.current(request)
        listed = [{**one._asdict(), "is_current": one.id == session.id} for one in logins.sessions.all(member.id)]
        return JSONResponse({"data": listed}, 200, _HEADERS)

    @router.delete("/auth/sessions/{session_id}", status_code=204, dependencies=checked)
    def revoke_session(request: Request, session_id: str) -> Response:
        """End a session of the logged-in member."""
        _, member = routes.current(request)
        logins.revoke_session(member, session_id)
        return Response(status_code=204, headers=_HEADERS)

    @router.delete("/auth/sessions", status_code=204, dependencies=checked)
    def revoke_all_sessions(request: Request) -> Response:
        """End all sessions of the logged-in member."""
        _, member = routes.current(request)
        logins.revoke_session(member)
        response = Response(status_code=204, headers=_HEADERS)
        cookie.delete(request, response)
        return response


def _add_page_of_a_link(router: APIRouter) -> None:
    @router.get("/auth/{kind}")
    def explain(kind: str) -> Response:
        """What a link of a kind is for. It is not used by this request."""
        if kind not in LIFETIME_S:
            raise ApiError(404, "not_found", "no such path: the paths are listed in docs/api.md")
        text = f"Send the token of this link as JSON with POST /auth/{kind}: see docs/accounts.md.\n"
        return PlainTextResponse(text, headers=_HEADERS)


def _described(member: Member) -> dict[str, Any]:
    return {**member_fields(member), "account_id": member.account_id}
