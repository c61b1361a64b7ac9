"""Who does what with the stock book while it is being shot at: ops, packers, bosses and buyers.

Wherever two could step on each other's toes they are made to: the same order is sent twice at once,
the same movement taken back by two, the same revision approved by two and edited by a third.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from tests.chaos.stock_desk import Answer, Bought, Desk, NeverDecided, Tally

LOCATIONS = ("east", "north", "west")
PLAIN = ("bowl", "cup", "mug")
BUNDLE, PARTS = "set", {"cup": 2, "mug": 1}
GIFT = "pin"
AHEAD = "lamp"
"""Sold before it is there."""
SKUS = (*PLAIN, GIFT, AHEAD)
ITEMS = 4
CAMPAIGNS_MAX = 3
Act = Callable[[], Awaitable[None]]


def moment(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


class Crowd:
    """All of them.

    Args:
        desks: by name: ``ops``, ``boss`` (both ops) and ``shop`` (storefront).
    """

    def __init__(self, desks: dict[str, Desk], tally: Tally, seed: int) -> None:
        self._ops, self._boss, self._shop = (desks[name] for name in ("ops", "boss", "shop"))
        self._tally = tally
        self._random = Random(f"stock-{seed}")
        self._serial = 0
        self._received: list[tuple[int, str, int]] = []
        self.codes: list[str] = []
        self.over: list[str] = []
        self.holds: set[str] = set()
        self._acts: tuple[tuple[int, Act], ...] = (
            (6, self.receive),
            (5, self.shift),
            (3, self.reverse_twice),
            (3, self.transfer),
            (3, self.buy_in),
            (120, self.reserve_and_pay),
            (10, self.ship_twice),
            (10, self.give_back_twice),
            (5, self.add),
            (4, self.edit_and_approve),
            (1, self.switch),
            (2, self.end_while_adding),
        )

    async def open_shop(self) -> None:
        """Locations, SKUs, a bundle, and something to sell."""
        for priority, location in enumerate(LOCATIONS, start=1):
            body = {"name": location, "priority": priority}
            await self._ops.done("PUT", f"/v1/locations/{location}", body)
        for sku in (*SKUS, BUNDLE):
            body = {"title": sku, "price_minor": 100, "currency": "EUR"}
            await self._ops.done("PUT", f"/v1/skus/{sku}", body)
        parts = [{"sku": sku, "quantity": n} for sku, n in PARTS.items()]
        await self._ops.done("POST", "/v1/bundles", {"sku": BUNDLE, "components": parts})
        for sku in (*PLAIN, GIFT):
            for location in LOCATIONS:
                await self._receive(sku, location, 400)
        await self.start_campaign()

    async def work(self, until: asyncio.Event) -> None:
        """One of several who do one thing after the other."""
        acts, weights = [act for _, act in self._acts], [weight for weight, _ in self._acts]
        while not until.is_set():
            (act,) = self._random.choices(acts, weights)
            try:
                await act()
            except NeverDecided as surprise:
                self._tally.violations.append(str(surprise))
            except AssertionError as surprise:
                self._tally.violations.append(f"{act.__name__}: {surprise}")
            await asyncio.sleep(self._random.uniform(0.0, 0.06))

    # What moves in the book.

    async def _receive(self, sku: str, location: str, quantity: int) -> None:
        line = {"sku": sku, "location": location, "quantity": quantity}
        body = {"kind": "receive", "lines": [line]}
        moved = await self._ops.done("POST", "/v1/stock/movements", body)
        self._tally.move(sku, quantity, "", "available")
        self._received.append((moved["number"], sku, quantity))

    async def receive(self) -> None:
        sku, location = self._random.choice(SKUS), self._random.choice(LOCATIONS)
        await self._receive(sku, location, self._random.randint(1, 40))

    async def shift(self) -> None:
        kind, source, target = self._random.choice(
            (
                ("lock", "available", "locked"),
                ("unlock", "locked", "available"),
                ("inspect", "available", "unsellable"),
                ("inspect", "unsellable", "available"),
                ("sold_elsewhere", "available", ""),
                ("commit", "available", "committed"),
                ("uncommit", "committed", "available"),
                ("ship", "committed", ""),
            )
        )
        sku, quantity = self._random.choice(PLAIN), self._random.randint(1, 6)
        line = {"sku": sku, "location": self._random.choice(LOCATIONS), "quantity": quantity}
        line |= {"source": source} | ({"target": target} if target else {})
        body = {"kind": kind, "lines": [line], "reason": "at random"}
        answer = await self._ops.ask("POST", "/v1/stock/movements", body)
        if answer.ok:
            self._tally.move(sku, quantity, source, target)
        else:
            assert answer.code == "insufficient_stock", answer

    async def reverse_twice(self) -> None:
        if not self._received:
            return
        number, sku, quantity = self._random.choice(self._received)
        path, body = f"/v1/stock/movements/{number}/reverse", {"reason": "at random"}
        answers = await asyncio.gather(
            self._ops.ask("POST", path, body), self._boss.ask("POST", path, body)
        )
        done = sum(answer.ok for answer in answers)
        if done:
            assert done == 1, f"two reversed {number}"
            assert number not in self._tally.reversed, f"{number} was reversed before"
            self._tally.reversed.add(number)
            self._tally.move(sku, quantity, "available", "")

    async def transfer(self) -> None:
        source, destination = self._random.sample(LOCATIONS, 2)
        sku, quantity = self._random.choice(PLAIN), self._random.randint(2, 15)
        lines = [{"sku": sku, "quantity": quantity}]
        body = {"source": source, "destination": destination, "lines": lines}
        opened = await self._ops.ask("POST", "/v1/transfers", body)
        if not opened.ok:
            assert opened.code == "insufficient_stock", opened
            return
        path = f"/v1/transfers/{opened.body['id']}"
        await self._ops.done("POST", f"{path}/dispatch", {})
        lost = self._random.randint(0, 1)
        came = [{"sku": sku, "quantity": quantity - lost, "lost": lost}]
        await self._twice(f"{path}/receive", {"lines": came})
        if lost:
            self._tally.move(sku, lost, "available", "")

    async def buy_in(self) -> None:
        location, sku = self._random.choice(LOCATIONS), self._random.choice(SKUS)
        quantity, damaged = self._random.randint(2, 20), self._random.randint(0, 2)
        body = {"location": location, "lines": [{"sku": sku, "quantity": quantity}]}
        path = f"/v1/purchases/{(await self._ops.done('POST', '/v1/purchases', body))['id']}"
        came = [{"sku": sku, "quantity": quantity - damaged, "damaged": damaged}]
        if await self._twice(f"{path}/receive", {"lines": came}):
            self._tally.move(sku, quantity - damaged, "", "available")
            self._tally.move(sku, damaged, "", "unsellable")

    async def _twice(self, path: str, body: Any) -> bool:
        """Two ask for the same under keys of their own: exactly one may have it."""
        answers = await asyncio.gather(
            self._ops.ask("POST", path, body), self._boss.ask("POST", path, body)
        )
        done = sum(answer.ok for answer in answers)
        assert done == 1, f"{path} was done {done} times: {answers}"
        return True

    # Campaigns.

    def _terms(self, *, more: int = 0) -> dict[str, Any]:
        waves = [
            {"at": moment(self._random.uniform(0.2, 6)), "quantity": self._random.randint(1, 9)}
        ]
        mugs: dict[str, Any] = {"item": 1, "sku": "mug", "quantity": 40 + more}
        mugs |= {"waves": waves if self._random.random() < 0.6 else []}
        mugs |= {"gifts": [{"sku": GIFT, "quantity": 15}]}
        lamps = {"item": 4, "sku": AHEAD, "quantity": 10, "presale": True}
        lamps |= {"price_minor": 100, "deposit_minor": 100}
        sets = {"item": 2, "sku": BUNDLE, "quantity": 15 + self._random.randint(0, 10)}
        return {
            "name": "at random",
            "starts_at": moment(-1),
            "ends_at": moment(self._random.choice((15, 60, 300))),
            "hold_seconds": 600,
            "items": [mugs, sets, {"item": 3, "sku": "bowl", "quantity": 30 + more}, lamps],
        }

    async def start_campaign(self) -> None:
        for location in LOCATIONS:
            granted = {"allowance": self._random.randint(5, 20)}
            await self._ops.ask("PUT", f"/v1/stock/{AHEAD}/{location}/virtual", granted)
        draft = await self._ops.done("POST", "/v1/campaigns", self._terms())
        code = draft["code"]
        for item in draft["latest"]["items"]:
            needs = PARTS if item["sku"] == BUNDLE else {item["sku"]: 1}
            self._tally.needs[f"{code}-{item['item']}"] = dict(needs)
        self.codes.append(code)
        await self._approve(code, 1)

    async def _approve(self, code: str, revision: int) -> None:
        """Two approve at once, while a third may edit."""
        path, body = f"/v1/campaigns/{code}", {"revision": revision}
        if not (await self._ops.ask("POST", f"{path}/submit", body)).ok:
            return
        asking = [self._boss.ask("POST", f"{path}/approve", body) for _ in range(2)]
        if self._random.random() < 0.3:
            asking.append(self._ops.ask("PUT", path, {**self._terms(), **body}))
        if self._random.random() < 0.1:
            asking.append(self._ops.ask("POST", f"{path}/void"))
        await asyncio.gather(*asking)

    async def edit_and_approve(self) -> None:
        if not self.codes:
            await self.start_campaign()
            return
        code = self._random.choice(self.codes)
        seen = (await self._ops.done("GET", f"/v1/campaigns/{code}"))["latest"]["revision"]
        terms = self._terms(more=self._random.randint(-15, 20))
        body = {**terms, "revision": seen}
        answer = await self._ops.ask("PUT", f"/v1/campaigns/{code}", body)
        if answer.ok:
            await self._approve(code, answer.body["latest"]["revision"])

    async def add(self) -> None:
        if self.codes:
            path = f"/v1/campaigns/{self._random.choice(self.codes)}/items"
            number, units = self._random.randint(1, ITEMS), self._random.randint(1, 8)
            await self._ops.ask("POST", f"{path}/{number}/add", {"quantity": units})

    async def switch(self) -> None:
        if self.codes:
            path = f"/v1/campaigns/{self._random.choice(self.codes)}"
            await asyncio.gather(
                self._ops.ask("POST", f"{path}/pause"), self._boss.ask("POST", f"{path}/resume")
            )
            await self._ops.ask("POST", f"{path}/resume")

    async def end_while_adding(self) -> None:
        if len(self.codes) < CAMPAIGNS_MAX:
            await self.start_campaign()
            return
        code = self.codes.pop(0)
        self.over.append(code)
        path = f"/v1/campaigns/{code}"
        await asyncio.gather(
            self._ops.ask("POST", f"{path}/items/1/add", {"quantity": 5}),
            self._boss.ask("POST", f"{path}/end"),
            self._ops.ask("POST", f"{path}/void"),
        )

    async def end_all(self) -> None:
        """No hold is left, and no campaign is open."""
        for hold in sorted(self.holds):
            await self._shop.ask("POST", f"/v1/reservations/{hold}/cancel")
        for code in self.codes:
            ended = await self._ops.ask("POST", f"/v1/campaigns/{code}/end")
            if not ended.ok:
                await self._ops.ask("POST", f"/v1/campaigns/{code}/void")
        self.over += self.codes
        self.codes = []

    # Buyers and packers.

    async def reserve_and_pay(self) -> None:
        if not self.codes:
            return
        self._serial += 1
        buyer, quantity = f"buyer-{self._serial}", self._random.randint(1, 3)
        pool = f"{self._random.choice(self.codes)}-{self._random.randint(1, ITEMS)}"
        wanted = {"pool": pool, "buyer": buyer, "quantity": quantity}
        held = await self._shop.ask("POST", "/v1/reservations", wanted)
        if not held.ok:
            if held.code == "ended" and (code := pool.partition("-")[0]) in self.codes:
                self.codes.remove(code)
                self.over.append(code)
            return
        path = f"/v1/reservations/{held.body['id']}"
        self.holds.add(held.body["id"])
        chance = self._random.random()
        if chance < 0.15:
            return
        if chance < 0.3:
            await self._shop.ask("POST", f"{path}/cancel")
            self.holds.discard(held.body["id"])
            return
        paying = self._shop.ask("POST", f"{path}/confirm", {"payment_ref": f"pay-{buyer}"})
        cancelling = self._shop.ask("POST", f"{path}/cancel")
        paid = (await asyncio.gather(paying, *([cancelling] if chance < 0.4 else [])))[0]
        if chance >= 0.4:
            cancelling.close()
        self.holds.discard(held.body["id"])
        if paid.ok and paid.body["state"] == "confirmed":
            order_no = paid.body["order_no"]
            self._tally.orders[order_no] = Bought(order_no, pool, quantity)

    def _some_order(self) -> Bought | None:
        orders = list(self._tally.orders.values())
        if self._random.random() < 0.7:
            orders = [o for o in orders if o.shipped + o.withdrawn < o.quantity]
        return self._random.choice(orders) if orders else None

    async def ship_twice(self) -> None:
        """Two packers and, at times, somebody who cancels: no unit may go both ways."""
        if (order := self._some_order()) is None:
            return
        path = f"/v1/orders/{order.order_no}"
        sent = {"quantity": self._random.randint(1, order.quantity)}
        asking = [
            self._ops.ask("POST", f"{path}/ship", sent),
            self._boss.ask("POST", f"{path}/ship", sent),
        ]
        back = {"quantity": 1}
        if self._random.random() < 0.4:
            asking.append(self._ops.ask("POST", f"{path}/return", back))
        answers = await asyncio.gather(*asking)
        order.shipped += sent["quantity"] * sum(answer.ok for answer in answers[:2])
        order.withdrawn += sum(answer.ok for answer in answers[2:])
        self._look_at(order, answers)

    async def give_back_twice(self) -> None:
        if (order := self._some_order()) is None:
            return
        disposition = self._random.choice(("available", "unsellable"))
        quantity = self._random.randint(1, order.quantity)
        body = {
            "quantity": quantity,
            "location": self._random.choice(LOCATIONS),
            "disposition": disposition,
        }
        path = f"/v1/orders/{order.order_no}/return"
        answers = await asyncio.gather(
            self._ops.ask("POST", path, body), self._boss.ask("POST", path, body)
        )
        units = quantity * sum(answer.ok for answer in answers)
        order.came_back += units
        for sku, each in self._tally.needs[order.pool].items():
            self._tally.goods_back[sku, disposition] += units * each
        self._look_at(order, answers)

    @staticmethod
    def _look_at(order: Bought, answers: Sequence[Answer]) -> None:
        gone = order.shipped + order.withdrawn
        assert gone <= order.quantity, f"more left than was sold: {order} {answers}"
        assert order.came_back <= order.shipped, f"more came back than left: {order} {answers}"

    async def prove(self, until: asyncio.Event) -> None:
        """The books must add up at every moment, not only at the end."""
        while not until.is_set():
            with suppress(NeverDecided):
                found = await self._ops.ask("GET", "/v1/ops/stock/identity")
                self._tally.proofs += found.ok
                if found.ok and not found.body["ok"]:
                    self._tally.violations.append(f"in traffic: {found.body['differences']}")
            await asyncio.sleep(0.3)
