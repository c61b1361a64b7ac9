"""What a replay can be asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

from flashstock.errors import ConfigurationError

STOCK_RATIO_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """A trading day and how to play it.

    Args:
        speed: how much faster than the day: 60 plays a minute in a second, 0 does not wait.
        stock_ratio: stock per SKU as a share of the day's demand, rounded up to whole units.
        url: a service that runs; ``None`` starts an embedded one.
        api_key: for ``url``; an admin's, who may approve the campaigns that he submits.
        confirm: pay every admitted cart; otherwise its holds stay.
        concurrency: requests under way at once, among those of one minute of the day.
        data_dir, port, keep: of the embedded service, as in the demo.

    Raises:
        ConfigurationError: a number is out of its bounds, or two options exclude each other.
    """

    file: Path
    speed: float = 0.0
    stock_ratio: float = 0.8
    json_output: bool = False
    url: str | None = None
    api_key: str | None = None
    data_dir: Path | None = None
    port: int = 0
    keep: bool = False
    confirm: bool = True
    concurrency: int = 32

    def __post_init__(self) -> None:
        for name, lowest, highest in (
            ("speed", 0, math.inf),
            ("stock_ratio", 0, STOCK_RATIO_MAX),
            ("concurrency", 1, 4_096),
            ("port", 0, 65_535),
        ):
            value: float = getattr(self, name)
            if not (lowest <= value <= highest and math.isfinite(value)):
                bounds = f"{lowest} or more" if highest == math.inf else f"{lowest} … {highest}"
                raise ConfigurationError(f"{name} must be {bounds}, not {value}")
        if self.url is not None and (self.data_dir is not None or self.port or self.keep):
            raise ConfigurationError("url names a service that runs: data_dir, port and keep don't")

    @property
    def exact_stock_ratio(self) -> Fraction:
        """The ratio as it was written, so that 0.1 of 30 units are 3 and not 4."""
        return Fraction(str(self.stock_ratio))
