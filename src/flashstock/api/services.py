"""What the API is given to work with; ``bootstrap`` fills it in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from flashstock.api.auth import Keyring
from flashstock.api.bodies_stock import identity_body
from flashstock.api.counters import HotCounters
from flashstock.api.proof_watch import ProofWatch
from flashstock.api.shards import Outages
from flashstock.api.stock_services import StockServices
from flashstock.config import Settings
from flashstock.hotpath.applied import AppliedTracker
from flashstock.hotpath.lanes import Lanes
from flashstock.hotpath.store import HotStore
from flashstock.ledger.audit import AuditLog
from flashstock.ledger.queries import Queries
from flashstock.ledger.stored import QuarantinedEvent
from flashstock.model.receipts import ReceiptSigner
from flashstock.service.carts import CartService
from flashstock.service.groups import GroupService
from flashstock.service.pools import PoolService
from flashstock.service.reservations import ReservationService


class Reconciliation(Protocol):
    """Compares Redis with SQL, and brings Redis back where they differ."""

    async def report(self) -> dict[str, Any]:
        """The document of ``GET /v1/ops/reconciliation``."""
        ...

    async def last_round(self) -> dict[str, Any] | None:
        """What the service's own watch found last; ``None`` where none has run yet."""
        ...

    async def repair(self, *, dry_run: bool) -> dict[str, Any]:
        """What was (or would be) written; running it again changes nothing more."""
        ...

    async def resolve(self, event_id: int) -> QuarantinedEvent:
        """Mend the pool of an event in quarantine and close the matter."""
        ...


class Rebuild(Protocol):
    """Builds Redis anew from SQL, under a new generation."""

    async def run(self, *, dry_run: bool) -> dict[str, Any]:
        """What was (or would be) restored, shard by shard."""
        ...


@dataclass(frozen=True)
class Services:
    """One process's services. ``start`` opens the stores, ``stop`` drains and closes them."""

    settings: Settings
    store: HotStore
    applied: AppliedTracker
    lanes: Lanes
    seats: Lanes
    """Of seats of groups."""
    pools: PoolService
    reservations: ReservationService
    carts: CartService
    groups: GroupService
    queries: Queries
    signer: ReceiptSigner
    keyring: Keyring
    reconciliation: Reconciliation
    start: Callable[[], Awaitable[None]]
    stop: Callable[[], Awaitable[None]]
    rebuild: Rebuild | None = None
    """``None`` where this process can't, and then there is no such route."""
    stock: StockServices | None = None
    """The stock book and what stands on it; ``None`` where there are no such routes."""
    audit: AuditLog | None = None
    """Where changes by operators are put on record; ``None`` where nobody keeps it."""
    counters: HotCounters = field(default_factory=HotCounters)
    outages: Outages = field(init=False)
    proof_watch: ProofWatch = field(init=False)
    stock_watch: ProofWatch = field(init=False)
    """Of the stock book; nobody wants it where there is none."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "outages", Outages(self.queries))
        object.__setattr__(self, "proof_watch", ProofWatch(self.reconciliation.report))
        object.__setattr__(self, "stock_watch", ProofWatch(self._prove_stock))

    async def _prove_stock(self) -> dict[str, Any]:
        if self.stock is None:
            return {"invariants": {}}
        return identity_body(await self.stock.book.identity.prove())
