"""`flashstock demo`: a flash sale from the first request to the proof, on one command."""

from flashstock.demo.options import DemoOptions
from flashstock.demo.runner import demonstrate
from flashstock.report.running import run_to_end

__all__ = ["DemoOptions", "run_demo"]


def run_demo(options: DemoOptions) -> int:
    """Run a demo and return the exit status: 0 only if every invariant held.

    Raises:
        FlashstockError: the service did not start or did not do what was asked; nothing was
            printed to stdout.
    """
    return run_to_end(demonstrate(options))
