"""How routes come by the services of ``notice_services``."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from flashstock.api.notice_services import NoticeServices
from flashstock.api.routing import ServicesOf
from flashstock.errors import UnknownPath


def notices_of(services: ServicesOf) -> NoticeServices:
    """Those of this process."""
    if services.stock is None:
        raise UnknownPath
    return services.stock.notices


NoticesOf = Annotated[NoticeServices, Depends(notices_of)]
