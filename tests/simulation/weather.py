"""How well the network and the stores do, from moment to moment."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass
class Weather:
    """Chances per message, 0 to 1, and usual delays in seconds. Calm weather loses nothing."""

    lost_before: float = 0.0
    """The request never arrives."""
    lost_after: float = 0.0
    """It is executed and the answer is lost."""
    late: float = 0.0
    """It is executed long after the sender gave up."""
    torn: float = 0.0
    """A pipeline is executed in two parts, with others in between, or only its first part."""
    news_lost: float = 0.0
    news_twice: float = 0.0
    delay_s: float = 0.0005

    def delay(self, random: Random) -> float:
        """How long one message takes: mostly short, now and then ten times as long."""
        scale = 10.0 if random.random() < 0.05 else 1.0
        return self.delay_s * scale * (0.2 + random.random())

    def calm(self) -> None:
        """From now on nothing is lost."""
        self.lost_before = self.lost_after = self.late = self.torn = 0.0
        self.news_lost = self.news_twice = 0.0


def drawn(random: Random) -> Weather:
    """Every second world has no bad weather at all: there the big faults stand alone."""
    if random.random() < 0.5:
        return Weather()
    strength = random.choice((0.005, 0.02, 0.08))

    def chance() -> float:
        return strength * random.random() if random.random() < 0.7 else 0.0

    return Weather(
        chance(),
        chance(),
        chance() / 2,
        chance(),
        chance() * 5,
        chance() * 5,
        random.choice((0.0003, 0.001, 0.005)),
    )
