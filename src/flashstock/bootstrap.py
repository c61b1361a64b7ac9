"""The composition root: the one place that names concrete classes and wires them."""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
import socket
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine

from flashstock.api.app import Application
from flashstock.api.auth import Keyring
from flashstock.api.background import ApiBackground
from flashstock.api.counters import HotCounters
from flashstock.api.pages import Pages
from flashstock.api.services import Services
from flashstock.bootstrap_stock import (
    build_stock_services,
    campaigns_beside_the_writer,
    notices_beside_the_writer,
    returns_beside_the_writer,
    stock_book_report,
)
from flashstock.bootstrap_tracing import (
    traced_application,
    traced_lanes,
    traced_ledger,
    tracer_of,
)
from flashstock.config import Settings, parse_receipt_keys
from flashstock.console.application import Console
from flashstock.errors import ConfigurationError, Unavailable
from flashstock.hotpath.applied import AppliedTracker
from flashstock.hotpath.lanes import Lane, Lanes
from flashstock.hotpath.log import ShardLog
from flashstock.hotpath.seat_lanes import SeatLane
from flashstock.hotpath.servers import Servers, connect_servers
from flashstock.hotpath.store import HotStore
from flashstock.ledger.apply import Ledger
from flashstock.ledger.audit import AuditLog
from flashstock.ledger.engine import create_engine
from flashstock.ledger.proof import Proof
from flashstock.ledger.queries import Queries
from flashstock.model.receipts import ReceiptSigner
from flashstock.reconcile.comparison import Findings
from flashstock.reconcile.explain import time_text
from flashstock.reconcile.reconciler import Reconciler
from flashstock.reconcile.watch import Watch
from flashstock.recovery.gate import Gate
from flashstock.recovery.on_demand import OnDemandRebuild
from flashstock.recovery.rebuild import Rebuilder
from flashstock.recovery.recover import Recoverer
from flashstock.service.carts import CartService
from flashstock.service.groups import GroupService
from flashstock.service.pools import PoolService
from flashstock.service.reservations import ReservationService
from flashstock.storefront.application import Storefront
from flashstock.writer.process import WriterProcess
from flashstock.writer.quarantine import QuarantinePauser
from flashstock.writer.sweeper import Sweeper
from flashstock.writer.writer import BLOCK_MS, ShardWriter

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from flashstock.tracing.requests import TracedApplication

SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Secrets:
    """What is drawn once, at the first start, and kept in SQL: all processes share it."""

    order: bytes
    signer: ReceiptSigner


@dataclass(frozen=True, slots=True)
class Stores:
    """One process's connections. Nothing is opened before it is used."""

    engine: AsyncEngine
    servers: Servers
    queries: Queries
    proof: Proof
    ledger: Ledger
    store: HotStore

    async def close(self) -> None:
        """Close every connection."""
        await self.servers.close()
        await self.engine.dispose()


def now_ms() -> int:
    """This machine's clock, for what no script decides."""
    return time.time_ns() // 1_000_000


