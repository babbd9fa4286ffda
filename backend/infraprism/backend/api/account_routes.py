"""The routes of the account, its members and its keys."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from infraprism.backend.accounts import Account, Accounts, Key, Member
from infraprism.backend.accounts.keys import MAX_OVERLAP_S, Keys
from infraprism.backend.accounts.logins import Logins
from infraprism.backend.accounts.organisations import Organisations
from infraprism.backend.accounts.people import MAX_EMAIL, MAX_NAME
from infraprism.backend.accounts.permissions import DEFAULT_SCOPES, OWNER, Role, Scope
from infraprism.backend.api.authentication import AdminCaller, ByKey, Caller
from infraprism.backend.api.openapi import responses
from infraprism.backend.audit.audit_log import AuditLog

_TEXT: Final[dict[str, Any]] = {"type": "string"}
_MAYBE_TEXT: Final[dict[str, Any]] = {"type": ["string", "null"]}
_MAYBE_COUNT: Final[dict[str, Any]] = {"type": ["integer", "null"]}
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _list(row: dict[str, Any]) -> dict[str, Any]:
    return _object(data={"type": "array", "items": row})


ACCOUNT: Final = _object(
    **dict.fromkeys(("id", "plan", "time_zone", "created_at"), _TEXT),
    company=_MAYBE_TEXT,
    usage_detail={"type": "boolean"},
    requests_per_minute=_MAYBE_COUNT,
    retention_days=_MAYBE_COUNT,
)
MEMBER: Final = _object(
    **dict.fromkeys(("id", "email", "role", "status"), _TEXT), name=_MAYBE_TEXT, email_verified_at=_MAYBE_TEXT
)
KEY: Final = _object(
    **dict.fromkeys(("id", "prefix", "created_at"), _TEXT),
    **dict.fromkeys(("name", "last_used_on", "expires_at", "revoked_at"), _MAYBE_TEXT),
    scopes={"type": "array", "items": _TEXT},
)
NEW_KEY: Final = _object(**KEY["properties"], key=_TEXT)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AccountChange(_Body):
    """The settings to change. A company of null removes it."""

    company: Name | None = None
    time_zone: Annotated[str, Field(max_length=64)] = "UTC"
    usage_detail: StrictBool = False


class NewMember(_Body):
    """A member to invite."""

    email: Annotated[str, Field(max_length=MAX_EMAIL)]
    name: Name | None = None
    role: Role


class MemberChange(_Body):
    """What to change of a member."""

    name: Name | None = None
    role: Role | None = None


class NewKey(_Body):
    """A key to create."""

    name: Name | None = None
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=3)] = list(DEFAULT_SCOPES)


class KeyChange(_Body):
    """The new name of a key."""

    name: Name


class Rotation(_Body):
    """How long the old key stays valid."""

    overlap_s: Annotated[int, Field(ge=0, le=MAX_OVERLAP_S)] = 0


def add_account_routes(app: FastAPI, accounts: Accounts, logins: Logins) -> None:
    """Add the routes."""
    organisations = Organisations(accounts, AuditLog(accounts.database, accounts.clock))
    members = logins.members

    @app.get("/v1/me")
    def me(account: Caller) -> dict[str, str | bool | None]:
        """The account of the key, with the email and name of its first owner. Values that are not set are null."""
        owner = next((member for member in members.all(account.id) if member.role == OWNER), None)
        return {
            "id": account.id,
            "email": None if owner is None else owner.email,
            "name": None if owner is None else owner.name,
            "company": account.company,
            "plan": account.plan,
            "usage_detail": account.usage_detail,
            "created_at": account.created_at,
        }

    @app.get("/v1/account", responses=responses(200, ACCOUNT))
    def get_account(account: Caller) -> dict[str, Any]:
        """The settings and limits of the account. A limit of null is unlimited."""
        return account_fields(organisations.find(account.id))

    @app.patch("/v1/account", responses=responses(200, ACCOUNT))
    def change_account(account: AdminCaller, by: ByKey, change: AccountChange) -> dict[str, Any]:
        """Change settings of the account."""
        settings = {name: getattr(change, name) for name in change.model_fields_set}
        return account_fields(organisations.change(account.id, by, **settings))

    @app.get("/v1/members", responses=responses(200, _list(MEMBER)))
    def list_members(account: AdminCaller) -> dict[str, Any]:
        """The members of the account, by email."""
        return {"data": [member_fields(member) for member in members.all(account.id)]}

    @app.post("/v1/members", status_code=201, responses=responses(201, MEMBER, 409))
    def invite_member(account: AdminCaller, by: ByKey, new: NewMember) -> dict[str, Any]:
        """Add a member and mail an invitation. Without mail, `infraprism members reset-link` prints it."""
        member, _ = logins.invite(account.id, by, email=new.email, name=new.name, role=new.role)
        return member_fields(member)

    @app.get("/v1/members/{member_id}", responses=responses(200, MEMBER, 404))
    def get_member(account: AdminCaller, member_id: str) -> dict[str, Any]:
        """One member."""
        return member_fields(members.find(account.id, member_id))

    @app.patch("/v1/members/{member_id}", responses=responses(200, MEMBER, 404, 409))
    def change_member(account: AdminCaller, by: ByKey, member_id: str, change: MemberChange) -> dict[str, Any]:
        """Change the name or the role of a member. Keys cannot change owners."""
        member = members.change(account.id, by, member_id, name=change.name, role=change.role)
        return member_fields(member)

    @app.delete("/v1/members/{member_id}", responses=responses(200, MEMBER, 404, 409))
    def remove_member(account: AdminCaller, by: ByKey, member_id: str) -> dict[str, Any]:
        """Remove a member with all sessions. The last owner stays."""
        return member_fields(members.remove(account.id, by, member_id))

    _add_key_routes(app, Keys(accounts, AuditLog(accounts.database, accounts.clock)))


def _add_key_routes(app: FastAPI, keys: Keys) -> None:
    @app.get("/v1/keys", responses=responses(200, _list(KEY)))
    def list_keys(account: Caller) -> dict[str, Any]:
        """The keys of the account, oldest first, with the revoked ones."""
        return {"data": [key_fields(key) for key in keys.all(account.id)]}

    @app.post("/v1/keys", status_code=201, responses=responses(201, NEW_KEY, 409))
    def create_key(account: AdminCaller, by: ByKey, new: NewKey) -> dict[str, Any]:
        """Create a key. Only this response contains it. It cannot have more scopes than the key of the request."""
        text, key = keys.create(account.id, by, name=new.name, scopes=new.scopes)
        return {**key_fields(key), "key": text}

    @app.get("/v1/keys/{key_id}", responses=responses(200, KEY, 404))
    def get_key(account: Caller, key_id: str) -> dict[str, Any]:
        """One key."""
        return key_fields(keys.find(account.id, key_id))

    @app.patch("/v1/keys/{key_id}", responses=responses(200, KEY, 404))
    def rename_key(account: AdminCaller, by: ByKey, key_id: str, change: KeyChange) -> dict[str, Any]:
        """Change the name of a key."""
        return key_fields(keys.rename(account.id, by, key_id, change.name))

    @app.post("/v1/keys/{key_id}/rotate", status_code=201, responses=responses(201, NEW_KEY, 404, 409))
    def rotate_key(account: AdminCaller, by: ByKey, key_id: str, rotation: Rotation | None = None) -> dict[str, Any]:
        """Replace a key by a new one. The old one stays valid for `overlap_s` seconds."""
        overlap_s = 0 if rotation is None else rotation.overlap_s
        text, key = keys.rotate(account.id, by, key_id, overlap_s=overlap_s)
        return {**key_fields(key), "key": text}

    @app.delete("/v1/keys/{key_id}", responses=responses(200, KEY, 404, 409))
    def revoke_key(account: AdminCaller, by: ByKey, key_id: str) -> dict[str, Any]:
        """Revoke a key. All servers refuse it within 5 seconds."""
        return key_fields(keys.revoke(account.id, by, key_id))


def account_fields(account: Account) -> dict[str, Any]:
    """An account as the API returns it, with the limits that apply."""
    return {
        "id": account.id,
        "company": account.company,
        "plan": account.plan,
        "time_zone": account.time_zone,
        "usage_detail": account.usage_detail,
        "created_at": account.created_at,
        **account.limits._asdict(),
    }


def member_fields(member: Member) -> dict[str, Any]:
    """A member as the API returns it."""
    return {
        "id": member.id,
        "email": member.email,
        "name": member.name,
        "role": member.role,
        "status": "active" if member.has_password else "invited",
        "email_verified_at": member.email_verified_at,
    }


def key_fields(key: Key) -> dict[str, Any]:
    """A key as the API returns it, without the key itself."""
    return {
        "id": key.id,
        "prefix": key.prefix,
        "name": key.name,
        "scopes": key.scope_names,
        "created_at": key.created_at,
        "last_used_on": key.last_used_on,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    }
