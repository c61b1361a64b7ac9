"""Services without stores: enough for what the API itself decides. No truth about stock here."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, cast

import httpx

from flashstock.api.app import Application, DescribedAPI, build_api
from flashstock.api.auth import Keyring
from flashstock.api.services import Services
from flashstock.config import Settings
from flashstock.errors import UnknownPool, UnknownQuarantinedEvent
from flashstock.hotpath.asking import Asking, Verdicted
from flashstock.hotpath.group_replies import SeatsReply
from flashstock.hotpath.replies import BatchReply
from flashstock.hotpath.scripts import Verdict
from flashstock.hotpath.seat_lanes import SeatAsking
from flashstock.ledger.stored import QuarantinedEvent
from flashstock.model.group_records import GroupRecord, cart_of_group
from flashstock.model.group_rules import GroupRules
from flashstock.model.receipts import ReceiptSigner
from flashstock.model.records import ReservationRecord
from flashstock.model.rules import PoolCounters, PoolRules
from flashstock.model.states import GroupState, ReservationState
from flashstock.service.carts import CartAnswer
from flashstock.service.groups import GroupView, MemberView
from flashstock.service.reservations import Answer
from flashstock.service.views import PoolView, ReservationView
from tests.unit.api.fake_sql import KEYS, NOW_MS, FakeQueries, refund

__all__ = [
    "GROUP_RULES",
    "KEYS",
    "NOW_MS",
    "SIGNER",
    "FakeApplied",
    "FakeCarts",
    "FakeGroups",
    "FakeLanes",
    "FakePools",
    "FakeQueries",
    "FakeRebuild",
    "FakeReconciliation",
    "FakeReservations",
    "FakeSeats",
    "FakeServer",
    "FakeStore",
    "Fakes",
    "batch_reply",
    "pool_view",
    "record",
    "refund",
    "reservation_view",
    "seats_reply",
]

GROUP_RULES = GroupRules(size=3, life_ms=3_600_000).text
SIGNER = ReceiptSigner({"k1": b"a secret of the tests"}, "k1")


def batch_reply(**changes: Any) -> BatchReply:
    """A reply of the reserve script in which nothing is remarkable."""
    fields: dict[str, Any] = {
        "generation": "1",
        "now_ms": NOW_MS,
        "available": 0,
        "grants": 1,
        "seq": 7,
        "first_seq": 7,
        "deadline_ms": NOW_MS + 900_000,
        "fast": False,
        "next_wave_ms": 0,
        "starts_at_ms": 0,
        "per_buyer_limit": 0,
        "verdicts": b"0",
        "replays": (),
    }
    return BatchReply(**{**fields, **changes})


def record(**changes: Any) -> ReservationRecord:
    fields: dict[str, Any] = {
        "state": ReservationState.HELD,
        "deadline_ms": NOW_MS + 900_000,
        "generation": 1,
        "seq": 7,
        "quantity": 2,
        "pool": "campaign-1",
        "buyer": "buyer-42",
    }
    return ReservationRecord(**{**fields, **changes})


def reservation_view(reservation_id: str, **changes: Any) -> ReservationView:
    return ReservationView(reservation_id, record(**changes), NOW_MS)


def pool_view(pool: str) -> PoolView:
    counters = PoolCounters(total=10, available=6, held=2, sold=1, locked=1)
    return PoolView(pool, PoolRules(sku="sku-1"), counters, NOW_MS)


@dataclass(eq=False)
class FakeServer:
    """Of a client of Redis, what the metrics ask."""

    memory: dict[str, int] = field(default_factory=lambda: {"used_memory": 900, "maxmemory": 1_000})
    away: bool = False

    async def info(self, section: str) -> dict[str, int]:
        assert section == "memory"
        if self.away:
            raise OSError("nobody there")
        return self.memory


@dataclass
class FakeStore:
    shard_count: int = 2
    generations: dict[int, str] = field(default_factory=lambda: {0: "3", 1: "3"})
    seqs: dict[int, int] = field(default_factory=lambda: {0: 12, 1: 4})
    clients: list[Any] = field(default_factory=lambda: [FakeServer()] * 2)

    def generation(self, shard: int) -> str | None:
        return self.generations.get(shard)

    async def seq(self, shard: int) -> int:
        return self.seqs[shard]


class FakeLanes:
    """Decide every request the way they are told."""

    def __init__(self) -> None:
        self.outcome: Verdicted | Exception = Verdicted(int(Verdict.HELD), batch_reply(), None)
        self.asked: list[tuple[str, str, int]] = []
        self.attested: list[str] = []
        self.sold_out_from_memory = 0
        self.waiting = 0

    def ask(self, pool: str, asking: Asking) -> None:
        self.asked.append((asking.digest, asking.buyer, asking.quantity))
        self.attested.append(asking.attests)
        if isinstance(self.outcome, Exception):
            asking.failed(self.outcome)
        else:
            asking.decided(*self.outcome)


@dataclass
class FakePools:
    """Knows the pool ``campaign-1``; remembers what was asked."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)
    failure: Exception | None = None

    def _noted(self, *call: Any) -> PoolView:
        self.calls.append(call)
        if self.failure is not None:
            raise self.failure
        if call[1] != "campaign-1":
            raise UnknownPool(f"there is no pool {call[1]!r}", pool=call[1])
        return pool_view(call[1])

    async def create(self, pool: str, rules: PoolRules, quantity: int) -> tuple[PoolView, bool]:
        return self._noted("create", pool, rules, quantity), True

    async def get(self, pool: str) -> PoolView:
        return self._noted("get", pool)

    async def adjust(
        self, caller: str, key: str, pool: str, delta: int, lock_delta: int
    ) -> tuple[PoolView, bool]:
        return self._noted("adjust", pool, caller, key, delta, lock_delta), True

    async def set_state(self, pool: str, state: Any) -> PoolView:
        return self._noted("set_state", pool, state)


