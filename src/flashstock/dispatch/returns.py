"""Returns: units come back, across two stores, and a crash anywhere between them loses nothing.

1. A row, ``pending``. From here on the units can neither be sent nor come back a second time.
2. The pool takes them out of its sales: back to be sold again where they never left, out of the
   pool where they did. Its script does so once per command.
3. When its event is in the journal, one transaction books the goods and marks the row ``done``.

Whoever finds a pending row may go on with it: whoever asked, when he asks again, and the resumer
that runs beside the writer. A pool forgets a sale about a day after its deadline. What comes back
later is booked without it: for the pool those units stay sold, and for the book they stay shipped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from sqlalchemy import exists, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from flashstock.dispatch.commands import Command, begin
from flashstock.dispatch.contents import check_location
from flashstock.dispatch.goods_back import book_goods, release_forgotten
from flashstock.dispatch.orders import ReturnKind, ReturnState, Sale, sale_of
from flashstock.dispatch.progress import advance
from flashstock.dispatch.return_rows import (
    Disposition,
    Return,
    change,
    cursor_seq,
    event_of,
    return_of,
    returns_page,
)
from flashstock.dispatch.tables import order_returns
from flashstock.errors import (
    FlashstockError,
    GroupNotFormed,
    InvalidRequest,
    NotReturnable,
    Unavailable,
)
from flashstock.hotpath.replies import ReservationReply
from flashstock.hotpath.scripts import ReturnSaleStatus
from flashstock.ledger.engine import reading, writing
from flashstock.ledger.tables import orders, reservations
from flashstock.model.ids import ReservationId, parse_reservation_id
from flashstock.rounds import costs_one_round
from flashstock.stockbook.posting import BOOK_TIMEOUT_MS, lock_book
from flashstock.stockbook.tables import allocations

logger = logging.getLogger(__name__)

TAKEN: Final = (ReturnSaleStatus.RETURNED, ReturnSaleStatus.REPLAYED)
REFUSED_BY_LEDGER: Final = "the ledger refused the pool's event: see the quarantine"
JOURNAL_POLL_S: Final = 0.01
JOURNAL_POLLS_MAX: Final = 200
RESUME_INTERVAL_S: Final = 1.0
RESUME_PAGE: Final = 100


class HotReturns(Protocol):
    """What returns need of the hot path: ``HotStore`` has it."""

    async def return_sale(
        self, target: ReservationId, quantity: int, command_digest: str, *, restock: bool
    ) -> ReservationReply:
        """Take units of a sale back, once per command."""
        ...


@dataclass(frozen=True, slots=True)
class ReturnOrder:
    """What comes back. With a location: goods that had left; without: units that never did.

    Args:
        command_id: a digest; the pool recognises a repetition by it, too.
        quantity: ``None`` is all that can come back.
    """

    command_id: str
    actor: str
    order_no: str
    quantity: int | None = None
    location: str | None = None
    disposition: Disposition = Disposition.AVAILABLE
    reason: str = ""

    @property
    def kind(self) -> ReturnKind:
        return ReturnKind.UNSHIPPED if self.location is None else ReturnKind.SHIPPED

    def command(self) -> Command:
        """As it is noted, and recognised when it is repeated."""
        payload = [self.quantity, self.location, self.disposition.value, self.reason]
        return Command(self.command_id, "return", self.order_no, self.actor, payload)


class Returns:
    """Takes orders back.

    Args:
        clock: ms since the epoch.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        clock: Callable[[], int],
        hot: HotReturns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._hot = hot
        self._sleep = sleep

    async def take_back(self, wanted: ReturnOrder) -> tuple[Return, bool]:
        """Take units back. Returns (the return, was this very call made before).

        A repetition goes on where the first call stopped, if it did.

        Raises:
            UnknownOrder, UnknownLocation: it names what is not there.
            GroupNotFormed: it is a seat of a group that is open, or failed.
            NotReturnable: that many can't come back; ``shipped`` and ``unshipped`` may.
            Unavailable, Recovering: it is on record and will be finished; the same key finds out.
        """
        asked, replayed = await self._ask(wanted)
        asked = await self.finish(asked)
        if asked.state is ReturnState.REFUSED:
            raise NotReturnable(asked.problem, order_no=asked.order_no)
        return asked, replayed

    async def booked_order(self, reservation_id: str) -> str | None:
        """The order that a reservation became, where the stock book has filled its pool."""
        booked = exists().where(allocations.c.pool == orders.c.pool)
        named = orders.c.reservation_id == reservation_id
        async with reading(self._engine) as connection:
            statement = select(orders.c.order_no).where(named, booked)
            found = (await connection.execute(statement)).scalar_one_or_none()
            return None if found is None else str(found)

    async def withdraw(self, wanted: ReturnOrder, *, restock: bool) -> bool:
        """Take back, at the pool, units of an order that never left. Was this call made before?

        Here and not in the pool alone, so that they can't be on their way to the buyer meanwhile.

        Raises:
            NotReturnable: as ``take_back``; and goods that leave the pool come back to a location.
        """
        if not restock:
            raise NotReturnable(
                f"say where the goods are: POST /v1/orders/{wanted.order_no}/return",
                order_no=wanted.order_no,
            )
        return (await self.take_back(wanted))[1]

    async def finish(self, asked: Return) -> Return:
        """Go on with a return until it is done, or was refused. Repeating it changes nothing.

        Raises:
            Unavailable, Recovering: a store did not answer, or SQL has not heard of it yet.
        """
        if asked.state is not ReturnState.PENDING:
            return asked
        if await self._heard(asked) is None:
            await self._ask_pool(asked)
        return await self._book(asked)

    async def resume(self) -> int:
        """Go on with whatever is pending. Returns how many returns came to an end."""
        after, ended = 0, 0
        while True:
            async with reading(self._engine) as connection:
                page = await returns_page(connection, ReturnState.PENDING, after, RESUME_PAGE)
            for asked in page:
                try:
                    ended += (await self.finish(asked)).state is not ReturnState.PENDING
                except FlashstockError as failure:
                    logger.info("return %d waits: %s", asked.number, failure)
            if len(page) < RESUME_PAGE:
                return ended
            after = page[-1].number

    async def run(self, interval_s: float = RESUME_INTERVAL_S) -> None:
        """Resume, round after round, until cancelled."""
        while True:
            with costs_one_round(logger, "no return was resumed this time"):
                await self.resume()
            await self._sleep(interval_s)

    async def _ask(self, wanted: ReturnOrder) -> tuple[Return, bool]:
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            sale = await sale_of(connection, wanted.order_no)
            if not await begin(connection, wanted.command(), self._clock()):
                known = select(order_returns.c.number).where(
                    order_returns.c.command_id == wanted.command_id
                )
                number = (await connection.execute(known)).scalar_one()
                return await return_of(connection, number), True
            if sale.is_waiting:
                raise GroupNotFormed(order_no=sale.order_no, reservation=sale.reservation_id)
            quantity = _quantity(sale, wanted)
            if wanted.location is not None:
                await check_location(connection, wanted.location)
            row = await self._row(connection, sale, wanted, quantity)
            statement = insert(order_returns).returning(order_returns.c.number)
            number = (await connection.execute(statement, row)).scalar_one()
            return await return_of(connection, number), False

    async def _row(
        self, connection: AsyncConnection, sale: Sale, wanted: ReturnOrder, quantity: int
    ) -> dict[str, object]:
        now_ms = self._clock()
        came_back = wanted.kind is ReturnKind.SHIPPED
        return {
            "command_id": wanted.command_id,
            "payload_digest": wanted.command().payload_digest,
            "order_no": sale.order_no,
            "reservation_id": sale.reservation_id,
            "pool": sale.pool,
            "quantity": quantity,
            "kind": wanted.kind.value,
            "location": wanted.location or "",
            "disposition": wanted.disposition.value if came_back else "",
            "reason": wanted.reason,
            "state": ReturnState.PENDING.value,
            "after_seq": await cursor_seq(connection, await _shard(connection, sale)),
            "actor": wanted.actor,
            "created_at_ms": now_ms,
            "updated_at_ms": now_ms,
        }

    async def _heard(self, asked: Return) -> bool | None:
        async with reading(self._engine) as connection:
            sale = await sale_of(connection, asked.order_no)
            return await event_of(connection, await _shard(connection, sale), asked)

    async def _ask_pool(self, asked: Return) -> None:
        """Have the pool decide, and wait until its event is in the journal, if there is one."""
        target = parse_reservation_id(asked.reservation_id)
        if target is None:
            raise InvalidRequest(f"{asked.reservation_id!r} is no reservation of a pool")
        restock = asked.kind is ReturnKind.UNSHIPPED
        reply = await self._hot.return_sale(
            target, asked.quantity, asked.command_id, restock=restock
        )
        status = ReturnSaleStatus(reply.status)
        if status is ReturnSaleStatus.UNKNOWN:
            await self._book_forgotten(asked)
        elif status in TAKEN:
            await self._wait(asked)
        else:
            await self._refuse(asked, f"the pool says: {status.name.lower()}")

    async def _wait(self, asked: Return) -> None:
        for _ in range(JOURNAL_POLLS_MAX):
            if await self._heard(asked) is not None:
                return
            await self._sleep(JOURNAL_POLL_S)
        raise Unavailable("the return is on record, and not in the ledger yet; ask again")

    async def _book(self, asked: Return) -> Return:
        """The last step, in one transaction: the goods, the order, the row."""
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            now = await return_of(connection, asked.number)
            if now.state is not ReturnState.PENDING:
                return now
            sale = await sale_of(connection, asked.order_no)
            counted = await event_of(connection, await _shard(connection, sale), now)
            if counted is None:
                raise Unavailable("the return is on record, and not in the ledger yet; ask again")
            if not counted:
                # SQL contradicts the pool: nothing moves until somebody has looked at it.
                if now.problem != REFUSED_BY_LEDGER:
                    await change(connection, now.number, problem=REFUSED_BY_LEDGER)
                return await return_of(connection, now.number)
            await self._count(connection, now, through_pool=True)
            if now.kind is ReturnKind.SHIPPED:
                await book_goods(connection, now, self._clock(), leaves_pool=True)
            return await return_of(connection, now.number)

    async def _book_forgotten(self, asked: Return) -> None:
        """Book units of a sale that the pool does not know any more."""
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            now = await return_of(connection, asked.number)
            if now.state is not ReturnState.PENDING:
                return
            await self._count(connection, now, through_pool=False)
            if now.kind is ReturnKind.SHIPPED:
                await book_goods(connection, now, self._clock(), leaves_pool=False)
            else:
                await release_forgotten(connection, now, self._clock())

    async def _count(self, connection: AsyncConnection, now: Return, *, through_pool: bool) -> None:
        at_ms = self._clock()
        state = ReturnState.DONE.value
        await change(
            connection,
            now.number,
            state=state,
            problem="",
            through_pool=through_pool,
            updated_at_ms=at_ms,
        )
        came_back = now.kind is ReturnKind.SHIPPED
        await advance(
            connection,
            now.order_no,
            at_ms,
            returned=now.quantity if came_back else 0,
            withdrawn=0 if came_back else now.quantity,
            through_pool=now.quantity if through_pool else 0,
        )

    async def _refuse(self, asked: Return, problem: str) -> None:
        async with writing(self._engine, BOOK_TIMEOUT_MS) as connection:
            await lock_book(connection)
            now = await return_of(connection, asked.number)
            if now.state is ReturnState.PENDING:
                values = {"state": ReturnState.REFUSED.value, "problem": problem}
                await change(connection, now.number, **values, updated_at_ms=self._clock())


def _quantity(sale: Sale, wanted: ReturnOrder) -> int:
    """How many come back; all that can where nobody says."""
    most = sale.with_buyer if wanted.kind is ReturnKind.SHIPPED else sale.to_ship
    quantity = most if wanted.quantity is None else wanted.quantity
    if not 0 < quantity <= most:
        what = "that had left" if wanted.kind is ReturnKind.SHIPPED else "that never left"
        raise NotReturnable(
            f"{most} units {what} can come back of order {sale.order_no}",
            order_no=sale.order_no,
            state=sale.state.value,
            shipped=sale.with_buyer,
            unshipped=sale.to_ship,
        )
    return quantity


async def _shard(connection: AsyncConnection, sale: Sale) -> int:
    """The shard whose log tells of the sale."""
    statement = select(reservations.c.shard).where(reservations.c.id == sale.reservation_id)
    return int((await connection.execute(statement)).scalar_one())
