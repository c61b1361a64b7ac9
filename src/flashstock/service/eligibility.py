"""How a buyer who is not let in hears of it."""

from __future__ import annotations

from flashstock.errors import NotEligible
from flashstock.model.eligibility import Attests, audience_in_words, unmet_rule


def not_eligible(
    pool: str, available: int, audience: str, channels: str, attests: Attests
) -> NotEligible:
    """The refusal, saying which of the pool's rules it is of."""
    if unmet_rule(audience, channels, attests) == "channels":
        listed = channels.split(",")
        detail = f"this pool sells through {', '.join(listed)} only"
        return NotEligible(detail, pool=pool, available=available, channels=listed)
    detail = f"this pool is for {audience_in_words(audience)}"
    return NotEligible(detail, pool=pool, available=available, audience=audience)
