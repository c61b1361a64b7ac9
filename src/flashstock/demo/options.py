"""What a demo can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from flashstock.errors import ConfigurationError
from flashstock.model.rules import HOLD_SECONDS_MAX, POOL_QUANTITY_MAX


class Scenario(StrEnum):
    """What is shown."""

    FLASH_SALE = "flash-sale"
    """Everybody wants the same units."""
    GROUP_BUY = "group-buy"
    """Buyers who buy together, or not at all."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """A sale and its crowd.

    Args:
        requests: how many the crowd sends before it goes home; what it still owes then
            (payments of holds it has) comes on top.
        hold_seconds: short, so that a run sees holds expire and be sold again.
        concurrency: requests under way at once.
        keep: leave the service and its data when the demo is over.
        stay: when it is over, go on serving until somebody ends it.
        data_dir: where the service keeps its stores; ``None`` is a directory of its own.

    Raises:
        ConfigurationError: a number is out of its bounds.
    """

    units: int = 500
    buyers: int = 5_000
    requests: int = 20_000
    seed: int = 1
    per_buyer_limit: int = 2
    hold_seconds: int = 3
    concurrency: int = 256
    json_output: bool = False
    keep: bool = False
    stay: bool = False
    data_dir: Path | None = None
    port: int = 0
    scenario: Scenario = Scenario.FLASH_SALE

    def __post_init__(self) -> None:
        for name, lowest, highest in (
            ("units", 1, POOL_QUANTITY_MAX),
            ("buyers", 1, 10_000_000),
            ("requests", 1, 10_000_000),
            ("per_buyer_limit", 1, 1_000),
            ("hold_seconds", 1, HOLD_SECONDS_MAX),
            ("concurrency", 1, 4_096),
            ("port", 0, 65_535),
        ):
            value: int = getattr(self, name)
            if not lowest <= value <= highest:
                raise ConfigurationError(f"{name} must be {lowest} … {highest}, not {value}")
