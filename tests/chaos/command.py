"""What the commands that run campaigns have in common."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from random import SystemRandom
from typing import Protocol, TypeVar

import uvloop

from tests.chaos.site import Site, running_site

SEED_MAX = 1_000_000
LOG_LINES_SHOWN = 60


class Ended(Protocol):
    """What a campaign has come to."""

    @property
    def violations(self) -> Sequence[str]: ...


Outcome = TypeVar("Outcome", bound=Ended)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def parser_of(module: str, about: str | None, *, minutes: float) -> argparse.ArgumentParser:
    """The options that every campaign has.

    Args:
        minutes: how long it is, unless told otherwise.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=about)
    parser.add_argument("--minutes", type=float, default=minutes, help="stop after so long")
    parser.add_argument("--seed", type=int, help="repeat this campaign")
    parser.add_argument("--database", choices=("postgres", "sqlite"), default="postgres")
    parser.add_argument("--only", help="kinds to draw from, with commas between them")
    parser.add_argument("--keep", action="store_true", help="leave the logs behind")
    return parser


def asked(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """What the command line says: ``seed`` is drawn where it says none, ``only`` is a list."""
    options = parser.parse_args()
    if options.seed is None:
        options.seed = SystemRandom().randrange(SEED_MAX)
    options.only = options.only.split(",") if options.only else []
    return options


def run_on_a_site(
    options: argparse.Namespace,
    campaign: Callable[[Site], Awaitable[Outcome]],
    accuse: Callable[[Outcome], None] = lambda _: None,
) -> Outcome:
    """Run a campaign on a site of its own; the end of the log is shown where something was wrong.

    Args:
        accuse: says what was wrong, before the log does.
    """

    async def run() -> Outcome:
        async with running_site(options.database, keep=options.keep) as site:
            outcome = await campaign(site)
            if outcome.violations:
                accuse(outcome)
                say("\n".join(site.service.log().splitlines()[-LOG_LINES_SHOWN:]))
            if options.keep:
                say(f"logs: {site.directory}")
            return outcome

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())
