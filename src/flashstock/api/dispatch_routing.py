"""What the routes of shops and orders have in common."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import Depends, Path

from flashstock.api.dispatch_services import ChannelServices, DispatchServices
from flashstock.api.routing import ServicesOf
from flashstock.channels.registry import CHANNEL_ID_PATTERN
from flashstock.errors import UnknownChannel, UnknownOrder, UnknownPath

ORDER_NO_PATTERN: Final = r"^[0-9]{1,24}$"
_CHANNEL: Final = re.compile(CHANNEL_ID_PATTERN.removesuffix("$") + r"\Z")
_ORDER_NO: Final = re.compile(ORDER_NO_PATTERN.removesuffix("$") + r"\Z", re.ASCII)


def channels_of(services: ServicesOf) -> ChannelServices:
    """The shops' services of this process."""
    if services.stock is None:
        raise UnknownPath
    return services.stock.channels


def dispatch_of(services: ServicesOf) -> DispatchServices:
    """The orders' services of this process."""
    if services.stock is None:
        raise UnknownPath
    return services.stock.dispatch


def known_channel(
    channel: Annotated[
        str, Path(examples=["app"], json_schema_extra={"pattern": CHANNEL_ID_PATTERN})
    ],
) -> str:
    """Text that can't be a channel's id names none."""
    if _CHANNEL.fullmatch(channel) is None:
        raise UnknownChannel(f"{channel[:100]!r} is not a channel", channel=channel[:100])
    return channel


def known_order(
    order_no: Annotated[
        str, Path(examples=["40217756319"], json_schema_extra={"pattern": ORDER_NO_PATTERN})
    ],
) -> str:
    """Text that can't be an order number names none."""
    if _ORDER_NO.fullmatch(order_no) is None:
        raise UnknownOrder(f"{order_no[:40]!r} is not an order number", order_no=order_no[:40])
    return order_no


ChannelsOf = Annotated[ChannelServices, Depends(channels_of)]
DispatchOf = Annotated[DispatchServices, Depends(dispatch_of)]
ChannelOf = Annotated[str, Depends(known_channel)]
OrderNoOf = Annotated[str, Depends(known_order)]
