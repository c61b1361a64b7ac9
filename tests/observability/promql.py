"""What a PromQL expression asks for."""

from __future__ import annotations

from dataclasses import dataclass, field

import promql_parser

SYNTHETIC = frozenset({"up", "ALERTS"})
"""Prometheus makes these itself."""
GIVEN = frozenset({"job", "instance", "le", "alertname", "alertstate"})
"""Labels that Prometheus adds, or that come with the kind of a metric."""


@dataclass
class Asked:
    """The labels that matchers name, by metric; and those that are grouped by."""

    matched: dict[str, set[str]] = field(default_factory=dict)
    grouped: set[str] = field(default_factory=set)


def asked(expression: str) -> Asked:
    """Raises ``ValueError``: it is no PromQL."""
    found = Asked()

    def note(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector) and node.name:
            labels = {matcher.name for matcher in node.matchers.matchers}
            found.matched.setdefault(node.name, set()).update(labels)
        elif isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            found.grouped.update(node.modifier.labels)

    promql_parser.walk(promql_parser.parse(expression), note)
    return found
