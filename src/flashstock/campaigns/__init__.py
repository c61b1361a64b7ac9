"""Campaigns: what is sold for how long to whom, and the stock that is set aside for it."""
