"""The one port of the ledger: what ``apply`` needs written, each database in its own way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from flashstock.ledger.batch import JournalRow
from flashstock.ledger.cursor import Cursor
from flashstock.ledger.failures import Violation
from flashstock.ledger.tables import pools
from flashstock.model.events import encode_rules, encode_waves
from flashstock.model.fold import Changes


class LedgerWrites(Protocol):
    """Statements inside a transaction that the caller holds. They never commit."""

    async def advance(
        self,
        connection: AsyncConnection,
        before: Cursor,
        after: Cursor,
        rows: Sequence[JournalRow],
        now_ms: int,
    ) -> bool:
        """Move the cursor and keep the journal rows (at least one). The shard was alive then.

        False, and nothing written, where the cursor is not at ``before``.
        """
        ...

    async def change(
        self,
        connection: AsyncConnection,
        shard: int,
        changes: Changes,
        order_numbers: Mapping[str, str],
    ) -> None:
        """Write what the fold of a batch says.

        Args:
            order_numbers: by reservation id, one for each of ``changes.sales``.

        Raises:
            Violation: a row was not there, or not in the state that the events expect.
            IntegrityError and other data errors of the database: see ``failures.is_violation``.
        """
        ...


class PoolRow(NamedTuple):
    """How one known pool moves. ``None`` keeps what is there."""

    id: str
    total: int
    held: int
    sold: int
    locked: int
    sku: str | None
    state: str | None
    per_buyer_limit: int | None
    hold_ms: int | None
    starts_at_ms: int | None
    ends_at_ms: int | None
    durability: str | None
    waves: str | None
    audience: str | None
    channels: str | None
    deduct: str | None
    group_buy: str | None
    updated_at_ms: int


class ReservationMove(NamedTuple):
    """How one known reservation changes, and what it must be before. ``None``: no matter."""

    id: str
    expected: str
    quantity: int | None
    returned_before: int | None
    state: str
    updated_at_ms: int
    deadline_ms: int | None
    payment_ref: str | None
    order_index: int | None
    order_no: str | None
    returned: int | None
    ended_at_ms: int | None
    """The deadline from now on of a hold that had none."""


RESERVATION_COLUMNS: Final = (
    "id",
    "shard",
    "pool",
    "buyer",
    "quantity",
    "cart",
    "state",
    "deadline_ms",
    "created_at_ms",
    "updated_at_ms",
    "generation",
    "seq",
    "payment_ref",
    "order_index",
    "order_no",
    "returned",
)


def inserted_reservations(
    shard: int, changes: Changes, order_numbers: Mapping[str, str]
) -> list[tuple[object, ...]]:
    """The rows of new reservations, in the order of ``RESERVATION_COLUMNS``."""
    return [
        (
            row.id,
            shard,
            row.pool,
            row.buyer,
            row.quantity,
            row.cart,
            row.state.value,
            row.deadline_ms,
            row.created_at_ms,
            row.updated_at_ms,
            row.generation,
            row.seq,
            row.payment_ref,
            row.order_index,
            order_numbers.get(row.id),
            row.returned,
        )
        for row in changes.inserted.values()
    ]


def moved_reservations(changes: Changes, order_numbers: Mapping[str, str]) -> list[ReservationMove]:
    return [
        ReservationMove(
            change.id,
            change.expected.value,
            change.quantity,
            change.returned_before,
            change.state.value,
            change.updated_at_ms,
            change.deadline_ms,
            change.payment_ref,
            change.order_index,
            order_numbers.get(change.id),
            change.returned,
            change.ended_at_ms,
        )
        for change in changes.changed.values()
    ]


def moved_pools(changes: Changes) -> list[PoolRow]:
    """The pools that are known already; every one that an event names, moved or not."""
    rows: list[PoolRow] = []
    for pool, change in changes.pools.items():
        if change.created_at_ms is not None:
            continue
        rules = change.rules
        waves = None if change.waves is None else encode_waves(change.waves)
        if rules is not None and waves is None:
            waves = encode_waves(rules.waves)
        rows.append(
            PoolRow(
                id=pool,
                total=change.total,
                held=change.held,
                sold=change.sold,
                locked=change.locked,
                sku=None if rules is None else rules.sku,
                state=None if rules is None else rules.state.value,
                per_buyer_limit=None if rules is None else rules.per_buyer_limit,
                hold_ms=None if rules is None else rules.hold_ms,
                starts_at_ms=None if rules is None else rules.starts_at_ms,
                ends_at_ms=None if rules is None else rules.ends_at_ms,
                durability=None if rules is None else rules.durability.value,
                waves=waves,
                audience=None if rules is None else rules.audience,
                channels=None if rules is None else rules.channels,
                deduct=None if rules is None else rules.deduct.value,
                group_buy=None if rules is None else rules.group_buy,
                updated_at_ms=change.updated_at_ms,
            )
        )
    return rows


async def create_pools(connection: AsyncConnection, shard: int, changes: Changes) -> None:
    """Insert the pools that the batch created, with the units they have at its end."""
    rows = [
        {
            "id": pool,
            "shard": shard,
            "total": change.total,
            "held": change.held,
            "sold": change.sold,
            "locked": change.locked,
            **encode_rules(change.rules),
            "per_buyer_limit": change.rules.per_buyer_limit,
            "hold_ms": change.rules.hold_ms,
            "starts_at_ms": change.rules.starts_at_ms,
            "ends_at_ms": change.rules.ends_at_ms,
            "waves": encode_waves(change.rules.waves if change.waves is None else change.waves),
            "created_at_ms": change.created_at_ms,
            "updated_at_ms": change.updated_at_ms,
        }
        for pool, change in changes.pools.items()
        if change.created_at_ms is not None and change.rules is not None
    ]
    if rows:
        await connection.execute(insert(pools), rows)


class OrderRow(NamedTuple):
    order_no: str
    reservation_id: str
    pool: str
    buyer: str
    quantity: int
    payment_ref: str
    confirmed_at_ms: int


class RefundRow(NamedTuple):
    shard: int
    reservation_id: str
    pool: str
    buyer: str
    quantity: int
    payment_ref: str
    recorded_at_ms: int


def order_rows(changes: Changes, order_numbers: Mapping[str, str]) -> list[OrderRow]:
    return [
        OrderRow(
            order_numbers[sale.reservation_id],
            sale.reservation_id,
            sale.pool,
            sale.buyer,
            sale.quantity,
            sale.payment_ref,
            sale.confirmed_at_ms,
        )
        for sale in changes.sales
    ]


def refund_rows(shard: int, changes: Changes) -> list[RefundRow]:
    """One row per payment: a payment that asks again is owed its money once."""
    by_payment: dict[str, RefundRow] = {}
    for refund in changes.refunds:
        row = RefundRow(
            shard,
            refund.reservation_id,
            refund.pool,
            refund.buyer,
            refund.quantity,
            refund.payment_ref,
            refund.recorded_at_ms,
        )
        first = by_payment.setdefault(row.payment_ref, row)
        if first.reservation_id != row.reservation_id:
            raise Violation(f"payment {row.payment_ref!r} is due back for two reservations")
    return list(by_payment.values())


def expect_reservations(found: int, moved: Sequence[ReservationMove]) -> None:
    """Every reservation that changes was found as its event says, or it is a violation."""
    if found == len(moved):
        return
    if len(moved) == 1:
        row = moved[0]
        units = "" if row.quantity is None else f" with {row.quantity} units"
        raise Violation(f"{row.id} is not {row.expected}{units} in SQL")
    raise Violation(f"{len(moved) - found} reservations are not as expected in SQL")


def postponed_pools(changes: Changes) -> dict[tuple[int, int], list[str]]:
    """The pools whose holds are put off, by how much: (those that end after, by). In ms."""
    found: dict[tuple[int, int], list[str]] = {}
    for one in changes.postponed:
        found.setdefault((one.after_ms, one.by_ms), []).append(one.pool)
    return found


def expect_postponed(found: int, changes: Changes) -> None:
    """Exactly the holds were put off that the events speak of, or it is a violation."""
    wanted = sum(one.holds for one in changes.postponed)
    if found != wanted:
        raise Violation(f"{found} holds are to be put off in SQL, not {wanted}")


def expect_pools(found: int, moved: Sequence[PoolRow]) -> None:
    """Every pool that an event names is in SQL, in this shard, or it is a violation."""
    if found != len(moved):
        names = ", ".join(row.id for row in moved[:10])
        raise Violation(f"{len(moved) - found} of these pools are not in this shard: {names}")


def expect_refunds(found: int, refunds: Sequence[RefundRow]) -> None:
    """No payment is due back for one reservation when it is on record for another."""
    if found != len(refunds):
        raise Violation("a payment is due back for two reservations")
