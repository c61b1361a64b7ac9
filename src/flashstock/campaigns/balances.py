"""The second payment of a presale: what is due when the goods are there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from flashstock.campaigns.tables import campaign_balances
from flashstock.campaigns.views import CampaignViews
from flashstock.errors import BalancePaid, NoBalanceDue, PaymentRefUsed, UnknownOrder
from flashstock.ledger.engine import insert_if_absent, reading, writing
from flashstock.ledger.tables import orders


@dataclass(frozen=True, slots=True)
class Balance:
    """What was paid on top of the deposit. Amounts are in the currency's smallest unit."""

    order_no: str
    payment_ref: str
    amount_minor: int
    currency: str
    recorded_by: str
    paid_at_ms: int


class PresaleBalances:
    """Balances of presale orders. Every method raises ``LedgerUnavailable``.

    Args:
        clock: ms since the epoch.
    """

    def __init__(self, engine: AsyncEngine, views: CampaignViews, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._views = views
        self._clock = clock

    async def pay(self, order_no: str, payment_ref: str, actor: str) -> tuple[Balance, bool]:
        """Put the final payment on record, once. Returns it, and whether this call did it.

        Raises:
            UnknownOrder: there is no such order.
            NoBalanceDue: it is of no presale item.
            BalancePaid: it was paid with another payment.
            PaymentRefUsed: this payment paid for something else.
        """
        async with reading(self._engine) as connection:
            found = await connection.execute(select(orders).where(orders.c.order_no == order_no))
            order = found.first()
        if order is None:
            raise UnknownOrder(f"there is no order {order_no!r}", order_no=order_no)
        sold = await self._views.sold_as(order_no)
        if sold is None or not sold.item.presale:
            raise NoBalanceDue(f"order {order_no} is of no presale", order_no=order_no)
        due_minor = (sold.item.price_minor - sold.item.deposit_minor) * order.quantity
        row = {
            "order_no": order_no,
            "payment_ref": payment_ref,
            "amount_minor": due_minor,
            "currency": sold.item.currency,
            "recorded_by": actor,
            "paid_at_ms": self._clock(),
        }
        async with writing(self._engine) as connection:
            used = await connection.execute(
                select(orders.c.order_no).where(orders.c.payment_ref == payment_ref)
            )
            if used.first() is not None:
                raise PaymentRefUsed(payment_ref=payment_ref)
            inserted = await connection.execute(
                insert_if_absent(self._engine, campaign_balances), row
            )
            new = inserted.rowcount == 1
            found = await connection.execute(
                select(campaign_balances).where(campaign_balances.c.order_no == order_no)
            )
            paid = found.first()
        if paid is None:
            raise PaymentRefUsed(payment_ref=payment_ref)
        if paid.payment_ref != payment_ref:
            raise BalancePaid(order_no=order_no, payment_ref=paid.payment_ref)
        return Balance(*(getattr(paid, name) for name in Balance.__slots__)), new
