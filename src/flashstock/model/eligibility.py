"""Who may buy from a pool, and through which channels; and what a caller attests of a request.

flashstock does not know buyers. Whoever calls it does, and attests what its pools may ask for;
``lua/include/eligibility.lua`` decides.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

LEVEL_MAX: Final = 99
CHANNELS_MAX: Final = 32
"""Channels that one pool may name."""
CHANNEL_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$"
AUDIENCE_PATTERN: Final = r"^(new|named|level:[1-9][0-9]?)$"
"""New buyers, buyers named beforehand, or buyers from a level on. Everyone is no audience: ''."""
_LEVEL: Final = "level:"
_AUDIENCE_WORDS: Final = {"new": "new buyers", "named": "buyers named beforehand"}


class Attests(NamedTuple):
    """What a caller says of a buyer and of the way a request came. The default says nothing."""

    new_buyer: bool = False
    named: bool = False
    level: int = 0
    channel: str = ""

    def packed(self) -> str:
        """As the scripts read it: a digit each for ``new_buyer`` and ``named``, two for the level,
        then the channel.
        """
        return f"{self.new_buyer:d}{self.named:d}{self.level:02d}{self.channel}"


def unpack_attests(packed: str) -> Attests:
    """The inverse of ``packed``; nothing attested is empty text."""
    if not packed:
        return Attests()
    return Attests(packed[0] == "1", packed[1] == "1", int(packed[2:4]), packed[4:])


def unmet_rule(
    audience: str, channels: str, attests: Attests
) -> Literal["", "audience", "channels"]:
    """Which rule refuses the request; the channel is looked at first. Empty: none does."""
    if channels and attests.channel not in channels.split(","):
        return "channels"
    if audience == "new":
        met = attests.new_buyer
    elif audience == "named":
        met = attests.named
    else:
        met = not audience or attests.level >= int(audience.removeprefix(_LEVEL))
    return "" if met else "audience"


def audience_in_words(audience: str) -> str:
    """For a sentence: ``new buyers``."""
    words = _AUDIENCE_WORDS.get(audience)
    return words or f"buyers of level {audience.removeprefix(_LEVEL)} and above"
