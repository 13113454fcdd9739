"""Nothing is made in an account whose ID the user has not given: on the command line, or when asked."""

from collections.abc import Callable

from tests.live.account import Account


class RefusedError(Exception):
    """The user has not agreed to this account."""


def confirm(account: Account, given: str | None, ask: Callable[[str], str] | None, what: str) -> None:
    """Go on only with the user's consent. `given` is the ID from the command line; `ask` is None without a terminal.

    Raises:
        RefusedError: the ID is another account's, or was not given.
    """
    about = f"account {account.id}, {account.region}, as {account.identity['Arn']}"
    if given is None:
        if ask is None:
            raise RefusedError(f"{about}: give the ID with --account to confirm, as there is no terminal to ask at")
        given = ask(f"{about}\n{what}\nType the account ID to go on: ").strip()
    if given != account.id:
        raise RefusedError(f"these credentials are of {about}, and not of {given or 'the account that you confirmed'}")
