"""Accounts and their API keys."""

from infraprism.backend.accounts.accounts import Account, Accounts, InvalidKeyError
from infraprism.backend.accounts.plans import PLANS

__all__ = ["PLANS", "Account", "Accounts", "InvalidKeyError"]
