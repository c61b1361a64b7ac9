"""What the reference knows of a pool: plain numbers, dictionaries and no cleverness."""

from __future__ import annotations

from dataclasses import dataclass, field

from flashstock.model.eligibility import Attests
from flashstock.model.events import decode_rules, decode_waves
from flashstock.model.ids import DIGEST_LENGTH
from flashstock.model.rules import NO_DEADLINE_MS, PoolCounters, PoolRules, Wave
from flashstock.model.states import DeductMode, ReservationState


@dataclass
class Pool:
    """Counters, rules as text (as a server keeps them), buyers, and batches of holds by time."""

    rules: dict[str, str]
    total: int
    available: int
    locked: int
    held: int = 0
    sold: int = 0
    grants: int = 0
    buyers: dict[str, int] = field(default_factory=dict)
    """Where the pool's limit is counted: the very same one in all pools of a group."""
    deadlines: dict[str, int] = field(default_factory=dict)
    """Digests of one batch, joined → its deadline."""
    retired: dict[str, int] = field(default_factory=dict)
    """Digests of one batch, joined → when to forget them."""

    @property
    def counters(self) -> PoolCounters:
        return PoolCounters(self.total, self.available, self.held, self.sold, self.locked)

    @property
    def settings(self) -> PoolRules:
        return decode_rules(self.rules)

    @property
    def granted_state(self) -> ReservationState:
        if self.settings.deduct is DeductMode.PAYMENT:
            return ReservationState.ORDERED
        return ReservationState.HELD

    def deadline_of_new(self, now_ms: int) -> int:
        """Of what is granted now."""
        if self.settings.deduct is DeductMode.ORDER:
            return NO_DEADLINE_MS
        return now_ms + self.settings.hold_ms

    def door(self, *, seen: bool) -> tuple[str, str]:
        """Audience and channels, where somebody has to be told."""
        return (self.settings.audience, self.settings.channels) if seen else ("", "")

    def lets_in(self, attests: Attests) -> bool:
        """Is a buyer of whom this is attested one of the audience, in a channel of the pool?"""
        rules = self.settings
        if rules.channels and attests.channel not in rules.channels.split(","):
            return False
        kind, _, level = rules.audience.partition(":")
        return {
            "": True,
            "new": attests.new_buyer,
            "named": attests.named,
            "level": attests.level >= int(level or 0),
        }[kind]

    def waves_due(self, now_ms: int) -> tuple[list[Wave], list[Wave]]:
        """(due, still to come)."""
        waves = decode_waves(self.rules["waves"])
        due = [wave for wave in waves if wave.at_ms <= now_ms]
        return due, [wave for wave in waves if wave.at_ms > now_ms]

    def take(self, buyer: str, quantity: int) -> None:
        self.buyers[buyer] = self.buyers.get(buyer, 0) + quantity

    def give_back(self, buyer: str, quantity: int) -> None:
        left = self.buyers.get(buyer, 0) - quantity
        if left > 0:
            self.buyers[buyer] = left
        else:
            self.buyers.pop(buyer, None)


def first_due(waiting: dict[str, int], now_ms: int) -> str | None:
    """The batch that is due longest; among equals the first by name, as a sorted set has it."""
    due = [(at_ms, batch) for batch, at_ms in waiting.items() if at_ms <= now_ms]
    return min(due)[1] if due else None


def digests_in(batch: str) -> list[str]:
    return [batch[i : i + DIGEST_LENGTH] for i in range(0, len(batch), DIGEST_LENGTH)]
