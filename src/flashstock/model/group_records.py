"""A group as the scripts keep it (``lua/include/group_record.lua``), and what names its seats.

``<state><deadline_ms, 13 digits>⇥<rules>⇥<pool>⇥<pending>⇥<paid>⇥<house>⇥<opener>⇥<seq>``. The
group's digest is that of the reservation that opened it, so the group's id is that reservation's.
``pending`` counts the seats that are held or ordered, ``paid`` those that are paid, confirmed or
returned; ``opener`` is a digest, empty where nobody is left; ``seq`` is the first event number of
the log entry that opened it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from flashstock.model.group_rules import GroupRules, parse_group_rules
from flashstock.model.ids import FIELD_SEPARATOR
from flashstock.model.states import GroupState

GROUP_STATE_LETTERS: Final = {
    "o": GroupState.OPEN,
    "f": GroupState.FORMED,
    "x": GroupState.FAILED,
}
GROUP_LETTER_OF: Final[dict[GroupState, str]] = {
    state: letter for letter, state in GROUP_STATE_LETTERS.items()
}
SEAT_MARK: Final = "g:"
"""What the cart field of a seat begins with; no cart's does."""
_NEAREST_MAX: Final = 899
"""More seats than these missing are all the same to the list of open groups."""
_TIMES: Final = 10**13


def cart_of_group(digest: str) -> str:
    """What stands in the cart field of a seat of that group."""
    return SEAT_MARK + digest


def group_of_cart(cart: str) -> str:
    """The digest of the group whose seat has this cart field; empty where it is no seat."""
    return cart[len(SEAT_MARK) :] if cart.startswith(SEAT_MARK) else ""


def group_id(pool: str, cart: str) -> str:
    """The id of the group whose seat, in this pool, has this cart field; empty where it is none."""
    digest = group_of_cart(cart)
    return f"{pool}~{digest}" if digest else ""


def paid_member(group: str, order_index: int, digest: str) -> str:
    """A paid seat's member of ``group_members``: in order of payment, before the pending ones."""
    return f"{group}a{order_index:016d}{digest}"


def pending_member(group: str, seq: int, digest: str) -> str:
    """A pending seat's member of ``group_members``; ``seq`` is that of its record."""
    return f"{group}b{seq:016d}{digest}"


def open_score(missing: int, deadline_ms: int) -> int:
    """Where an open group with a free seat stands in ``open_groups``. Exact as a double."""
    return min(missing, _NEAREST_MAX) * _TIMES + deadline_ms


@dataclass(frozen=True, slots=True)
class GroupRecord:
    """One group. Times are ms since the epoch, Redis clock."""

    state: GroupState
    deadline_ms: int
    rules_text: str
    pool: str
    pending: int
    paid: int
    house: int
    """Seats that the house completed."""
    opener: str
    seq: int

    @property
    def rules(self) -> GroupRules:
        return parse_group_rules(self.rules_text)

    @property
    def missing(self) -> int:
        """Seats nobody has taken."""
        return self.rules.size - self.pending - self.paid - self.house

    def pack(self) -> str:
        """The exact text the scripts would write."""
        return FIELD_SEPARATOR.join(
            (
                f"{GROUP_LETTER_OF[self.state]}{self.deadline_ms:013d}",
                self.rules_text,
                self.pool,
                str(self.pending),
                str(self.paid),
                str(self.house),
                self.opener,
                str(self.seq),
            )
        )


def unpack_group(packed: str) -> GroupRecord:
    """Read a packed group. Raises ``ValueError`` on text that no script of ours wrote."""
    head, rules_text, pool, pending, paid, house, opener, seq = packed.split(FIELD_SEPARATOR)
    if head[:1] not in GROUP_STATE_LETTERS:
        raise ValueError(f"not a group: {packed!r}")
    return GroupRecord(
        GROUP_STATE_LETTERS[head[0]],
        int(head[1:]),
        rules_text,
        pool,
        int(pending),
        int(paid),
        int(house),
        opener,
        int(seq),
    )
