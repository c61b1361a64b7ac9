"""What is read once a second for all who watch, and what follows from two readings."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from flashstock.api.counters import Buckets, HotCounters
from flashstock.api.services import Services
from flashstock.api.shards import ShardStatus, shard_statuses
from flashstock.errors import FlashstockError
from flashstock.hotpath.scripts import Verdict
from flashstock.ledger.stored import OpenMatters, StoredPool
from flashstock.model.rules import PoolCounters
from flashstock.notices.hints import sold_out_at_ms
from flashstock.statistics.queries import Bucket, Grain

KEPT: Final = 300
"""Samples of the past: five minutes at one a second."""
POOLS_WATCHED_MAX: Final = 40
SLOW_EVERY: Final = 5
"""What changes slowly, or costs more, is read with every fifth sample only."""
STATISTICS_MS: Final = 60 * 60_000
GAP_MS: Final = 15_000
"""After a pause this long the past begins anew: a line across it would tell a tale."""
RATE_WINDOW_MS: Final = 10_000
FORECAST_WINDOW_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Counted:
    """What this API process has counted since it started."""

    decided: int
    held: int
    refused: int
    answers: int
    failed: int
    script: tuple[int, ...]
    commit: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Slow:
    """What is read less often. ``None`` where the service does not keep it."""

    at_ms: int
    matters: OpenMatters
    oldest_hold_ms: int | None
    funnel: Bucket | None = None
    warnings: Mapping[str, int] = field(default_factory=dict)
    webhooks_pending: int = 0
    webhooks_disabled: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading. ``pools`` are those for sale that changed last, by id: so no row jumps."""

    at_ms: int
    pools: tuple[StoredPool, ...]
    pools_count: int
    totals: PoolCounters
    shards: tuple[ShardStatus, ...]
    counted: Counted
    slow: Slow

    def counters_of(self, pool: str) -> PoolCounters | None:
        """The counters of one of the pools."""
        return next((one.counters for one in self.pools if one.id == pool), None)


class Sampler:
    """Reads. Raises ``Unavailable`` where a store does not answer.

    Args:
        services: the same ones that answer the API.
    """

    def __init__(self, services: Services, now_ms: Any) -> None:
        self._services = services
        self._now_ms = now_ms
        self._slow: Slow | None = None
        self._taken = 0

    async def take(self) -> Sample:
        """Look at everything once."""
        services = self._services
        now_ms: int = self._now_ms()
        found = await services.queries.pools_for_sale(now_ms, POOLS_WATCHED_MAX)
        sums = await services.queries.shard_totals()
        shards = await shard_statuses(services.store, services.queries, services.outages)
        if self._slow is None or self._taken % SLOW_EVERY == 0:
            self._slow = await self._read_slow(now_ms, [pool.id for pool in found])
        self._taken += 1
        total, held, sold, locked = (
            sum(getattr(one, name) for one in sums) for name in ("total", "held", "sold", "locked")
        )
        return Sample(
            at_ms=now_ms,
            pools=tuple(sorted(found, key=lambda pool: pool.id)),
            pools_count=sum(one.pools for one in sums),
            totals=PoolCounters(total, total - held - sold - locked, held, sold, locked),
            shards=tuple(shards),
            counted=counted(services.counters),
            slow=self._slow,
        )

    async def _read_slow(self, now_ms: int, pools: Sequence[str]) -> Slow:
        services = self._services
        matters = await services.queries.open_matters()
        oldest_ms = await services.queries.oldest_hold_ms()
        if services.stock is None:
            return Slow(now_ms, matters, oldest_ms)
        notices = services.stock.notices
        from_ms = now_ms - STATISTICS_MS
        report = await notices.statistics.together(pools, from_ms, now_ms, Grain.TOTAL)
        backlog = await notices.webhooks.backlog()
        return Slow(
            now_ms,
            matters,
            oldest_ms,
            report.total,
            await notices.warnings.open_by_kind(),
            backlog.pending,
            backlog.disabled_endpoints,
        )


