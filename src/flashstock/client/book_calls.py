"""The calls about the stock book, campaigns and orders."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from flashstock.client.book_answers import (
    Balance,
    BalancePage,
    Campaign,
    CampaignOrder,
    ImportDone,
    Movement,
    Order,
    OrderPage,
    OrderReturn,
    PublicCampaign,
    StockIdentity,
    StockLine,
)
from flashstock.client.core import Core
from flashstock.client.wire import decoder, segment

PAGE_LIMIT: Final = 1_000

_campaign: Final = decoder(Campaign)
_public_campaign: Final = decoder(PublicCampaign)
_order: Final = decoder(Order)
_order_page: Final = decoder(OrderPage)
_order_return: Final = decoder(OrderReturn)
_movement: Final = decoder(Movement)
_balance_page: Final = decoder(BalancePage)
_identity: Final = decoder(StockIdentity)
_import: Final = decoder(ImportDone)


class BookCalls(Core):
    """Part of ``Client``: what is said of its calls there goes for these."""

    async def put_location(
        self, code: str, *, kind: str, priority: int, regions: Mapping[str, int]
    ) -> None:
        """Tell what a location is; ``regions`` are those it serves, with their levels."""
        served = [{"region": region, "level": level} for region, level in regions.items()]
        body = {"kind": kind, "priority": priority, "regions": served}
        await self._send("location", "PUT", f"/v1/locations/{segment(code)}", body)

    async def import_skus(self, csv: bytes, key: str) -> int:
        """Tell what SKUs are, all of the file or nothing. Returns its rows."""
        received = await self._send("import", "POST", "/v1/imports/skus", csv, key)
        return _import(received.payload).rows

    async def move(
        self, kind: str, lines: Sequence[StockLine], key: str, *, reason: str, reference: str
    ) -> Movement:
        """Post a movement, all of its lines or none, once per ``key``."""
        body = {"kind": kind, "lines": lines, "reason": reason, "reference": reference}
        received = await self._send("movement", "POST", "/v1/stock/movements", body, key)
        return _movement(received.payload)

    async def draft_campaign(self, order: CampaignOrder, key: str) -> Campaign:
        return _campaign(
            (await self._send("campaign", "POST", "/v1/campaigns", order, key)).payload
        )

    async def campaign(self, code: str) -> Campaign:
        return await self._on_campaign("GET", code, "")

    async def submit_campaign(self, code: str, revision: int) -> Campaign:
        return await self._on_campaign("POST", code, "/submit", {"revision": revision})

    async def approve_campaign(self, code: str, revision: int) -> Campaign:
        """Put it in force. Only an admin may approve what he submitted himself."""
        return await self._on_campaign("POST", code, "/approve", {"revision": revision})

    async def add_to_campaign(self, code: str, item: int, quantity: int, key: str) -> Campaign:
        """Set more units of an item in force aside, once per ``key``."""
        verb = f"/items/{item}/add"
        return await self._on_campaign("POST", code, verb, {"quantity": quantity}, key)

    async def pause_campaign(self, code: str) -> Campaign:
        """Stop selling for now. Holds stay, and can be paid."""
        return await self._on_campaign("POST", code, "/pause", {})

    async def resume_campaign(self, code: str) -> Campaign:
        """Sell again."""
        return await self._on_campaign("POST", code, "/resume", {})

    async def end_campaign(self, code: str) -> Campaign:
        """For good; what is left of its stock goes back to where it came from."""
        return await self._on_campaign("POST", code, "/end", {})

    async def public_campaign(self, code: str) -> PublicCampaign:
        """What a shop's page shows of a campaign that was approved."""
        path = f"/v1/campaigns/{segment(code)}/public"
        return _public_campaign((await self._send("public", "GET", path)).payload)

    async def ship(
        self, order_no: str, key: str, *, region: str | None, merge: Sequence[str] = ()
    ) -> Order:
        """Send all that is left of an order, and of others of its buyer, once per ``key``."""
        body: dict[str, object] = {}
        if region:
            body["region"] = region
        if merge:
            body["merge"] = merge
        path = f"/v1/orders/{segment(order_no)}/ship"
        return _order((await self._send("ship", "POST", path, body, key)).payload)

    async def take_back(
        self, order_no: str, quantity: int, key: str, *, location: str, disposition: str
    ) -> OrderReturn:
        """Take shipped units back at a location, once per ``key``."""
        body = {"quantity": quantity, "location": location, "disposition": disposition}
        path = f"/v1/orders/{segment(order_no)}/return"
        return _order_return((await self._send("order_return", "POST", path, body, key)).payload)

    async def orders_since(self, at: datetime) -> AsyncIterator[Order]:
        """Every order that was paid at that time or later, the oldest payment first."""
        after: str | None = f"{max(0, int(at.timestamp() * 1000) - 1)}.0"
        while after is not None:
            path = f"/v1/orders?limit={PAGE_LIMIT}&after={segment(after)}"
            page = _order_page((await self._send("orders", "GET", path)).payload)
            for order in page.items:
                yield order
            after = page.next_after

    async def balances(self, location: str) -> AsyncIterator[Balance]:
        """What there is of every SKU at a location."""
        after: str | None = ""
        while after is not None:
            path = f"/v1/stock?limit={PAGE_LIMIT}&location={segment(location)}"
            if after:
                path += f"&after={segment(after)}"
            page = _balance_page((await self._send("balances", "GET", path)).payload)
            for balance in page.items:
                yield balance
            after = page.next_after

    async def stock_identity(self) -> StockIdentity:
        """What the service finds when it adds up every movement there ever was."""
        path = "/v1/ops/stock/identity?deep=true"
        return _identity((await self._send("identity", "GET", path)).payload)

    async def _on_campaign(
        self, method: str, code: str, verb: str, body: object = None, key: str | None = None
    ) -> Campaign:
        path = f"/v1/campaigns/{segment(code)}{verb}"
        return _campaign((await self._send("campaign", method, path, body, key)).payload)
