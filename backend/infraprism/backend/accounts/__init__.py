"""Accounts and their API keys."""

from infraprism.backend.accounts.accounts import (
    ACCOUNTS_FILE,
    Account,
    Accounts,
    AccountsUnavailableError,
    InvalidKeyError,
    Key,
)
from infraprism.backend.accounts.plans import PLANS

__all__ = ["ACCOUNTS_FILE", "PLANS", "Account", "Accounts", "AccountsUnavailableError", "InvalidKeyError", "Key"]
