"""What can be told, and what an endpoint may ask for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

TOPIC_PATTERN: Final = r"^[a-z][a-z_]*(\.[a-z][a-z_]*){1,3}$"
WANTED_PATTERN: Final = r"^(\*|[a-z][a-z_]*(\.[a-z][a-z_]*){0,3}(\.\*)?)$"
"""A topic, a family of them (``warning.*``), or everything (``*``)."""
TOPIC_LENGTH_MAX: Final = 100

TEST: Final = "webhook.test"
WARNING_RAISED: Final = "warning.raised"
WARNING_CLEARED: Final = "warning.cleared"

GROUP_OPENED: Final = "group.opened"
GROUP_JOINED: Final = "group.joined"
GROUP_FORMED: Final = "group.formed"
GROUP_FAILED: Final = "group.failed"
GROUP_MEMBER_LEFT: Final = "group.member_left"
GROUP_OPENER_PASSED: Final = "group.opener_passed"


def wants(wanted: Iterable[str], topic: str) -> bool:
    """Whether somebody who asked for these is to be told of this."""
    return any(
        each in ("*", topic) or (each.endswith(".*") and topic.startswith(each[:-1]))
        for each in wanted
    )
