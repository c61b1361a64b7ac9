"""What group-buys answer."""

from __future__ import annotations

from flashstock.errors.root import NotFound, Refused


class GroupOnly(Refused):
    code = "group_only"
    title = "The pool sells to groups only"


class NotAGroupBuy(Refused):
    code = "not_a_group_buy"
    title = "The pool does not sell to groups"


class GroupFull(Refused):
    code = "group_full"
    title = "Every seat of the group is taken"


class GroupOver(Refused):
    code = "group_over"
    title = "The group has formed, or failed"


class SeatsLimit(Refused):
    code = "seats_limit"
    title = "The buyer has as many seats in this group as a buyer may have"


class GroupsLimit(Refused):
    code = "groups_limit"
    title = "The buyer is in as many groups as a buyer may be in"


class OpenLimit(Refused):
    code = "open_limit"
    title = "As many groups are open as the pool may have"


class GroupNotFormed(Refused):
    code = "group_not_formed"
    title = "The group has not formed: cancel the seat instead"


class UnknownGroup(NotFound):
    code = "unknown_group"
    title = "There is no such group"
