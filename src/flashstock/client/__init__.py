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
from flashstock.client.group_answers import Group, GroupBuy, GroupProgress, Member, Tier
from flashstock.client.group_calls import SeatTaken
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
    "Group",
    "GroupBuy",
    "GroupProgress",
    "HttpxTransport",
    "Line",
    "LocalService",
    "Member",
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
    "SeatTaken",
    "ServiceFailed",
    "Shelf",
    "StockIdentity",
    "StockLine",
    "Tier",
    "Transport",
    "UnexpectedAnswer",
    "Wave",
    "Wish",
]