def own_name() -> str:
    """A name that no other process has."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


async def load_secrets(settings: Settings) -> Secrets:
    """Read the secrets, drawing them at the first start.

    Raises:
        ConfigurationError: the data was made for another number of shards.
    """
    engine = create_engine(settings.ledger_url)
    try:
        queries = Queries(engine)
        shards = await queries.put_setting_once("shard_count", str(settings.shard_count))
        if shards != str(settings.shard_count):
            raise ConfigurationError(
                f"FLASHSTOCK_SHARD_COUNT: {settings.shard_count}, but this ledger was made for"
                f" {shards}; the number is fixed at the first start"
            )
        order = await queries.put_setting_once("order_secret", secrets.token_hex(SECRET_BYTES))
        drawn = await queries.put_setting_once(
            "receipt_keys", f"k1:{secrets.token_hex(SECRET_BYTES)}"
        )
    finally:
        await engine.dispose()
    text = settings.receipt_keys.get_secret_value() if settings.receipt_keys else drawn
    keys = parse_receipt_keys(text)
    return Secrets(bytes.fromhex(order), ReceiptSigner(dict(keys), current=keys[0][0]))


def build_stores(settings: Settings, order_secret: bytes) -> Stores:
    """Connect one process. The caller closes what it gets."""
    if settings.redis_url is None:
        raise ConfigurationError("FLASHSTOCK_REDIS_URL: is missing; `flashstock serve` embeds one")
    engine = create_engine(settings.ledger_url)
    servers = connect_servers(
        settings.redis_url,
        settings.shard_count,
        timeout_ms=settings.redis_timeout_ms,
        block_ms=BLOCK_MS,
    )
    return Stores(
        engine,
        servers,
        Queries(engine),
        Proof(engine),
        Ledger(engine, order_secret, now_ms),
        HotStore.spread(servers.clients, [pipe.call for pipe in servers.pipes]),
    )


def build_gate(settings: Settings, stores: Stores, applied: AppliedTracker | None) -> Gate:
    """The gate of one process, which the store tells when its data set is lost."""
    retention_ms = retention_ms_of(settings)
    rebuilder = Rebuilder(
        stores.servers.clients, stores.queries, stores.proof, now_ms, retention_ms=retention_ms
    )
    recoverer = Recoverer(stores.servers.clients, stores.ledger, rebuilder, own_name())
    gate = Gate(stores.store, recoverer, applied, retention_ms=retention_ms)
    stores.store.on_lost = gate.lost
    return gate


def retention_ms_of(settings: Settings) -> int:
    """How long an ended reservation stays known to the hot path."""
    return settings.retention_hours * 3_600_000


def build_lanes(
    settings: Settings,
    store: HotStore,
    applied: AppliedTracker,
    counters: HotCounters,
    tracer: Tracer | None,
) -> tuple[Lanes, Lanes]:
    """Where reservations wait for one another, and where seats of groups do."""
    lanes_class, observer = traced_lanes(counters, tracer)
    reservations, seats = (
        lanes_class(
            store,
            applied,
            batch_max=settings.lane_batch_max,
            pending_max=settings.lane_pending_max,
            backlog_events_max=settings.backlog_events_max,
            sold_out_stale_ms=settings.sold_out_stale_ms,
            clock=time.monotonic,
            observer=observer,
            kind=kind,
        )
        for kind in (Lane, SeatLane)
    )
    return reservations, seats


def build_services(settings: Settings, loaded: Secrets, tracer: Tracer | None = None) -> Services:
    """Everything one API process works with.

    Args:
        tracer: makes spans of what the lanes do, where there is one.
    """
    stores = build_stores(settings, loaded.order)
    applied = AppliedTracker(settings.shard_count, settings.applied_timeout_ms, stores.queries)
    gate = build_gate(settings, stores, applied)
    counters = HotCounters()
    lanes, seats = build_lanes(settings, stores.store, applied, counters, tracer)
    reservations = ReservationService(
        stores.store,
        applied,
        stores.queries,
        loaded.order,
        loaded.signer,
        retention_ms=retention_ms_of(settings),
    )
    admin_key = settings.admin_key.get_secret_value() if settings.admin_key else None
    keyring = Keyring(admin_key, open_mode=settings.may_run_open)
    stock = build_stock_services(
        stores.engine,
        now_ms,
        stores.store.shard_of,
        counters.take_refusals,
        private_webhooks=settings.may_tell_private_addresses,
        hot=stores.store,
    )
    background = ApiBackground(
        stores.servers.tailing[0],
        stores.queries,
        applied,
        gate,
        keyring,
        beside=[stock.notices.refusals.run],
    )

    async def stop() -> None:
        await background.stop()
        await stores.close()

    return Services(
        settings=settings,
        store=stores.store,
        applied=applied,
        lanes=lanes,
        seats=seats,
        pools=PoolService(stores.store, applied),
        reservations=reservations,
        carts=CartService(stores.store, applied, reservations),
        groups=GroupService(stores.store, applied, stores.queries),
        queries=stores.queries,
        signer=loaded.signer,
        keyring=keyring,
        reconciliation=Reconciler(stores.store, stores.queries, stores.proof),
        counters=counters,
        rebuild=OnDemandRebuild(stores.store, gate, stores.proof),
        stock=stock,
        audit=AuditLog(stores.engine, now_ms),
        start=background.start,
        stop=stop,
    )


def create_app(settings: Settings) -> Application | TracedApplication:
    """The ASGI application of one API worker. Not to be called inside a running event loop."""
    loaded = asyncio.run(load_secrets(settings))
    tracer = tracer_of("api-worker", settings)
    services = build_services(settings, loaded, tracer)
    pages: list[Pages] = [Console(services, console_secret(loaded))]
    if settings.has_storefront_page:
        pages.append(build_storefront(settings))
    return traced_application(Application(services, pages), tracer)


def build_storefront(settings: Settings) -> Storefront:
    """The shop at ``/demo``: a customer of this very service."""
    key = settings.storefront_key
    return Storefront(
        api_key=key.get_secret_value() if key is not None else None,
        spread_ms=settings.storefront_spread_ms,
    )


def console_secret(loaded: Secrets) -> bytes:
    """What signs the console's sessions: all processes derive the same one."""
    return hmac.digest(loaded.order, b"console session", "sha256")


