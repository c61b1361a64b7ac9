"""`flashstock demo`: a sale from the first request to the proof, on one command."""

from flashstock.demo.group_runner import demonstrate_groups
from flashstock.demo.options import DemoOptions, Scenario
from flashstock.demo.runner import demonstrate
from flashstock.report.running import run_to_end

__all__ = ["DemoOptions", "Scenario", "run_demo"]


def run_demo(options: DemoOptions) -> int:
    """Run a demo and return the exit status: 0 only if every invariant held.

    Raises:
        FlashstockError: the service did not start or did not do what was asked; nothing was
            printed to stdout.
    """
    groups = options.scenario is Scenario.GROUP_BUY
    return run_to_end(demonstrate_groups(options) if groups else demonstrate(options))
