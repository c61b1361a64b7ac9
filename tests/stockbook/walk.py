"""Random steps through everything that moves stock, and what must hold after each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from flashstock.bootstrap_stock import build_book
from flashstock.errors import Invalid, Refused
from flashstock.ledger.engine import reading, writing
from flashstock.ledger.tables import pools
from flashstock.model.stock import (
    KIND_RULES,
    MANUAL_KINDS,
    PHYSICAL,
    MovementKind,
    Pair,
    Posting,
    StockCommand,
    StockState,
)
from flashstock.stockbook.asked import Asked
from flashstock.stockbook.catalogue import Location, Sku
from flashstock.stockbook.drawing import Wanted
from flashstock.stockbook.movement_queries import MovementFilter
from flashstock.stockbook.movements import Line
from flashstock.stockbook.pool_flights import PoolFlights
from flashstock.stockbook.posting import lock_book, post
from flashstock.stockbook.purchases import Received
from flashstock.stockbook.tables import allocations, stock_balances
from flashstock.stockbook.transfers import Came

S, K = StockState, MovementKind
LOCATIONS = ("east", "west")
MANUAL = tuple((kind, pair) for kind in MANUAL_KINDS for pair in KIND_RULES[kind].manual)

small = st.integers(1, 12)
which = st.integers(0, 5)
sku = st.integers(0, 1)
location = st.sampled_from(LOCATIONS)
STEPS = st.one_of(
    st.tuples(st.just("move"), st.sampled_from(MANUAL), sku, location, small),
    st.tuples(st.just("receive"), sku, location, st.integers(10, 60)),
    st.tuples(st.just("commit"), sku, location, small),
    st.tuples(st.just("reverse"), which),
    st.tuples(st.just("virtual"), sku, location, st.integers(0, 15)),
    st.tuples(st.just("ratio"), sku, location, st.sampled_from([0.0, 0.1, 0.5, 1.5])),
    st.tuples(st.just("buy"), location, small, small),
    st.tuples(st.just("come"), which, sku, small, st.integers(0, 2)),
    st.tuples(st.just("come_all"), which),
    st.tuples(st.just("unbuy"), which),
    st.tuples(st.just("transfer"), location, sku, small),
    st.tuples(st.just("dispatch"), which, small),
    st.tuples(st.just("arrive"), which, st.integers(0, 4), st.integers(0, 2), st.integers(0, 2)),
    st.tuples(st.just("arrive_all"), which),
    st.tuples(st.just("keep"), which),
    st.tuples(st.just("count"), sku, location, st.integers(0, 60)),
    st.tuples(st.just("approve"), which),
    st.tuples(st.just("lot"), sku, location, small),
    st.tuples(st.just("release"), which),
    st.tuples(st.just("allocate"), sku, location, small),
    st.tuples(st.just("deallocate"), sku, location, small),
    st.tuples(st.just("sell"), sku, location, small),
    st.tuples(st.just("again")),
)

Call = Callable[[], Awaitable[Any]]


@dataclass
class Walk:
    """One walk has SKUs of its own; the book is everybody's, and has to be right as a whole."""

    engine: AsyncEngine
    name: str
    now_ms: int = 1_795_311_438_974
    commands: int = 0
    refused: int = 0
    last: Call | None = None
    made: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        flights = PoolFlights(self.engine, lambda _: 0, self.clock)
        self.book = build_book(self.engine, self.clock, flights)
        self.skus = (f"{self.name}-cap", f"{self.name}-mug")

    def clock(self) -> int:
        return self.now_ms

    def asked(self, actor: str = "ann") -> Asked:
        self.commands += 1
        return Asked(f"{self.name}-{self.commands}", actor)

    async def begin(self) -> None:
        for code in LOCATIONS:
            await self.book.catalogue.put_location(Location(code))
        for one in self.skus:
            await self.book.catalogue.put_sku(Sku(one))
        row = {"id": self.name, "shard": 0, "sku": self.skus[0], "state": "open", "total": 0}
        zeros = ("held", "sold", "locked", "per_buyer_limit", "hold_ms", "starts_at_ms")
        more = {**dict.fromkeys(zeros, 0), "ends_at_ms": 0, "durability": "ledger", "waves": ""}
        times = {"created_at_ms": 1, "updated_at_ms": 1}
        async with writing(self.engine) as connection:
            for one in self.skus:
                values = {**row, **more, **times, "id": f"pool-{one}"}
                await connection.execute(insert(pools), values)

    async def step(self, step: tuple[Any, ...]) -> None:
        """Take it. A refusal and a repetition change no balance."""
        name, *arguments = step
        before = await self.balances()
        if name == "again":
            if self.last is not None:
                await self.last()
                assert await self.balances() == before
            return
        call = getattr(self, f"_{name}")(*arguments)
        if call is None:
            return
        try:
            found = await call()
        except (Refused, Invalid):
            self.refused += 1
            assert await self.balances() == before
            return
        self.last = call
        self._note(name, found)

    def _note(self, name: str, found: Any) -> None:
        documents = {"buy": "purchase", "transfer": "transfer", "count": "count", "lot": "lot"}
        if name in documents:
            self.made[documents[name]].append(found[0].id)
        elif name in {"move", "receive"}:
            self.made["movement"].append(found[0].number)

    def _pick(self, kind: str, number: int) -> int | None:
        made = self.made[kind]
        return made[number % len(made)] if made else None

    def _move(self, way: Any, sku: int, location: str, quantity: int) -> Call:
        kind, (source, target) = way
        asked = self.asked()
        lines = [Line(self.skus[sku], location, quantity, source, target)]
        return lambda: self.book.movements.post(asked, kind, lines, "a walk")

    def _receive(self, sku: int, location: str, quantity: int) -> Call:
        return self._move((K.RECEIVE, (S.SUPPLIER, S.AVAILABLE)), sku, location, quantity)

    def _commit(self, sku: int, location: str, quantity: int) -> Call:
        asked, wanted = self.asked(), [Wanted(self.skus[sku], location, quantity)]
        return lambda: self.book.movements.commit(asked, "order", wanted)

    def _reverse(self, number: int) -> Call | None:
        movement, asked = self._pick("movement", number), self.asked()
        return (lambda: self.book.movements.reverse(asked, movement, "typo")) if movement else None

    def _virtual(self, sku: int, location: str, allowance: int) -> Call:
        cell = (self.skus[sku], location)
        return lambda: self.book.balances.allow_virtual(*cell, "ann", allowance=allowance)

    def _ratio(self, sku: int, location: str, ratio: float) -> Call:
        cell = (self.skus[sku], location)
        return lambda: self.book.balances.allow_virtual(*cell, "ann", oversell_ratio=ratio)

    def _buy(self, location: str, caps: int, mugs: int) -> Call:
        asked, ordered = self.asked(), dict(zip(self.skus, (caps, mugs), strict=True))
        return lambda: self.book.purchases.create(asked, location, ordered)

    def _come(self, number: int, sku: int, quantity: int, damaged: int) -> Call | None:
        purchase, asked = self._pick("purchase", number), self.asked()
        came = [Received(self.skus[sku], quantity, damaged)]
        return (lambda: self.book.purchases.receive(asked, purchase, came)) if purchase else None

    def _come_all(self, number: int) -> Call | None:
        purchase, asked = self._pick("purchase", number), self.asked()
        return (lambda: self.book.purchases.receive(asked, purchase)) if purchase else None

    def _unbuy(self, number: int) -> Call | None:
        purchase, asked = self._pick("purchase", number), self.asked()
        return (lambda: self.book.purchases.cancel(asked, purchase)) if purchase else None

    def _transfer(self, source: str, sku: int, quantity: int) -> Call:
        [destination] = {*LOCATIONS} - {source}
        asked, wanted = self.asked(), {self.skus[sku]: quantity}
        return lambda: self.book.transfers.create(asked, source, destination, wanted)

    def _dispatch(self, number: int, quantity: int) -> Call | None:
        transfer, asked = self._pick("transfer", number), self.asked()

        leaving: dict[str, int] = {}

        async def dispatch() -> Any:
            found = await self.book.transfers.get(transfer or 0)
            for line in found.lines:
                leaving.setdefault(line.sku, min(quantity, line.outgoing))
            return await self.book.transfers.dispatch(asked, found.id, leaving)

        return dispatch if transfer else None

    def _arrive(self, number: int, sound: int, damaged: int, lost: int) -> Call | None:
        transfer, asked = self._pick("transfer", number), self.asked()

        async def arrive() -> Any:
            found = await self.book.transfers.get(transfer or 0)
            came = [Came(line.sku, sound, damaged, lost) for line in found.lines]
            return await self.book.transfers.receive(asked, found.id, came)

        return arrive if transfer else None

    def _arrive_all(self, number: int) -> Call | None:
        transfer, asked = self._pick("transfer", number), self.asked()
        return (lambda: self.book.transfers.receive(asked, transfer)) if transfer else None

    def _keep(self, number: int) -> Call | None:
        transfer, asked = self._pick("transfer", number), self.asked()
        return (lambda: self.book.transfers.cancel(asked, transfer)) if transfer else None

    def _count(self, sku: int, location: str, counted: int) -> Call:
        asked, found = self.asked(), {self.skus[sku]: counted}
        return lambda: self.book.stocktakes.count(asked, location, found)

    def _approve(self, number: int) -> Call | None:
        count = self._pick("count", number)
        return (
            (lambda: self.book.stocktakes.approve(count, "bob", may_approve_own=False))
            if count
            else None
        )

    def _lot(self, sku: int, location: str, quantity: int) -> Call:
        asked, cell = self.asked(), (self.skus[sku], location)
        return lambda: self.book.lots.create(asked, *cell, quantity, self.now_ms)

    def _release(self, number: int) -> Call | None:
        lot, asked = self._pick("lot", number), self.asked()
        return (lambda: self.book.lots.release(asked, lot)) if lot else None

    def _allocate(self, sku: int, location: str, quantity: int) -> Call:
        row = (S.AVAILABLE, S.CAMPAIGN)
        return self._pooled(K.ALLOCATE, sku, location, (row,), quantity, quantity, quantity)

    def _deallocate(self, sku: int, location: str, quantity: int) -> Call:
        row = (S.CAMPAIGN, S.AVAILABLE)
        return self._pooled(K.DEALLOCATE, sku, location, (row,), quantity, -quantity, -quantity)

    def _sell(self, sku: int, location: str, quantity: int) -> Call:
        rows = ((S.CAMPAIGN, S.COMMITTED), (S.COMMITTED, S.CUSTOMER))
        return self._pooled(K.SHIP, sku, location, rows, quantity, -quantity, 0)

    def _pooled(
        self,
        kind: MovementKind,
        sku: int,
        location: str,
        rows: tuple[Pair, ...],
        quantity: int,
        allocated: int,
        total: int,
    ) -> Call:
        """As campaigns and shipping do it: the movement, the allocation and the pool in one."""
        name, asked = self.skus[sku], self.asked()
        cell = (allocations.c.sku == name) & (allocations.c.location == location)
        shipped = quantity if kind is K.SHIP else 0
        postings = tuple(Posting(name, location, *row, quantity) for row in rows)
        more = {
            "quantity": allocations.c.quantity + allocated,
            "shipped": allocations.c.shipped + shipped,
        }
        pool = update(pools).where(pools.c.id == f"pool-{name}")

        async def move() -> None:
            async with writing(self.engine) as connection:
                await lock_book(connection)
                command = StockCommand(asked.id, kind, postings)
                if not await post(connection, command, self.now_ms):
                    return
                changed = await connection.execute(update(allocations).where(cell).values(more))
                if not changed.rowcount:
                    row = {"pool": f"pool-{name}", "sku": name, "location": location}
                    first = {**row, "per_unit": 1, "quantity": allocated}
                    await connection.execute(insert(allocations), first)
                await connection.execute(pool.values(total=pools.c.total + total))

        return move

    async def balances(self) -> dict[tuple[str, str], dict[str, int]]:
        statement = select(stock_balances).where(stock_balances.c.sku.in_(self.skus))
        async with reading(self.engine) as connection:
            rows = [row._asdict() for row in await connection.execute(statement)]
        found = {(row.pop("sku"), row.pop("location")): row for row in rows}
        for row in found.values():
            del row["changed_seq"], row["virtual_allowance"]
        return found

    async def check(self) -> None:
        """What all movements add up to, by a rule of this test's own; and the book's own proof."""
        for (sku, location), row in (await self.balances()).items():
            units: dict[str, int] = dict.fromkeys(StockState, 0)
            filter_ = MovementFilter(sku=sku, location=location)
            movements = await self.book.balances.movements(filter_, 0, 1_000, newest=False)
            for movement in movements:
                for line in movement.lines:
                    if (line.sku, line.location) == (sku, location):
                        units[line.source] -= line.quantity
                        units[line.target] += line.quantity
            units[S.VIRTUAL] = -units[S.VIRTUAL]
            on_hand = sum(units[state] for state in PHYSICAL) - units[S.VIRTUAL]
            assert row == {
                "on_hand": on_hand,
                **{name: units[name] for name in row if name != "on_hand"},
            }
            assert min(row.values()) >= 0
        report = await self.book.identity.prove(deep=True)
        assert report.ok, report.differences
