"""The Lua scripts: where they are, what their headers say, and their text for one generation.

A script's text carries the shard and the generation of the data set it was loaded for. It is
loaded with SCRIPT LOAD by whoever opened that data set, called by EVALSHA only, and never loaded
again by a caller: NOSCRIPT means that this is no longer the server we opened. Shards on one server
are opened one by one, so no shard's scripts may pass for those of another.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from hashlib import sha1
from pathlib import Path
from typing import Final

from flashstock.errors import ConfigurationError
from flashstock.hotpath import keys

_INCLUDE: Final = re.compile(r"^--#include (\w+)$", re.MULTILINE)
_HEADER_KEYS: Final = re.compile(r"^KEYS (.*?)^ARGV ", re.MULTILINE | re.DOTALL)
_HEADER_RETURNS: Final = re.compile(r"^RETURNS \{(.*?)\}", re.MULTILINE | re.DOTALL)
_NUMBERED_KEY: Final = re.compile(r"\b\d+ (\w+)")


class ReserveStatus(IntEnum):
    OK = 0
    FENCED = -1
    UNKNOWN_POOL = -2


class Verdict(IntEnum):
    """What reserve, reserve_cart and take_seats say of one item. HELD is granted: held, or ordered.

    A batch's verdicts are one character each, 48 above the number: ``0`` for HELD.
    """

    HELD = 0
    REPLAYED = 1
    MISMATCH = 2
    SOLD_OUT = 3
    BUYER_LIMIT = 4
    NOT_STARTED = 5
    ENDED = 6
    PAUSED = 7
    UNKNOWN_POOL = 8
    NOT_ELIGIBLE = 9
    GROUP_ONLY = 10
    GROUP_UNKNOWN = 11
    GROUP_FULL = 12
    GROUP_OVER = 13
    SEATS_LIMIT = 14
    GROUPS_LIMIT = 15
    OPEN_LIMIT = 16


class ReserveCartStatus(IntEnum):
    HELD = 0
    REFUSED = 1
    FENCED = -1


class ConfirmStatus(IntEnum):
    CONFIRMED = 0
    REPLAYED = 1
    UNKNOWN = 2
    ALREADY_CONFIRMED = 3
    PAYMENT_REF_USED = 4
    REFUND_DUE = 5
    ALREADY_CANCELLED = 6
    GROUP_SEAT = 7
    """Nothing was decided: ``pay_seat`` is to be asked, and answers with the others."""
    FENCED = -1


class ReclaimStatus(IntEnum):
    RECLAIMED = 0
    KNOWN = 1
    PAYMENT_REF_USED = 2
    REFUND_DUE = 3
    FENCED = -1
    UNKNOWN_POOL = -2


class CancelStatus(IntEnum):
    CANCELLED = 0
    REPLAYED = 1
    UNKNOWN = 2
    ALREADY_CONFIRMED = 3
    EXPIRED = 4
    GROUP_SEAT = 5
    """Nothing was decided: ``leave_group`` is to be asked, and answers with the others."""
    FENCED = -1


class ExtendStatus(IntEnum):
    EXTENDED = 0
    UNCHANGED = 1
    UNKNOWN = 2
    ALREADY_CONFIRMED = 3
    EXPIRED = 4
    ALREADY_CANCELLED = 5
    FENCED = -1


class ReturnSaleStatus(IntEnum):
    RETURNED = 0
    REPLAYED = 1
    UNKNOWN = 2
    NOT_CONFIRMED = 3
    ALREADY_RETURNED = 4
    TOO_MANY = 5
    MISMATCH = 6
    NOT_FORMED = 7
    FENCED = -1


class ExpireStatus(IntEnum):
    OK = 0
    GROUP_POOL = 1
    """Nothing was done: ``sweep_groups`` does it."""
    FENCED = -1
    UNKNOWN_POOL = -2


class AdjustStatus(IntEnum):
    ADJUSTED = 0
    REPLAYED = 1
    INSUFFICIENT = 2
    MISMATCH = 3
    TOO_LARGE = 4
    FENCED = -1
    UNKNOWN_POOL = -2


class ConfigureStatus(IntEnum):
    CONFIGURED = 0
    EXISTS = 1
    CLOSED = 2
    UNCHANGED = 3
    GROUP_BUY_FIXED = 4
    """A pool that sells to groups stays one, and no other becomes one."""
    FENCED = -1
    UNKNOWN_POOL = -2


class SnapshotStatus(IntEnum):
    OK = 0
    FENCED = -1
    UNKNOWN_POOL = -2


class LookupStatus(IntEnum):
    OK = 0
    FENCED = -1


class KnownStatus(IntEnum):
    OK = 0
    TOO_MANY = 1
    FENCED = -1
    UNKNOWN_POOL = -2


class ClaimPaymentStatus(IntEnum):
    CLAIMED = 0
    TAKEN = 1
    FENCED = -1


class RepairStatus(IntEnum):
    REPAIRED = 0
    MOVED_ON = 1
    FENCED = -1
    UNKNOWN_POOL = -2


class RetractStatus(IntEnum):
    RETRACTED = 0
    GONE = 1
    SOLD = 2
    FENCED = -1


class RestoreStatus(IntEnum):
    OK = 0
    FENCED = -1


class TakeSeatsStatus(IntEnum):
    OK = 0
    FENCED = -1
    UNKNOWN_POOL = -2
    NOT_A_GROUP_BUY = -3


class PaySeatStatus(IntEnum):
    """Numbered as ``ConfirmStatus`` is. CONFIRMED is paid: the record says whether it is sold."""

    CONFIRMED = 0
    REPLAYED = 1
    UNKNOWN = 2
    ALREADY_CONFIRMED = 3
    PAYMENT_REF_USED = 4
    REFUND_DUE = 5
    ALREADY_CANCELLED = 6
    FENCED = -1


class LeaveGroupStatus(IntEnum):
    """Numbered as ``CancelStatus`` is. A paid seat that is left is refunded."""

    CANCELLED = 0
    REPLAYED = 1
    UNKNOWN = 2
    ALREADY_CONFIRMED = 3
    EXPIRED = 4
    FENCED = -1


class SweepGroupsStatus(IntEnum):
    OK = 0
    FENCED = -1
    UNKNOWN_POOL = -2


class SettleGroupStatus(IntEnum):
    SETTLED = 0
    MORE = 1
    """It is decided, and seats are left to settle: ask again, or leave it to the sweeper."""
    OPEN = 2
    UNKNOWN = 3
    FENCED = -1


class ReadGroupsStatus(IntEnum):
    OK = 0
    FENCED = -1


class ListOpenGroupsStatus(IntEnum):
    OK = 0
    FENCED = -1
    UNKNOWN_POOL = -2
    NOT_A_GROUP_BUY = -3


class TakeoverStatus(IntEnum):
    TAKEN = 0
    OVERTAKEN = 1


STATUSES: Final[dict[str, type[IntEnum]]] = {
    "reserve": ReserveStatus,
    "reserve_cart": ReserveCartStatus,
    "confirm": ConfirmStatus,
    "reclaim": ReclaimStatus,
    "cancel": CancelStatus,
    "extend": ExtendStatus,
    "return_sale": ReturnSaleStatus,
    "expire": ExpireStatus,
    "adjust": AdjustStatus,
    "configure": ConfigureStatus,
    "snapshot": SnapshotStatus,
    "lookup": LookupStatus,
    "known": KnownStatus,
    "claim_payment": ClaimPaymentStatus,
    "repair": RepairStatus,
    "retract": RetractStatus,
    "restore": RestoreStatus,
    "take_seats": TakeSeatsStatus,
    "pay_seat": PaySeatStatus,
    "leave_group": LeaveGroupStatus,
    "sweep_groups": SweepGroupsStatus,
    "settle_group": SettleGroupStatus,
    "read_groups": ReadGroupsStatus,
    "list_open_groups": ListOpenGroupsStatus,
    "takeover": TakeoverStatus,
}
"""Every script and the statuses it may answer; a test compares them with the headers."""

FENCED: Final = -1
"""The one status all scripts share: this data set is not the one the script was loaded for."""


def script_directory() -> Path:
    """Where the scripts are: inside an installed wheel, or beside ``src`` in a checkout.

    Raises:
        ConfigurationError: neither place has them.
    """
    package = Path(__file__).resolve().parents[1]
    for place in (package / "_lua", package.parents[1] / "lua"):
        if (place / "reserve.lua").is_file():
            return place
    raise ConfigurationError(f"the Lua scripts are missing: looked in {package / '_lua'}")


@cache
def script_source(name: str) -> str:
    """A script's text with its includes, before shard and generation are set."""
    directory = script_directory()
    text = (directory / f"{name}.lua").read_text()
    return _INCLUDE.sub(
        lambda match: (directory / "include" / f"{match[1]}.lua").read_text().rstrip(), text
    )


