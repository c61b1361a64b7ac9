"""``GET /metrics``: what this process counted, and what the stores say at this moment.

Counters belong to one process: on a socket that several workers share, every scrape is answered
by one of them, so their series carry the process id as ``worker`` and are added up by whoever
asks. (prometheus_client's multi-process mode would write a shared file on every hot request.)
What the stores say is the same whoever answers, and carries no such label.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from flashstock import __version__
from flashstock.api.counters import Buckets, HotCounters
from flashstock.api.metrics_stores import POOLS_SHOWN_MAX, StoreView, look_at_stores
from flashstock.api.proof_watch import Proof
from flashstock.api.services import Services
from flashstock.api.shards import ShardStatus
from flashstock.hotpath.memory import ServerMemory
from flashstock.hotpath.scripts import Verdict
from flashstock.ledger.stored import GivenBack, OpenMatters, StoredPool
from flashstock.notices.webhooks import Backlog

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4


async def render_metrics(services: Services) -> bytes:
    """The text format of Prometheus. Always answers: what is away is left out, and said so."""
    view = await look_at_stores(services)
    services.proof_watch.wanted()
    if services.stock is not None:
        services.stock_watch.wanted()
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    registry.register(_Snapshot(services, view))
    return generate_latest(registry)


@dataclass(eq=False)
class _Snapshot(Collector):
    """Everything of one scrape. Nothing here waits."""

    services: Services
    view: StoreView
    worker: str = field(default_factory=lambda: str(os.getpid()))

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("flashstock", "The version that runs", {"version": __version__})
        yield from _counted(self.services.counters, self.worker)
        yield from self._waiting()
        yield from _shards(self.view.shards)
        yield from _pools(self.view.pools)
        yield from _proof(self.services.proof_watch.last)
        yield from _stock_proof(self.services.stock_watch.last)
        yield from _matters(self.view.matters)
        yield from _memory(self.view.memory)
        yield from _flights(self.view.flights)
        yield from _webhooks(self.view.backlog)
        yield _gauge(
            "flashstock_warnings_open",
            "Warnings that are raised and not cleared, by kind",
            [((kind,), float(count)) for kind, count in (self.view.warnings or {}).items()],
            "kind",
        )

    def _waiting(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily(
            "flashstock_waiting_commits",
            "Batches whose requests wait for the commit in SQL",
            labels=["worker"],
        )
        waiting.add_metric([self.worker], self.services.applied.waiting())
        yield waiting
        in_lanes = GaugeMetricFamily(
            "flashstock_lane_waiting_requests",
            "Requests that wait for the next call of the reserve script",
            labels=["worker"],
        )
        asked = self.services.lanes.waiting + self.services.seats.waiting
        in_lanes.add_metric([self.worker], asked)
        yield in_lanes
        remembered = CounterMetricFamily(
            "flashstock_sold_out_from_memory",
            "Refusals that asked no store",
            labels=["worker"],
        )
        lanes, seats = self.services.lanes, self.services.seats
        from_memory = lanes.sold_out_from_memory + seats.sold_out_from_memory
        remembered.add_metric([self.worker], from_memory)
        yield remembered
        is_open = GaugeMetricFamily(
            "flashstock_shard_open",
            "1 while this process lets calls through to the shard",
            labels=["worker", "shard"],
        )
        for shard in range(self.services.store.shard_count):
            opened = self.services.store.generation(shard) is not None
            is_open.add_metric([self.worker, str(shard)], float(opened))
        yield is_open


def _counted(counters: HotCounters, worker: str) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "flashstock_http_requests",
        "Answers by route, status and problem code",
        labels=["worker", "method", "route", "status", "code"],
    )
    for (method, route, status, code), count in counters.answers.items():
        requests.add_metric([worker, method, route, str(status), code], count)
    yield requests
    verdicts = CounterMetricFamily(
        "flashstock_reservation_verdicts",
        "What became of each reservation asked for, alone or in a batch",
        labels=["worker", "verdict"],
    )
    for verdict in Verdict:
        verdicts.add_metric([worker, verdict.name.lower()], counters.verdicts[verdict])
    yield verdicts
    yield _histogram(
        "flashstock_lane_batch_size",
        "Requests decided by one call of the reserve script",
        counters.batch_sizes,
        worker,
    )
    yield _histogram(
        "flashstock_reserve_script_seconds",
        "Time from sending the reserve script's call to its answer",
        counters.script_seconds,
        worker,
    )
    yield _histogram(
        "flashstock_commit_wait_seconds",
        "Time from a batch's decision until SQL had committed what it granted",
        counters.commit_seconds,
        worker,
    )


def _histogram(name: str, text: str, buckets: Buckets, worker: str) -> Metric:
    family = HistogramMetricFamily(name, text, labels=["worker"])
    family.add_metric([worker], buckets.cumulative(), buckets.total)
    return family


def _shards(statuses: list[ShardStatus] | None) -> Iterator[Metric]:
    yield _gauge(
        "flashstock_stores_answered",
        "1 where SQL answered this scrape in time; without it, what it says is left out",
        [((), float(statuses is not None))],
    )
    known = statuses or []
    yield _gauge(
        "flashstock_log_seq",
        "The last event number of the log",
        [((str(one.shard),), float(one.seq)) for one in known if one.seq is not None],
        "shard",
    )
    yield _gauge(
        "flashstock_applied_seq",
        "The last event number that is committed in SQL",
        [((str(one.shard),), float(one.applied_seq)) for one in known],
        "shard",
    )
    yield _gauge(
        "flashstock_applied_lag_events",
        "Events in the log that SQL does not have yet",
        [((str(one.shard),), float(one.lag_events)) for one in known if one.lag_events is not None],
        "shard",
    )
    yield from _outages([(str(one.shard), one.outage) for one in known if one.outage is not None])


def _outages(given_back: Sequence[tuple[str, GivenBack]]) -> Iterator[Metric]:
    """The last outage of each shard whose time its holds got back."""
    yield _gauge(
        "flashstock_outage_last_timestamp_seconds",
        "When the last outage was over whose time holds got back",
        [((shard,), one.ended_ms / 1_000) for shard, one in given_back],
        "shard",
    )
    yield _gauge(
        "flashstock_outage_last_given_back_seconds",
        "By how much their deadlines were put off",
        [((shard,), one.by_ms / 1_000) for shard, one in given_back],
        "shard",
    )
    yield _gauge(
        "flashstock_outage_last_holds",
        "How many holds got it back",
        [((shard,), float(one.holds)) for shard, one in given_back],
        "shard",
    )


def _pools(pools: Sequence[StoredPool] | None) -> Iterator[Metric]:
    """A pool's units as SQL has them, and whether they add up."""
    units = []
    for pool in pools or ():
        counters = pool.counters
        units += [
            ((pool.id, "available"), float(counters.available)),
            ((pool.id, "held"), float(counters.held)),
            ((pool.id, "sold"), float(counters.sold)),
            ((pool.id, "locked"), float(counters.locked)),
        ]
    yield _gauge(
        "flashstock_pool_units",
        f"Where a pool's units are, as SQL has it; the first {POOLS_SHOWN_MAX} pools by id",
        units,
        "pool",
        "state",
    )