async def run_writer(settings: Settings) -> None:
    """The writer and sweeper process: runs until SIGTERM or SIGINT, then drains the log.

    Raises:
        ConfigurationError: a store is set up so that the promises can't be kept.
    """
    loaded = await load_secrets(settings)
    stores = build_stores(settings, loaded.order)
    gate = build_gate(settings, stores, None)
    pauser = QuarantinePauser(stores.queries, stores.store)
    ledger = traced_ledger(stores.ledger, tracer_of("writer", settings))
    writers = [
        ShardWriter(
            shard,
            ShardLog(stores.servers.tailing[shard], shard),
            ledger,
            clock=stores.store.now_ms,
            on_quarantine=pauser.wake,
            on_gap=gate.rebuild,
            events_max=settings.writer_batch_events_max,
            margin_entries=settings.log_margin_entries,
        )
        for shard in range(settings.shard_count)
    ]
    stores.store.committed = lambda shard: writers[shard].committed
    sweeper = Sweeper(stores.store, settings.sweep_interval_ms)
    watch = Watch(stores.store, stores.queries, stores.proof)
    notices = notices_beside_the_writer(
        stores.engine,
        now_ms,
        own_name(),
        private_webhooks=settings.may_tell_private_addresses,
    )
    returns = returns_beside_the_writer(stores.engine, now_ms, stores.store)
    campaigns = campaigns_beside_the_writer(stores.engine, now_ms, stores.store)
    process = WriterProcess(
        stores.engine,
        stores.servers,
        gate,
        writers,
        sweeper,
        pauser,
        beside=[watch.run, *notices, returns, *campaigns],
    )
    try:
        await process.run()
    finally:
        await stores.close()


async def reconcile(
    settings: Settings,
    *,
    repair: bool,
    dry_run: bool,
    on_page: Callable[[Findings], None] = lambda found: None,  # noqa: ARG005 (nobody looks)
) -> dict[str, Any]:
    """The reconciliation report, the stock book included, or what a repair did (or would do).

    Args:
        on_page: told what was found in a shard so far, page after page.
    """
    loaded = await load_secrets(settings)
    stores = build_stores(settings, loaded.order)
    gate = build_gate(settings, stores, None)
    try:
        await gate.open_all()
        reconciler = Reconciler(stores.store, stores.queries, stores.proof, on_page)
        if repair:
            return await reconciler.repair(dry_run=dry_run)
        report = await reconciler.report()
        book = await stock_book_report(stores.engine, now_ms, stores.store.shard_of)
        return {**report, "ok": report["ok"] and book["ok"], "stock_book": book}
    finally:
        await gate.stop()
        await stores.close()


async def watch(settings: Settings, interval_s: float) -> AsyncGenerator[dict[str, Any], None]:
    """What each round of a watch found, without end; pools that break are paused."""
    loaded = await load_secrets(settings)
    stores = build_stores(settings, loaded.order)
    gate = build_gate(settings, stores, None)
    try:
        await gate.open_all()
        watching = Watch(stores.store, stores.queries, stores.proof)
        while True:
            try:
                yield await watching.round()
            except Unavailable as failure:  # its Recovering too: the gate opens the shard again
                yield {"at": time_text(now_ms()), "ok": None, "unavailable": failure.detail}
            await asyncio.sleep(interval_s)
    finally:
        await gate.stop()
        await stores.close()


async def rebuild(settings: Settings, *, dry_run: bool) -> dict[str, Any]:
    """Build Redis anew from SQL under a new generation, or say what that would restore."""
    loaded = await load_secrets(settings)
    stores = build_stores(settings, loaded.order)
    gate = build_gate(settings, stores, None)
    try:
        return await OnDemandRebuild(stores.store, gate, stores.proof).run(dry_run=dry_run)
    finally:
        await gate.stop()
        await stores.close()
