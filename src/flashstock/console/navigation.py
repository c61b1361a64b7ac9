"""The sections of the console, in the order in which they stand in the margin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from flashstock.api.services import Services
from flashstock.console.sessions import PATH


def _always(services: Services) -> bool:  # noqa: ARG001 (one of several such rules)
    return True


def _with_book(services: Services) -> bool:
    return services.stock is not None


@dataclass(frozen=True, slots=True)
class Section:
    """An entry of the navigation; ``is_there`` says whether this service has such pages."""

    group: str
    title: str
    path: str
    is_there: Callable[[Services], bool] = _always

    def is_current(self, path: str) -> bool:
        """Whether a page belongs to it."""
        if self.path == PATH:
            return path == PATH
        return path == self.path or path.startswith(f"{self.path}/")


SECTIONS: Final = (
    Section("Sale", "Overview", PATH),
    Section("Sale", "Pools", f"{PATH}/pools"),
    Section("Sale", "Campaigns", f"{PATH}/campaigns", _with_book),
    Section("Sale", "Groups", f"{PATH}/groups"),
    Section("Sale", "Reservations", f"{PATH}/reservations"),
    Section("Stock", "Stock book", f"{PATH}/stock", _with_book),
    Section("Stock", "Movements", f"{PATH}/movements", _with_book),
    Section("Stock", "Identities", f"{PATH}/identities", _with_book),
    Section("Proof", "Reconciliation", f"{PATH}/reconciliation"),
    Section("Proof", "Quarantine", f"{PATH}/quarantine"),
    Section("Proof", "Refunds due", f"{PATH}/refunds"),
    Section("Service", "Shards", f"{PATH}/shards"),
    Section("Service", "Webhooks", f"{PATH}/webhooks", _with_book),
    Section("Service", "Audit log", f"{PATH}/audit"),
)
