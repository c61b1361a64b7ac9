"""What a running service answers at ``/metrics``: every series it may have, and their labels."""

from __future__ import annotations

import re
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

_TYPE = re.compile(r"^# TYPE (\S+) (\S+)$", re.MULTILINE)
_OF_A_HISTOGRAM = ("_bucket", "_sum", "_count")


def families(text: str) -> dict[str, str]:
    """Name → kind, as Prometheus has it; also of those without a sample."""
    return {found[1]: found[2] for found in _TYPE.finditer(text)}


def series(text: str) -> set[str]:
    """The names that an expression may use."""
    names = set()
    for name, kind in families(text).items():
        names |= {name + end for end in _OF_A_HISTOGRAM} if kind == "histogram" else {name}
    return names


def labels(text: str) -> Mapping[str, set[str]]:
    """The labels of each family that has a sample, ``le`` apart."""
    known = families(text)
    found: dict[str, set[str]] = {}
    for parsed in text_string_to_metric_families(text):
        name = next(name for name in (parsed.name, f"{parsed.name}_total") if name in known)
        for sample in parsed.samples:
            found.setdefault(name, set()).update(sample.labels.keys() - {"le"})
    return found
