"""Changes of one account at the same time, by several processes: none waits for another one that waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests.kit.accounts import BASE_URL, FEW_ROUNDS, PASSWORD, Mailbox, Organisation

from infraprism.backend.accounts import Accounts, Member, RefusedError, permissions
from infraprism.backend.accounts.keys import Keys
from infraprism.backend.accounts.logins import Logins
from infraprism.backend.accounts.organisations import Organisations
from infraprism.backend.accounts.passwords import Passwords
from infraprism.backend.audit.audit_log import AuditLog, first_fault

ROUNDS = 10


class Changes:
    """The changes of one process."""

    def __init__(self, accounts: Accounts, mailbox: Mailbox, account: str, viewer: Member) -> None:
        audit = AuditLog(accounts.database)
        self._logins = Logins(accounts, base_url=BASE_URL, mailer=mailbox, hashing=Passwords(FEW_ROUNDS))
        self._settings, self._keys = Organisations(accounts, audit), Keys(accounts, audit)
        self._account, self._viewer, self._by = account, viewer, permissions.operator()

    def set_up(self, number: int) -> None:
        token, email = self._logins.setup_link(self._account), f"o{number}@x.example"
        self._logins.setup(token, email=email, name="O", password=PASSWORD, company=f"Company {number}")

    def change_settings(self, number: int) -> None:
        self._settings.change(self._account, self._by, company=f"Other {number}", usage_detail=number % 2 == 0)

    def reset(self, _: int) -> None:
        self._logins.reset_password(self._logins.operator_link(self._viewer)[1], PASSWORD)

    def log_in(self, _: int) -> None:
        try:
            self._logins.logout(self._logins.login(email=self._viewer.email, password=PASSWORD).token)
        except RefusedError as refused:  # the password was set in between, or the session has ended with it
            if refused.reason not in ("invalid_login", "not_found"):
                raise

    def change_keys(self, _: int) -> None:
        _, key = self._keys.create(self._account, self._by, name=None, scopes=["read"])
        _, rotated = self._keys.rotate(self._account, self._by, key.id)
        self._keys.revoke(self._account, self._by, rotated.id)


CHANGES = (Changes.set_up, Changes.change_settings, Changes.reset, Changes.log_in, Changes.change_keys)


def test_every_change_succeeds_and_the_audit_log_stays_complete(
    organisation: Organisation, location: Path | str, mailbox: Mailbox
) -> None:
    failures: list[BaseException] = []
    barrier = threading.Barrier(len(CHANGES))

    def repeat(change: Callable[[Changes, int], None]) -> None:
        try:
            with closing(Accounts(location, organisation.accounts.clock)) as accounts:
                changes = Changes(accounts, mailbox, organisation.account.id, organisation.viewer)
                barrier.wait(60)
                for number in range(ROUNDS):
                    change(changes, number)
        except BaseException as error:  # noqa: BLE001  # reported by the test
            failures.append(error)

    threads = [threading.Thread(target=repeat, args=(change,)) for change in CHANGES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failures == []
    assert first_fault(organisation.audit.all(organisation.account.id)) is None
    actions = [action for _, action, _ in organisation.actions()]
    assert actions.count("password.reset") == ROUNDS
    assert actions.count("key.rotated") == ROUNDS