@cache
def key_names(name: str) -> tuple[str, ...]:
    """The names in the KEYS lines of a script's header, in order."""
    match = _HEADER_KEYS.search(script_source(name))
    if match is None:
        raise ConfigurationError(f"{name}.lua has no KEYS header")
    return tuple(_NUMBERED_KEY.findall(match[1]))


@cache
def position_place(name: str) -> int | None:
    """Where in its reply a script says where the log stands; ``None`` where it doesn't."""
    match = _HEADER_RETURNS.search(script_source(name))
    if match is None:
        raise ConfigurationError(f"{name}.lua has no RETURNS header")
    names = [part.strip() for part in match[1].split(",")]
    return names.index("position") if "position" in names else None


def build_keys(name: str, shard: int, pool_id: str = "", digest: str = "") -> list[str]:
    """A script's KEYS, in the order its header says."""
    built = []
    for key_name in key_names(name):
        if key_name in keys.SHARD_KEYS:
            built.append(keys.SHARD_KEYS[key_name](shard))
        elif key_name in keys.POOL_KEYS:
            built.append(keys.POOL_KEYS[key_name](shard, pool_id))
        else:
            built.append(keys.DIGEST_KEYS[key_name](shard, digest))
    return built


@dataclass(frozen=True)
class ScriptSet:
    """All scripts for one generation of one shard: text to load, SHA-1 to call by."""

    shard: int
    generation: str
    retention_ms: int
    shas: dict[str, str]

    @property
    def texts(self) -> dict[str, str]:
        """Put together when they are loaded: a hundred kilobytes that nobody needs afterwards."""
        return _texts(self.shard, self.generation, self.retention_ms)


@cache
def script_set(shard: int, generation: str, retention_ms: int) -> ScriptSet:
    """The scripts as they are loaded for one generation of one shard."""
    texts = _texts(shard, generation, retention_ms)
    shas = {name: sha1(text.encode()).hexdigest() for name, text in texts.items()}
    return ScriptSet(shard, generation, retention_ms, shas)


def _texts(shard: int, generation: str, retention_ms: int) -> dict[str, str]:
    return {
        name: script_source(name)
        .replace("@SHARD@", str(shard))
        .replace("@GENERATION@", generation)
        .replace("@RETENTION_MS@", str(retention_ms))
        for name in STATUSES
    }
