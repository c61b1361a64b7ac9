"""What can be watched: everything together, and one pool."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from jinja2 import Environment

from flashstock.api.counters import COMMIT_SECONDS_BOUNDS, SCRIPT_SECONDS_BOUNDS
from flashstock.api.services import Services
from flashstock.console.samples import GAP_MS, KEPT, SLOW_EVERY, STATISTICS_MS, History, Sampler
from flashstock.errors import FlashstockError, Unavailable
from flashstock.model.rules import PoolCounters, PoolRules
from flashstock.model.states import PoolState
from flashstock.notices.hints import Forecast
from flashstock.service.views import PoolView
from flashstock.statistics.queries import Grain, Report

MINUTE_MS: Final = 60_000
FORECAST_MINUTES: Final = 15


class Overview:
    """Everything together."""

    def __init__(
        self, services: Services, templates: Environment, now_ms: Callable[[], int]
    ) -> None:
        self._services = services
        self._template = templates.get_template("live/overview.html")
        self._now_ms = now_ms
        self._sampler = Sampler(services, now_ms)
        self.history = History()

    async def look(self) -> None:
        try:
            self.history.add(await self._sampler.take())
        except FlashstockError as problem:
            self.history.failed(problem)

    def draw(self) -> str:
        history = self.history
        return self._template.render(
            history=history,
            sample=history.last,
            now_ms=self._now_ms(),
            span_ms=span_of([one.at_ms for one in history.samples]),
            phase_of=phase_of,
            moments_of=moments_of,
            next_moment=next_moment,
            script_p99_ms=history.percentile_ms("script", 0.99, SCRIPT_SECONDS_BOUNDS),
            commit_p99_ms=history.percentile_ms("commit", 0.99, COMMIT_SECONDS_BOUNDS),
            proof=self._services.proof_watch.last,
        )


class OnePool:
    """One pool, as Redis has it at the moment of each look."""

    def __init__(
        self, pool: str, services: Services, templates: Environment, now_ms: Callable[[], int]
    ) -> None:
        self._pool = pool
        self._services = services
        self._template = templates.get_template("live/pool.html")
        self._now_ms = now_ms
        self._views: deque[tuple[int, PoolView]] = deque(maxlen=KEPT)
        self._report: Report | None = None
        self._forecast: Forecast | None = None
        self._taken = 0
        self._problem = ""

    async def look(self) -> None:
        try:
            view = await self._services.pools.get(self._pool)
            now_ms = self._now_ms()
            if self._views and now_ms - self._views[-1][0] > GAP_MS:
                self._views.clear()
            self._views.append((now_ms, view))
            if self._taken % SLOW_EVERY == 0:
                await self._look_back()
            self._taken += 1
            self._problem = ""
        except FlashstockError as problem:
            self._problem = problem.title if isinstance(problem, Unavailable) else problem.detail

    def draw(self) -> str:
        last = self._views[-1] if self._views else None
        return self._template.render(
            pool=self._pool,
            view=last[1] if last else None,
            at_ms=last[0] if last else None,
            now_ms=self._now_ms(),
            times_ms=[at_ms for at_ms, _ in self._views],
            counters=[view.counters for _, view in self._views],
            span_ms=span_of([at_ms for at_ms, _ in self._views]),
            statistics_ms=STATISTICS_MS,
            report=self._report,
            forecast=self._forecast,
            forecast_minutes=FORECAST_MINUTES,
            problem=self._problem,
            phase_of=phase_of,
            moments_of=moments_of,
            next_moment=next_moment,
        )

    async def _look_back(self) -> None:
        if self._services.stock is None:
            return
        notices = self._services.stock.notices
        now_ms = self._now_ms()
        self._report = await notices.statistics.together(
            [self._pool], now_ms - STATISTICS_MS, now_ms, Grain.MINUTE
        )
        self._forecast = await notices.hints.forecast(self._pool, FORECAST_MINUTES)


def span_of(times_ms: Sequence[int]) -> int:
    """How much time a drawing shows: all that was seen, in whole minutes, and at least one."""
    seen_ms = times_ms[-1] - times_ms[0] if times_ms else 0
    return max(1, -(-seen_ms // MINUTE_MS)) * MINUTE_MS


def phase_of(rules: PoolRules, counters: PoolCounters, now_ms: int) -> str:
    """Where a sale stands, in a word that a person understands."""
    if rules.state is PoolState.CLOSED:
        return "closed"
    if rules.ends_at_ms and now_ms >= rules.ends_at_ms:
        return "ended"
    if rules.state is PoolState.PAUSED:
        return "paused"
    if rules.starts_at_ms and now_ms < rules.starts_at_ms:
        return "not yet"
    if counters.available == 0:
        return "sold out" if counters.held + counters.locked == 0 else "all taken"
    return "on sale"


def moments_of(rules: PoolRules) -> list[tuple[int, str]]:
    """What is still to come of a sale by its rules, or was: start, waves, end."""
    found: list[tuple[int, str]] = []
    if rules.starts_at_ms:
        found.append((rules.starts_at_ms, "opens"))
    found += [(wave.at_ms, f"wave of {wave.quantity:,} units") for wave in rules.waves]
    if rules.ends_at_ms:
        found.append((rules.ends_at_ms, "ends"))
    return sorted(found)


def next_moment(rules: PoolRules, now_ms: int) -> tuple[int, str] | None:
    """The first of them that is to come."""
    return next((one for one in moments_of(rules) if one[0] > now_ms), None)
