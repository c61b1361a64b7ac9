"""What a run comes to: one object for `--json`, the same in words, and whether it held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flashstock.client import Reconciliation, StockIdentity
from flashstock.report.audit import Findings


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a run.

    Args:
        held, confirmed, expired, cancelled: reservations, by what was acknowledged and how they
            ended.
        refused: refusals by code.
        broken_promises: what only the caller of the service can see going wrong, in words (a
            repeated key that gave a second hold, more units promised at once than there are).
        throughput_rps: requests a second while ``throughput_of`` (in words) went on.
        oversold_seen: units of such promises beyond the total.
        identity: the service's proof of its stock book, where the run used it.
        more: what this kind of run counts besides; joins the JSON object.
    """

    title: str
    address: str
    seconds: float
    requests: int
    throughput_rps: float
    latency_ms: Mapping[str, float]
    held: int
    confirmed: int
    expired: int
    cancelled: int
    refused: Mapping[str, int]
    findings: Findings
    reconciliation: Reconciliation
    broken_promises: tuple[str, ...] = ()
    oversold_seen: int = 0
    identity: StockIdentity | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    throughput_of: str = "the run"

    @property
    def oversold(self) -> int:
        """Units beyond the total, in the service's eyes or in ours, whichever saw more."""
        return max(self.reconciliation.oversold, self.findings.oversold, self.oversold_seen)

    @property
    def lost(self) -> int:
        """Acknowledged reservations that are gone."""
        return max(self.reconciliation.lost, self.findings.lost)

    @property
    def differences(self) -> int:
        """The service's own, those of the check from outside, and broken promises."""
        return (
            self.reconciliation.differences_count
            + (self.identity.differences_count if self.identity else 0)
            + self.findings.differences
            + len(self.broken_promises)
        )

    @property
    def ok(self) -> bool:
        """Whether every invariant held."""
        counted = self.oversold + self.lost + self.differences
        proved = self.identity is None or self.identity.ok
        return counted == 0 and self.reconciliation.ok and proved

    @property
    def described(self) -> list[str]:
        """What went wrong, in words."""
        service = [
            f"reconciliation: {difference}" for difference in self.reconciliation.differences
        ]
        broken = [name for name, holds in self.reconciliation.invariants.items() if not holds]
        invariants = [f"reconciliation: invariant {name} is broken" for name in broken]
        return [
            *self.broken_promises,
            *self.findings.described,
            *service,
            *invariants,
            *self._described_identity(),
        ]

    def _described_identity(self) -> list[str]:
        if self.identity is None:
            return []
        broken = [name for name, holds in self.identity.invariants.items() if not holds]
        return [
            *(f"stock identity: {difference}" for difference in self.identity.differences),
            *(f"stock identity: invariant {name} is broken" for name in broken),
        ]

    def document(self) -> dict[str, Any]:
        """The JSON object of `--json`."""
        identity = self.identity
        proved = {} if identity is None else {"stock_identity": _proof(identity)}
        return {
            "ok": self.ok,
            "requests": self.requests,
            "held": self.held,
            "confirmed": self.confirmed,
            "expired": self.expired,
            "cancelled": self.cancelled,
            "refused": dict(self.refused),
            "oversold": self.oversold,
            "lost": self.lost,
            "differences": self.differences,
            "seconds": round(self.seconds, 3),
            "throughput_rps": round(self.throughput_rps, 1),
            "latency_ms": dict(self.latency_ms),
            **self.more,
            "reconciliation": {
                "ok": self.reconciliation.ok,
                "pools_checked": self.reconciliation.pools_checked,
                "reservations_checked": self.reconciliation.reservations_checked,
                "lag_events": self.reconciliation.lag_events,
                "oversold": self.reconciliation.oversold,
                "lost": self.reconciliation.lost,
                "differences": self.reconciliation.differences_count,
                "invariants": self.reconciliation.invariants,
            },
            **proved,
            "audit": {
                "pools_checked": self.findings.pools_checked,
                "reservations_checked": self.findings.reservations_checked,
                "differences": self.findings.differences,
            },
            "described": self.described,
            "address": self.address,
        }


def _proof(identity: StockIdentity) -> dict[str, Any]:
    return {
        "ok": identity.ok,
        "deep": identity.deep,
        "differences": identity.differences_count,
        "invariants": identity.invariants,
    }
