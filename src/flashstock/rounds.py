"""Work without end, round after round: what a round meets is the next one's business."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from flashstock.errors import FlashstockError


@contextmanager
def costs_one_round(logger: logging.Logger, what: str, level: int = logging.INFO) -> Iterator[None]:
    """Log whatever fails in the block, and go on behind it. Cancellation goes through.

    Without it the work would end in silence, for a failure that nobody foresaw.

    Args:
        what: did not happen, in words.
        level: at which failures are logged that have a code; others are errors, with a traceback.
    """
    try:
        yield
    except FlashstockError as failure:
        logger.log(level, "%s: %s", what, failure)
    except Exception:
        logger.exception("%s", what)
