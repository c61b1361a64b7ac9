"""A trading day in which everything that can happen to a reservation happens, on several shards.

Every step can be sent again: a repetition must be answered as the first time, whatever was done
to the stores in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from flashstock.errors import FlashstockError
from flashstock.hotpath.asking import Verdicted
from flashstock.hotpath.scripts import Verdict
from flashstock.model.eligibility import Attests
from flashstock.model.ids import digest_of
from flashstock.model.rules import Wave
from flashstock.model.states import DeductMode
from flashstock.service.carts import CartAnswer
from flashstock.service.reservations import Answer
from flashstock.service.views import PoolView
from tests.recovery.node import CALLER, Node

POOLS = ("shoes", "hats", "gloves", "scarves", "kit:boots", "kit:laces")
"""The last two count their limit together, and take units when it is paid, or until cancelled."""
BRIEF = "brief"
"""A pool whose holds end at once."""
RARE = "rare"
"""A pool of one unit, where a late payment finds nothing."""
BRIEF_HOLD_MS = 150
FAR_FUTURE_MS = 4_000_000_000_000

Step = Callable[[Node], Awaitable[Any]]


@dataclass
class Day:
    """What was asked, and what was answered."""

    steps: list[Step] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)

    async def ask(self, node: Node, step: Step) -> Any:
        answer = await _answered(node, step)
        self.steps.append(step)
        self.answers.append(answer)
        return answer

    async def asked_again(self, node: Node) -> list[Any]:
        return [await _answered(node, step) for step in self.steps]


async def _answered(node: Node, step: Step) -> Any:
    """What a caller can tell the answer by; the time of day apart."""
    try:
        answer = await step(node)
    except FlashstockError as refusal:
        return refusal.code
    match answer:
        case Verdicted():
            return Verdict(answer.verdict).name, answer.replay
        case Answer():
            return answer.replayed, answer.view.record, answer.view.order_no
        case CartAnswer():
            return answer.replayed, answer.id, [view.record for view in answer.reservations]
        case (PoolView(), bool(replayed)):
            return replayed, answer[0].counters
    raise AssertionError(answer)


async def trade(node: Node) -> Day:
    """Play the day. What time alone decides has been decided when it ends."""
    day = Day()
    await _open(node)
    for number, pool in enumerate(POOLS):
        await _sell(node, day, pool, f"{pool}-{number}")
    await _carts(node, day)
    await _late_payments(node, day)
    await day.ask(node, lambda n: n.pools.adjust(CALLER, "more", "shoes", 25, 3))
    await day.ask(node, lambda n: n.pools.adjust(CALLER, "less", "hats", -5, 0))
    await day.ask(node, lambda n: n.pools.adjust(CALLER, "too much", "hats", -10_000, 0))
    await node.is_applied()
    return day


async def _open(node: Node) -> None:
    past, future = Wave(1_000, 4), Wave(FAR_FUTURE_MS, 6)
    await node.create("shoes", 100, per_buyer_limit=3, waves=(past, future))
    await node.create("hats", 80)
    await node.create("gloves", 60, hold_ms=7 * 24 * 3_600_000)
    await node.create("scarves", 40, per_buyer_limit=2)
    rules = {"per_buyer_limit": 4, "audience": "new", "channels": "app,web"}
    await node.create("kit:boots", 90, **rules, deduct=DeductMode.PAYMENT)
    await node.create("kit:laces", 90, **rules, deduct=DeductMode.ORDER)
    await node.create(BRIEF, 20, hold_ms=BRIEF_HOLD_MS, per_buyer_limit=1)
    await node.create(RARE, 1, hold_ms=BRIEF_HOLD_MS)


async def _sell(node: Node, day: Day, pool: str, key: str) -> None:
    """Holds, sales, cancellations, longer holds, partial returns; some of one buyer."""
    held = [await _reserve(node, day, pool, f"{key}-{n}", 1 + n % 2) for n in range(6)]
    held += await asyncio.gather(*(_hold(node, day, pool, f"{key}-batch-{n}") for n in range(5)))
    await _reserve(node, day, pool, f"{key}-regular", 1, buyer="regular")
    await _reserve(node, day, pool, f"{key}-again", 1, buyer="regular")
    await _reserve(node, day, pool, f"{key}-greedy", 2, buyer="regular")
    for number, reservation in enumerate(held[:6]):
        await day.ask(node, _confirm(reservation, f"pay-{key}-{number}"))
    await day.ask(node, _confirm(held[0], f"pay-{key}-another"))
    await day.ask(node, _confirm(held[6], f"pay-{key}-0"))
    await day.ask(node, _return(held[1], 1, f"{key}-part"))
    await day.ask(node, _return(held[2], 0, f"{key}-all"))
    await day.ask(node, _return(held[4], 1, f"{key}-out", restock=False))
    await day.ask(node, _return(held[4], 1, f"{key}-out"))
    await day.ask(node, _return(held[3], 5, f"{key}-too-many"))
    await day.ask(node, lambda n: n.reservations.cancel(held[6]))
    await day.ask(node, lambda n: n.reservations.cancel(held[7], "revoked"))
    await day.ask(node, _confirm(held[6], f"pay-{key}-cancelled"))
    # Asked again it may count from a later moment, so it is no step of its own.
    await node.reservations.extend(held[8], 5_000)


async def _carts(node: Node, day: Day) -> None:
    """Across pools and shards; one of them too large to be held."""
    for number in range(3):
        lines = [("shoes", 1), ("hats", 2), ("gloves", 1), ("hats", 1)]
        await day.ask(node, _cart(f"cart-{number}", f"family-{number}", lines))
    await day.ask(node, _cart("cart-x", "crowd", [("hats", 1), ("scarves", 1_000)]))


async def _late_payments(node: Node, day: Day) -> None:
    """Holds that end by themselves; some are paid for afterwards, with and without stock left."""
    late = [await _hold(node, day, BRIEF, f"late-{n}") for n in range(6)]
    missed = await _hold(node, day, RARE, "missed")
    await asyncio.sleep(BRIEF_HOLD_MS / 1000 + 0.05)
    for pool in (BRIEF, RARE):
        await node.stores.store.expire(pool, 64)
    await day.ask(node, _confirm(late[0], "pay-late-0"))
    await day.ask(node, _confirm(late[1], "pay-late-1"))
    await day.ask(node, lambda n: n.reservations.cancel(late[2]))
    taken = await _hold(node, day, RARE, "taken")
    await day.ask(node, _confirm(taken, "pay-taken"))
    await day.ask(node, _confirm(missed, "pay-missed"))


async def _reserve(
    node: Node, day: Day, pool: str, key: str, quantity: int, buyer: str = ""
) -> str:
    """The reservation's id, whether it was granted or not."""
    who = buyer or f"buyer-{key}"
    attests = Attests(new_buyer=True, channel="app").packed()
    await day.ask(node, lambda n: n.reserve(pool, who, quantity, key, attests))
    return f"{pool}~{digest_of('reservation', CALLER, key)}"


async def _hold(node: Node, day: Day, pool: str, key: str) -> str:
    reservation = await _reserve(node, day, pool, key, 1)
    assert (await node.reservations.get(reservation)).record.buyer, key
    return reservation


def _confirm(reservation: str, payment_ref: str) -> Step:
    return lambda node: node.reservations.confirm(reservation, payment_ref)


def _return(reservation: str, quantity: int, key: str, *, restock: bool = True) -> Step:
    return lambda node: node.reservations.return_sale(
        CALLER, key, reservation, quantity, restock=restock
    )


def _cart(key: str, buyer: str, lines: list[tuple[str, int]]) -> Step:
    return lambda node: node.carts.reserve(CALLER, key, buyer, lines)
