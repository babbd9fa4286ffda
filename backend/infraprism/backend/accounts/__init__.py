"""Accounts, their members and their API keys."""

from infraprism.backend.accounts.accounts import ACCOUNTS_FILE, Accounts, InvalidKeyError
from infraprism.backend.accounts.errors import RefusedError
from infraprism.backend.accounts.plans import PLANS
from infraprism.backend.accounts.records import AcceptedKey, Account, Key, Member

__all__ = [
    "ACCOUNTS_FILE",
    "PLANS",
    "AcceptedKey",
    "Account",
    "Accounts",
    "InvalidKeyError",
    "Key",
    "Member",
    "RefusedError",
]
