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
from flashstock.client.http import Client, Granted
from flashstock.client.local_service import LocalService, ServiceFailed
from flashstock.client.problems import UnexpectedAnswer
from flashstock.client.retry import RetryPolicy

__all__ = [
    "Cart",
    "Client",
    "Granted",
    "Line",
    "LocalService",
    "Pool",
    "PoolOrder",
    "Reconciliation",
    "Refund",
    "Reservation",
    "RetryPolicy",
    "ServiceFailed",
    "UnexpectedAnswer",
]
