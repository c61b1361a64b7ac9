"""``python -m tests.chaos --faults 500``: faults on real processes, and whether all was kept."""

from __future__ import annotations

import argparse
import asyncio
import sys
from random import SystemRandom
from statistics import median

import uvloop

from tests.chaos.campaign import Campaign, Outcome, by_kind
from tests.chaos.faults_between import KINDS
from tests.chaos.site import running_site

SEED_MAX = 1_000_000
LAST_FAULTS = 15


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """0: as many faults as were asked for have fired, or the time was over; nothing was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=500, help="how many have to fire")
    parser.add_argument("--seed", type=int, help="repeat this campaign")
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after so long")
    parser.add_argument("--database", choices=("postgres", "sqlite"), default="postgres")
    parser.add_argument("--only", help="kinds to draw from, with commas between them")
    parser.add_argument("--keep", action="store_true", help="leave the logs behind")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = SystemRandom().randrange(SEED_MAX)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(options))


async def _run(options: argparse.Namespace) -> int:
    wanted = options.only.split(",") if options.only else [kind.name for kind in KINDS]
    kinds = [kind for kind in KINDS if kind.name in wanted]
    replay = f"--seed {options.seed} --faults {options.faults} --database {options.database}"
    if options.only:
        replay += f" --only {options.only}"
    _say(f"seed {options.seed}, {len(kinds)} kinds, {options.database}")
    async with running_site(options.database, keep=options.keep) as site:
        campaign = Campaign(site, kinds, options.seed, _say)
        outcome = await campaign.run(options.faults, options.minutes * 60)
        if outcome.violations:
            _accuse(outcome, f"python -m tests.chaos {replay}")
            _say(site.complaints())
        if options.keep:
            _say(f"logs: {site.directory}")
    _show(outcome)
    return 1 if outcome.violations else 0


def _accuse(outcome: Outcome, command: str) -> None:
    _say(f"to repeat: {command}")
    for fault in outcome.faults[-LAST_FAULTS:]:
        length_s = fault.ended - fault.began
        fired = "fired" if fault.fired else "missed"
        _say(f"  fault {fault.number} {fault.kind.name} {fired}, {length_s:.2f} s")
    for line in outcome.violations:
        _say(f"  {line}")


def _show(outcome: Outcome) -> None:
    _say(f"{'kind':<22}{'tried':>7}{'fired':>7}{'nobody answered: median':>26}{'longest':>10}")
    for name, faults in by_kind(outcome.faults).items():
        away_ms = [fault.away_s * 1000 for fault in faults if fault.fired] or [0.0]
        fired = sum(fault.fired for fault in faults)
        times = f"{median(away_ms):>23.0f} ms{max(away_ms):>7.0f} ms"
        _say(f"{name:<22}{len(faults):>7}{fired:>7}{times}")
    orders, findings = outcome.orders, outcome.findings
    _say(
        f"{outcome.checks} checks; {len(orders)} wishes, {outcome.answered} questions decided,"
        f" {outcome.unanswered} put off or lost, {outcome.replays} keys asked again;"
        f" {sum(bool(order.reservation) for order in orders)} holds,"
        f" {sum(order.paid is not None for order in orders)} sales,"
        f" {sum(order.cancelled for order in orders)} cancellations,"
        f" {sum(bool(order.refund) for order in orders)} refunds;"
        f" {findings.fast_lost} fast holds lost to faults that may lose them"
    )
    fired_kinds = {fault.kind.name for fault in outcome.fired}
    _say(
        f"{len(outcome.fired)} faults of {len(fired_kinds)} kinds fired,"
        f" {len(findings.lost)} acknowledged lost, {len(findings.oversold)} oversold,"
        f" {len(findings.differences)} differences"
        + (f", {len(findings.other)} other violations" if findings.other else "")
    )


if __name__ == "__main__":
    sys.exit(main())
