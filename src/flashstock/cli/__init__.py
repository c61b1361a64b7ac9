"""The command line. Each command imports what it needs when it runs: ``--help`` is quick."""

from __future__ import annotations

from flashstock.cli.commands import app
from flashstock.cli.outcome import Invocation, exit_status


def main() -> None:
    """Run the command in ``sys.argv``; the process ends with its exit status.

    0 it worked · 1 it ran and the answer is no (an invariant broken, a process that keeps dying)
    · 2 it could not be done as asked, in one line on stderr · 130, 143 interrupted.
    """
    invocation = Invocation()
    try:
        app(obj=invocation)
    except Exception as problem:
        if invocation.debug:
            raise
        raise SystemExit(exit_status(problem)) from None
