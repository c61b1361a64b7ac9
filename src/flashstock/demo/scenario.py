"""Who comes to the sale, when, and what they make of a hold; pure, and the same for a seed."""

from __future__ import annotations

from enum import StrEnum
from random import Random
from typing import Final, NamedTuple, TypeVar

from flashstock.demo.options import DemoOptions

_Choice = TypeVar("_Choice")


class Phase(StrEnum):
    """Some knock before the sale opens, most storm in, the rest come by while holds expire."""

    EARLY = "early"
    RUSH = "rush"
    PATIENT = "patient"


class Intent(StrEnum):
    """What the buyer does with a hold."""

    PAY = "pay"
    LET_GO = "let_go"
    PAY_LATE = "pay_late"
    ABANDON = "abandon"


class Again(StrEnum):
    """How the buyer's device repeats itself: with the same key, once answered or at once."""

    NO = "no"
    REPEAT = "repeat"
    DOUBLE = "double"


class Visit(NamedTuple):
    """One attempt of one buyer.

    Args:
        after_seconds: counted from the beginning of its phase.
        patience: 0 … 1, how long the buyer takes over the next step.
    """

    number: int
    buyer: str
    quantity: int
    phase: Phase
    after_seconds: float
    intent: Intent
    again: Again
    patience: float


EARLY_SECONDS: Final = 1.0
EARLY_SHARE: Final = 0.02
RUSH_SHARE: Final = 0.60
INTENT_WEIGHTS: Final = {
    Intent.PAY: 45,
    Intent.LET_GO: 17,
    Intent.PAY_LATE: 15,
    Intent.ABANDON: 23,
}
AGAIN_WEIGHTS: Final = {Again.NO: 80, Again.REPEAT: 12, Again.DOUBLE: 8}
PAIR_SHARE: Final = 0.3
"""Visits that want as many units as the limit allows."""


def patient_seconds(hold_seconds: int) -> float:
    """Long enough to see a hold of the rush expire, be sold again, and expire again."""
    return 2.0 * hold_seconds + 1.0


def plan(options: DemoOptions) -> list[Visit]:
    """As many visits as requests are wanted, in the order in which they come."""
    random = Random(options.seed)
    early = round(options.requests * EARLY_SHARE)
    rush = round(options.requests * RUSH_SHARE)
    patient = options.requests - early - rush
    phases = [
        *((Phase.EARLY, EARLY_SECONDS * rank / early) for rank in range(early)),
        *((Phase.RUSH, 0.0) for _ in range(rush)),
        *(
            (Phase.PATIENT, patient_seconds(options.hold_seconds) * rank / patient)
            for rank in range(patient)
        ),
    ]
    return [
        Visit(
            number=number,
            buyer=f"buyer-{random.randrange(options.buyers)}",
            quantity=options.per_buyer_limit if random.random() < PAIR_SHARE else 1,
            phase=phase,
            after_seconds=after_seconds,
            intent=_choose(random, INTENT_WEIGHTS),
            again=_choose(random, AGAIN_WEIGHTS),
            patience=random.random(),
        )
        for number, (phase, after_seconds) in enumerate(phases)
    ]


def _choose(random: Random, weights: dict[_Choice, int]) -> _Choice:
    return random.choices(list(weights), list(weights.values()))[0]
