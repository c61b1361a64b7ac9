"""A client of the HTTP interface: retries are safe, errors are typed by their ``code``."""

from flashstock.client.answers import (
    Cart,
    Line,
    Pool,
    PoolOrder,
    Reconciliation,
    Refund,
    Reservation,
)
from flashstock.client.book_answers import (
    Balance,
    Campaign,
    CampaignItem,
    CampaignOrder,
    Movement,
    Order,
    OrderReturn,
    Shelf,
    StockIdentity,
    StockLine,
)
from flashstock.client.http import Client, Granted
from flashstock.client.local_service import LocalService, ServiceFailed
from flashstock.client.problems import UnexpectedAnswer
from flashstock.client.retry import RetryPolicy

__all__ = [
    "Balance",
    "Campaign",
    "CampaignItem",
    "CampaignOrder",
    "Cart",
    "Client",
    "Granted",
    "Line",
    "LocalService",
    "Movement",
    "Order",
    "OrderReturn",
    "Pool",
    "PoolOrder",
    "Reconciliation",
    "Refund",
    "Reservation",
    "RetryPolicy",
    "ServiceFailed",
    "Shelf",
    "StockIdentity",
    "StockLine",
    "UnexpectedAnswer",
]
