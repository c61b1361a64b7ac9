"""Reading the bodies of the lean routes of group-buys; see ``requests``."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from flashstock.api import requests, schemas_groups
from flashstock.api.requests import AttestsBody, quotes_of, read_lean
from flashstock.model import rules

_Quantity = Annotated[int, msgspec.Meta(ge=1, le=rules.QUANTITY_MAX)]


class OpenGroupBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    pool: requests.PoolIdText
    buyer: requests.BuyerText
    quantity: _Quantity | msgspec.UnsetType = msgspec.UNSET
    match: bool | msgspec.UnsetType = msgspec.UNSET
    attests: AttestsBody | None = None


class JoinGroupBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    buyer: requests.BuyerText
    quantity: _Quantity | msgspec.UnsetType = msgspec.UNSET
    attests: AttestsBody | None = None


_open: Final = msgspec.json.Decoder(OpenGroupBody).decode
_join: Final = msgspec.json.Decoder(JoinGroupBody).decode


def decode_open(body: bytes) -> OpenGroupBody:
    """Read the body of ``POST /v1/groups``. Raises ``InvalidRequest`` naming the field."""

    def quotes(read: OpenGroupBody) -> int:
        named = (read.quantity is not msgspec.UNSET) + (read.match is not msgspec.UNSET)
        return 2 * (2 + 2 + named) + quotes_of(read.attests)

    return read_lean(_open, body, schemas_groups.OpenGroupRequest, quotes)


def decode_join(body: bytes) -> JoinGroupBody:
    """Read the body of ``POST /v1/groups/{group}/join``. Raises ``InvalidRequest``."""

    def quotes(read: JoinGroupBody) -> int:
        return 2 * (1 + 1 + (read.quantity is not msgspec.UNSET)) + quotes_of(read.attests)

    return read_lean(_join, body, schemas_groups.JoinGroupRequest, quotes)


def units_of(quantity: int | msgspec.UnsetType) -> int:
    """One, where nobody said."""
    return quantity if isinstance(quantity, int) else 1
