"""Accounts and their API keys."""

from infraprism.backend.accounts.accounts import ACCOUNTS_FILE, Accounts, InvalidKeyError
from infraprism.backend.accounts.plans import PLANS
from infraprism.backend.accounts.records import Account, Key

__all__ = ["ACCOUNTS_FILE", "PLANS", "Account", "Accounts", "InvalidKeyError", "Key"]
