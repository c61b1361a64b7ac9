"""What the API is given to serve shops and to send orders."""

from __future__ import annotations

from dataclasses import dataclass

from flashstock.channels.outside_orders import OutsideOrders
from flashstock.channels.policies import Policies
from flashstock.channels.publication import Publication
from flashstock.channels.registry import Channels
from flashstock.dispatch.order_book import OrderBook
from flashstock.dispatch.returns import Returns
from flashstock.dispatch.shipping import Shipping


@dataclass(frozen=True)
class ChannelServices:
    """The shops. Nothing is opened before it is used."""

    channels: Channels
    policies: Policies
    publication: Publication
    orders: OutsideOrders


@dataclass(frozen=True)
class DispatchServices:
    """Orders, on their way out and back."""

    orders: OrderBook
    shipping: Shipping
    returns: Returns
