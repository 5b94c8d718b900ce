"""Errors meant for people, and how a command line reports them."""

import argparse
import errno
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
NO_ACCESS = (errno.EACCES, errno.EPERM, errno.EROFS)


class UserError(Exception):
    """Something the user can mend: the message says in one line what happened and what to do."""


class Parser(argparse.ArgumentParser):
    """Keeps the lines of its description, and reports a wrong command line as a `UserError`.

    That is one line, without the usage before it.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; --help shows all options")


def natural(text: str) -> int:
    """A whole number from 0, below 2^31, for argparse; the random generators take no other seed."""
    number = int(text) if text.isascii() and text.isdecimal() else -1
    if not 0 <= number < 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0, below 2^31")
    return number


def _reader_left() -> bool:
    """Whether nobody reads what is printed any more, as behind `| head -1`."""
    try:
        print(flush=True)
    except BrokenPipeError:
        # What is still unwritten goes nowhere: at its end Python would complain of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def run_command(main: Callable[[], int | None]) -> int:
    """Runs `main`; a `UserError` becomes one line on stderr and exit status 2, no traceback.

    So does a full disk or a file that may not be written, wherever it is met. Ctrl-C becomes one
    line and status 130, as shells report it. Where the reader of the output leaves, the command
    ends without a word, with status 141.
    """
    try:
        try:
            return main() or 0
        finally:
            print(end="", flush=True)  # at the end of Python nothing could be done about its errors
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _reader_left():
            return 141
        if error.errno not in NO_ROOM + NO_ACCESS:
            raise
        remedy = "free some space" if error.errno in NO_ROOM else "choose another folder"
        name = f" ({error.filename})" if error.filename else ""
        print(f"error: {(error.strerror or str(error)).lower()}{name}; {remedy}", file=sys.stderr)
    return 2