def _proof(proof: Proof | None) -> Iterator[Metric]:
    """What the last reconciliation of this process found; nothing before the first one."""
    invariants = sorted(proof.invariants.items()) if proof else ()
    yield _gauge(
        "flashstock_invariant_ok",
        "1 where the last reconciliation found the invariant to hold",
        [((name,), float(holds)) for name, holds in invariants],
        "invariant",
    )
    numbers = proof.numbers if proof else {}
    for name, text in _PROOF_GAUGES.items():
        samples = [((), float(numbers[name]))] if name in numbers else []
        yield _gauge(f"flashstock_reconciliation_{name}", text, samples)
    yield _gauge(
        "flashstock_reconciliation_timestamp_seconds",
        "When the last reconciliation was finished",
        [((), proof.finished_at_s)] if proof else [],
    )


def _matters(matters: OpenMatters | None) -> Iterator[Metric]:
    """What waits for a person."""
    yield _gauge(
        "flashstock_quarantined_events",
        "Events that contradicted SQL and are not resolved; their pools are paused",
        [((), float(matters.quarantined_events))] if matters else [],
    )
    yield _gauge(
        "flashstock_refunds_due",
        "Payments that are due back and not settled",
        [((), float(matters.refunds_due))] if matters else [],
    )
    oldest_ms = matters.oldest_refund_at_ms if matters else None
    yield _gauge(
        "flashstock_refund_oldest_seconds",
        "The age of the oldest payment that is due back; 0 where none is",
        [((), _age_seconds(oldest_ms))] if matters else [],
    )


