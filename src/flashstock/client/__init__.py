"""A client of the HTTP interface: retries are safe, errors are typed by their ``code``."""

from flashstock.client.answers import (
    Attests,
    Cart,
    Line,
    Pool,
    PoolOrder,
    Reconciliation,
    Refund,
    Reservation,
    Wave,
    Wish,
)
from flashstock.client.blocking import BlockingClient
from flashstock.client.book_answers import (
    Balance,
    Campaign,
    CampaignItem,
    CampaignOrder,
    Movement,
    Order,
    OrderReturn,
    PublicCampaign,
    PublicItem,
    Shelf,
    StockIdentity,
    StockLine,
)
from flashstock.client.crowd_transport import CrowdTransport
from flashstock.client.http import Client
from flashstock.client.local_service import LocalService, ServiceFailed
from flashstock.client.problems import UnexpectedAnswer
from flashstock.client.retry import RetryPolicy
from flashstock.client.sale_calls import Granted
from flashstock.client.transport import BlockingHttpxTransport, HttpxTransport, Transport

__all__ = [
    "Attests",
    "Balance",
    "BlockingClient",
    "BlockingHttpxTransport",
    "Campaign",
    "CampaignItem",
    "CampaignOrder",
    "Cart",
    "Client",
    "CrowdTransport",
    "Granted",
    "HttpxTransport",
    "Line",
    "LocalService",
    "Movement",
    "Order",
    "OrderReturn",
    "Pool",
    "PoolOrder",
    "PublicCampaign",
    "PublicItem",
    "Reconciliation",
    "Refund",
    "Reservation",
    "RetryPolicy",
    "ServiceFailed",
    "Shelf",
    "StockIdentity",
    "StockLine",
    "Transport",
    "UnexpectedAnswer",
    "Wave",
    "Wish",
]