@dataclass
class FakeReservations:
    """Agrees to everything; remembers what was asked."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def view(self, target: Any, seat: ReservationRecord, now_ms: int) -> ReservationView:
        return ReservationView(str(target), seat, now_ms)

    async def get(self, reservation_id: str) -> ReservationView:
        self.calls.append(("get", reservation_id))
        return reservation_view(reservation_id)

    async def confirm(
        self, reservation_id: str, payment_ref: str, receipt: str | None = None
    ) -> Answer:
        presented = (receipt,) if receipt is not None else ()
        self.calls.append(("confirm", reservation_id, payment_ref, *presented))
        return Answer(reservation_view(reservation_id), replayed=False)

    async def cancel(self, reservation_id: str) -> Answer:
        self.calls.append(("cancel", reservation_id))
        return Answer(reservation_view(reservation_id), replayed=False)

    async def extend(self, reservation_id: str, seconds: int) -> Answer:
        self.calls.append(("extend", reservation_id, seconds))
        return Answer(reservation_view(reservation_id), replayed=True)

    async def return_sale(
        self,
        caller: str,
        key: str,
        reservation_id: str,
        quantity: int,
        *,
        restock: bool = True,
    ) -> Answer:
        self.calls.append(("return", caller, key, reservation_id, quantity, restock))
        return Answer(reservation_view(reservation_id), replayed=False)


@dataclass
class FakeCarts:
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    failure: Exception | None = None

    async def reserve(
        self, caller: str, key: str, buyer: str, lines: Any, attests: Any = None
    ) -> CartAnswer:
        self.calls.append((caller, key, buyer, list(lines), attests))
        if self.failure is not None:
            raise self.failure
        view = reservation_view("campaign-1~0123456789abcdef")
        return CartAnswer("0123456789abcdef", buyer, (view,), replayed=False)


def seats_reply(**changes: Any) -> SeatsReply:
    """A reply of the script that takes seats: one in a group of three, which it opened."""
    group = GroupRecord(
        GroupState.OPEN, NOW_MS + 3_600_000, GROUP_RULES, "campaign-1", 1, 0, 0, "0" * 16, 7
    )
    fields = {**asdict(batch_reply()), "groups": {"0" * 16: group.pack().encode()}}
    return SeatsReply(**{**fields, **changes})


class FakeSeats(FakeLanes):
    """Lanes of seats: they open groups, and remember what was asked for."""

    def __init__(self) -> None:
        super().__init__()
        seat = record(cart=cart_of_group("0" * 16)).pack().encode()
        self.outcome = Verdicted(int(Verdict.HELD), seats_reply(), seat)
        self.wanted: list[str] = []

    def ask(self, pool: str, asking: Asking) -> None:
        self.wanted.append(cast("SeatAsking", asking).wants)
        super().ask(pool, asking)


@dataclass
class FakeGroups:
    """Knows one group."""

    asked: list[tuple[Any, ...]] = field(default_factory=list)

    async def get(self, group_id: str) -> GroupView:
        self.asked.append(("get", group_id))
        found = seats_reply().group("0" * 16)
        assert found is not None
        seat = MemberView(group_id, "buyer-42", 2, ReservationState.HELD, is_opener=True)
        return GroupView(group_id, found, NOW_MS, members=(seat,))

    async def page(self, pool: str, after: str, limit: int) -> tuple[list[GroupView], str | None]:
        self.asked.append(("page", pool, after, limit))
        return [await self.get(f"{pool}~{'0' * 16}")], None


class FakeApplied:
    def waiting(self) -> int:
        return 5


@dataclass
class FakeReconciliation:
    reports: int = 0
    repairs: list[bool] = field(default_factory=list)
    round: dict[str, Any] | None = None

    async def last_round(self) -> dict[str, Any] | None:
        return self.round

    async def report(self) -> dict[str, Any]:
        self.reports += 1
        return {"invariants": {"nothing_lost": True}, "oversold": 0, "lost": 0, "ok": True}

    async def resolve(self, event_id: int) -> QuarantinedEvent:
        if event_id != 1:
            raise UnknownQuarantinedEvent
        row = (1, 0, 3, 7, "held", "campaign-1", "payload", "error", NOW_MS, True, NOW_MS)
        return QuarantinedEvent(*row)

    async def repair(self, *, dry_run: bool) -> dict[str, Any]:
        self.repairs.append(dry_run)
        return {"dry_run": dry_run}


@dataclass
class FakeRebuild:
    runs: list[bool] = field(default_factory=list)

    async def run(self, *, dry_run: bool) -> dict[str, Any]:
        self.runs.append(dry_run)
        return {"dry_run": dry_run, "shards": []}


class Fakes:
    """An application over fakes, and the fakes themselves to arrange and look at.

    Args:
        stock: what its stock book is; without it there are no such routes.
        audit: its log of who changed what; the same.
    """

    def __init__(self, stock: Any = None, audit: Any = None) -> None:
        self.stock = stock
        self.audit = audit
        self.store = FakeStore()
        self.queries = FakeQueries()
        self.lanes = FakeLanes()
        self.seats = FakeSeats()
        self.groups = FakeGroups()
        self.pools = FakePools()
        self.reservations = FakeReservations()
        self.carts = FakeCarts()
        self.reconciliation = FakeReconciliation()
        self.rebuild = FakeRebuild()
        self.started: list[str] = []
        self.services = self._services()
        self.app = Application(self.services)

    @property
    def api(self) -> DescribedAPI:
        """The FastAPI part alone, for its document."""
        return build_api(self.services)

    def _services(self) -> Services:
        async def start() -> None:
            self.started.append("start")

        async def stop() -> None:
            self.started.append("stop")

        fakes = cast("Any", self)
        return Services(
            settings=Settings(),
            store=fakes.store,
            applied=cast("Any", FakeApplied()),
            lanes=fakes.lanes,
            seats=fakes.seats,
            pools=fakes.pools,
            reservations=fakes.reservations,
            carts=fakes.carts,
            groups=fakes.groups,
            queries=fakes.queries,
            signer=SIGNER,
            keyring=Keyring(),
            reconciliation=self.reconciliation,
            rebuild=self.rebuild,
            stock=self.stock,
            audit=self.audit,
            start=start,
            stop=stop,
        )

    def client(self, role: str | None = "admin") -> httpx.AsyncClient:
        """A client with the key of a role, or with none."""
        headers = {"authorization": f"Bearer {KEYS[role]}"} if role else {}
        transport = httpx.ASGITransport(cast("Any", self.app), raise_app_exceptions=True)
        return httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers)
