"""``python -m tests.chaos --faults 500``: faults on real processes, and whether all was kept."""

from __future__ import annotations

import sys
from statistics import median

from tests.chaos.campaign import Campaign, Outcome, by_kind
from tests.chaos.command import asked, parser_of, run_on_a_site, say
from tests.chaos.faults_between import KINDS
from tests.chaos.site import Site

LAST_FAULTS = 15


def main() -> int:
    """0: as many faults as were asked for have fired, or the time was over; nothing was wrong."""
    parser = parser_of("tests.chaos", __doc__, minutes=60.0)
    parser.add_argument("--faults", type=int, default=500, help="how many have to fire")
    options = asked(parser)
    kinds = [kind for kind in KINDS if not options.only or kind.name in options.only]
    replay = f"--seed {options.seed} --faults {options.faults} --database {options.database}"
    if options.only:
        replay += f" --only {','.join(options.only)}"
    say(f"seed {options.seed}, {len(kinds)} kinds, {options.database}")

    async def campaign(site: Site) -> Outcome:
        running = Campaign(site, kinds, options.seed, say)
        return await running.run(options.faults, options.minutes * 60)

    outcome = run_on_a_site(
        options, campaign, lambda outcome: _accuse(outcome, f"python -m tests.chaos {replay}")
    )
    _show(outcome)
    return 1 if outcome.violations else 0


def _accuse(outcome: Outcome, command: str) -> None:
    say(f"to repeat: {command}")
    for fault in outcome.faults[-LAST_FAULTS:]:
        length_s = fault.ended - fault.began
        fired = "fired" if fault.fired else "missed"
        say(f"  fault {fault.number} {fault.kind.name} {fired}, {length_s:.2f} s")
    for line in outcome.violations:
        say(f"  {line}")


def _show(outcome: Outcome) -> None:
    say(f"{'kind':<22}{'tried':>7}{'fired':>7}{'nobody answered: median':>26}{'longest':>10}")
    for name, faults in by_kind(outcome.faults).items():
        away_ms = [fault.away_s * 1000 for fault in faults if fault.fired] or [0.0]
        fired = sum(fault.fired for fault in faults)
        times = f"{median(away_ms):>23.0f} ms{max(away_ms):>7.0f} ms"
        say(f"{name:<22}{len(faults):>7}{fired:>7}{times}")
    orders, findings = outcome.orders, outcome.findings
    say(
        f"{outcome.checks} checks; {len(orders)} wishes, {outcome.answered} questions decided,"
        f" {outcome.unanswered} put off or lost, {outcome.replays} keys asked again;"
        f" {sum(bool(order.reservation) for order in orders)} holds,"
        f" {sum(order.paid is not None for order in orders)} sales,"
        f" {sum(order.cancelled for order in orders)} cancellations,"
        f" {sum(bool(order.refund) for order in orders)} refunds;"
        f" {findings.fast_lost} fast holds lost to faults that may lose them"
    )
    fired_kinds = {fault.kind.name for fault in outcome.fired}
    say(
        f"{len(outcome.fired)} faults of {len(fired_kinds)} kinds fired,"
        f" {len(findings.lost)} acknowledged lost, {len(findings.oversold)} oversold,"
        f" {len(findings.differences)} differences"
        + (f", {len(findings.other)} other violations" if findings.other else "")
    )


if __name__ == "__main__":
    sys.exit(main())
