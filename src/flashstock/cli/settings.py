"""Settings as the command line changes them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from flashstock.config import Settings

DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Where the embedded stores live [default: $FLASHSTOCK_DATA_DIR or ~/.flashstock]."
    ),
]


def settings_from(**flags: object) -> Settings:
    """The environment's settings, overruled by the flags that were given.

    Raises:
        ConfigurationError: a value can't be used.
    """
    from flashstock.config import Settings

    return Settings(**{name: value for name, value in flags.items() if value is not None})