def _memory(servers: Sequence[ServerMemory] | None) -> Iterator[Metric]:
    known = servers or ()
    yield _gauge(
        "flashstock_redis_memory_used_bytes",
        "Memory that Valkey or Redis uses; by the first shard of each server",
        [((str(one.shard),), float(one.used_bytes)) for one in known],
        "shard",
    )
    yield _gauge(
        "flashstock_redis_memory_limit_bytes",
        "Memory that it may use (maxmemory); left out where there is no limit",
        [((str(one.shard),), float(one.limit_bytes)) for one in known if one.limit_bytes],
        "shard",
    )


def _webhooks(backlog: Backlog | None) -> Iterator[Metric]:
    """What has not reached those who asked for it."""
    yield _gauge(
        "flashstock_webhook_endpoints_disabled",
        "Webhook endpoints that are told nothing, because they answered 410 Gone or were disabled",
        [((), float(backlog.disabled_endpoints))] if backlog else [],
    )
    yield _gauge(
        "flashstock_webhook_deliveries_pending",
        "Webhooks that wait for their first or next try",
        [((), float(backlog.pending))] if backlog else [],
    )
    yield _gauge(
        "flashstock_webhook_delivery_oldest_seconds",
        "The age of the oldest webhook that waits; 0 where none does",
        [((), _age_seconds(backlog.oldest_pending_at_ms))] if backlog else [],
    )


def _age_seconds(since_ms: int | None) -> float:
    return max(0.0, time.time() - since_ms / 1_000) if since_ms is not None else 0.0


def _flights(flights: tuple[int, int] | None) -> Iterator[Metric]:
    """What is between the stock book and the pools; a rising age means that nobody carries it."""
    yield _gauge(
        "flashstock_stock_commands_in_flight",
        "Commands between the stock book and the pools that have not arrived",
        [((), float(flights[0]))] if flights else [],
    )
    yield _gauge(
        "flashstock_stock_command_oldest_seconds",
        "The age of the oldest command between the stock book and the pools",
        [((), flights[1] / 1000)] if flights else [],
    )


def _stock_proof(proof: Proof | None) -> Iterator[Metric]:
    """What the last proof of the stock book found; nothing before the first one."""
    yield _gauge(
        "flashstock_stock_identity_ok",
        "1 where the last proof of the stock book found the invariant to hold",
        [((name,), float(holds)) for name, holds in sorted(proof.invariants.items())]
        if proof
        else [],
        "invariant",
    )
    yield _gauge(
        "flashstock_stock_identity_timestamp_seconds",
        "When the last proof of the stock book was finished",
        [((), proof.finished_at_s)] if proof else [],
    )


_PROOF_GAUGES: Final = {
    "oversold": "Units sold or held beyond what there is",
    "lost": "Acknowledged units that Redis does not know",
    "differences_count": "Disagreements between Redis and SQL",
}


def _gauge(
    name: str, text: str, samples: Iterable[tuple[tuple[str, ...], float]], *labels: str
) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family