class History:
    """The samples of the last minutes, and what they say together."""

    def __init__(self) -> None:
        self.samples: deque[Sample] = deque(maxlen=KEPT)
        self.problem = ""
        """Why there is no newer one; empty where there is."""

    def add(self, sample: Sample) -> None:
        """One more."""
        if self.last is not None and sample.at_ms - self.last.at_ms > GAP_MS:
            self.samples.clear()
        self.samples.append(sample)
        self.problem = ""

    def failed(self, problem: FlashstockError) -> None:
        """A reading that failed; what was read before stays."""
        self.problem = problem.title

    @property
    def last(self) -> Sample | None:
        return self.samples[-1] if self.samples else None

    def before(self, window_ms: int) -> Sample | None:
        """The oldest sample of the window that ends with the last one."""
        last = self.last
        if last is None:
            return None
        return next(one for one in self.samples if one.at_ms >= last.at_ms - window_ms)

    def per_second(self, name: str) -> float | None:
        """How fast a counter of this process grew in the last ten seconds."""
        return _per_second(self.last, self.before(RATE_WINDOW_MS), name)

    def rates(self, name: str) -> list[float]:
        """The same between each two neighbours; one less than there are samples."""
        pairs = zip(list(self.samples)[:-1], list(self.samples)[1:], strict=True)
        return [_per_second(late, early, name) or 0.0 for early, late in pairs]

    def percentile_ms(self, name: str, share: float, bounds: Sequence[float]) -> float | None:
        """An upper bound for this share of the calls of the last ten seconds, in ms.

        As exact as the bounds of the histogram; ``None`` where there was no call.
        """
        last, before = self.last, self.before(RATE_WINDOW_MS)
        if last is None or before is None:
            return None
        new = [
            b - a
            for a, b in zip(getattr(before.counted, name), getattr(last.counted, name), strict=True)
        ]
        wanted, seen = share * sum(new), 0
        if not sum(new):
            return None
        for count, bound in zip(new, (*bounds, float("inf")), strict=True):
            seen += count
            if seen >= wanted:
                return bound * 1_000
        return None

    def sold_out_at_ms(self, pool: str) -> int | None:
        """When nothing of a pool is left if it sells on as in the last minute."""
        last, before = self.last, self.before(FORECAST_WINDOW_MS)
        if last is None or before is None:
            return None
        now, then = last.counters_of(pool), before.counters_of(pool)
        if now is None or then is None:
            return None
        left = max(0, now.total - now.sold)
        return sold_out_at_ms(last.at_ms, before.at_ms, now.sold - then.sold, left)

    def series(self, pool: str | None, name: str) -> list[int]:
        """A counter of a pool, or of all together, sample by sample."""
        counters = [
            one.totals if pool is None else one.counters_of(pool) or PoolCounters()
            for one in self.samples
        ]
        return [getattr(one, name) for one in counters]


def counted(counters: HotCounters) -> Counted:
    """The counters of this process as they are now."""
    verdicts = counters.verdicts
    held = verdicts[Verdict.HELD]
    decided = sum(verdicts)
    answers = failed = 0
    for (_, _, status, _), count in list(counters.answers.items()):
        answers += count
        failed += count if status >= 500 else 0
    return Counted(
        decided=decided,
        held=held,
        refused=decided - held - verdicts[Verdict.REPLAYED],
        answers=answers,
        failed=failed,
        script=tuple(_counts(counters.script_seconds)),
        commit=tuple(_counts(counters.commit_seconds)),
    )


def _counts(buckets: Buckets) -> list[int]:
    return list(buckets.counts)


def _per_second(last: Sample | None, before: Sample | None, name: str) -> float | None:
    if last is None or before is None or last.at_ms <= before.at_ms:
        return None
    grown: int = getattr(last.counted, name) - getattr(before.counted, name)
    return max(0.0, grown * 1_000 / (last.at_ms - before.at_ms))
