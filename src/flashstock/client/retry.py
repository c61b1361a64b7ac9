"""How long to wait before the same request is sent again: bounded, jittered, and polite."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from random import Random


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Bounds on trying again. Waits double from the first up to the longest.

    Args:
        attempts_max: sends in all, the first included.
        first_wait_ms: what the second send waits at most, without ``Retry-After``.
        wait_max_ms: no single wait is longer, whatever ``Retry-After`` asks for.
        total_wait_max_ms: all waits of one request together.
    """

    attempts_max: int = 8
    first_wait_ms: int = 100
    wait_max_ms: int = 3_000
    total_wait_max_ms: int = 15_000

    def wait_ms(
        self, attempt: int, waited_ms: int, retry_after_ms: int | None, random: Random
    ) -> int | None:
        """The wait before the next send, or ``None`` where it is time to give up.

        Half of a wait is random, so that clients which failed together don't return together;
        with ``Retry-After`` the random part comes on top, so that nobody returns too early.

        Args:
            attempt: how many times the request was sent so far, from 1.
            waited_ms: how long it waited so far.
        """
        if attempt >= self.attempts_max:
            return None
        doubled_ms = min(self.wait_max_ms, self.first_wait_ms * 2 ** (attempt - 1))
        if retry_after_ms is None:
            wait_ms = int(doubled_ms * (0.5 + 0.5 * random.random()))
        else:
            wait_ms = int(retry_after_ms + 0.5 * doubled_ms * random.random())
        wait_ms = min(wait_ms, self.wait_max_ms)
        return wait_ms if waited_ms + wait_ms <= self.total_wait_max_ms else None


def retry_after_ms(header: str | None, now: datetime) -> int | None:
    """``Retry-After`` (RFC 9110 10.2.3: seconds, or a date) in ms; ``None`` if it says nothing."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return int(text[:9]) * 1000
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        return None
    return max(0, int((at - now).total_seconds() * 1000))
