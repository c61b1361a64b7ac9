"""`flashstock demo`: a sale from the first request to the proof, on one command."""

from flashstock.demo.group_runner import GroupDemo
from flashstock.demo.options import DemoOptions, Scenario
from flashstock.demo.runner import Demo
from flashstock.demo.stage import demonstrate
from flashstock.report.running import run_to_end

__all__ = ["DemoOptions", "Scenario", "run_demo"]


def run_demo(options: DemoOptions) -> int:
    """Run a demo and return the exit status: 0 only if every invariant held.

    Raises:
        FlashstockError: the service did not start or did not do what was asked; nothing was
            printed to stdout.
    """
    staged = GroupDemo if options.scenario is Scenario.GROUP_BUY else Demo
    return run_to_end(demonstrate(options, staged))
