"""`flashstock replay`: a real trading day through the real service."""

from flashstock.replay.options import ReplayOptions
from flashstock.replay.runner import replay
from flashstock.report.running import run_to_end

__all__ = ["ReplayOptions", "run_replay"]


def run_replay(options: ReplayOptions) -> int:
    """Play a day and return the exit status: 0 only if every invariant held.

    Raises:
        ConfigurationError: the file is missing, is not text, or lacks columns.
        FlashstockError: the service did not start or did not do what was asked; nothing was
            printed to stdout.
    """
    return run_to_end(replay(options))
