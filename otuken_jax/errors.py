"""Errors meant for people, and how a command line reports them."""

import sys
from collections.abc import Callable


class UserError(Exception):
    """Something the user can mend: the message says in one line what happened and what to do."""


def run_command(main: Callable[[], int | None]) -> int:
    """Runs `main`; a `UserError` becomes one line on stderr and exit status 2, no traceback."""
    try:
        return main() or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
