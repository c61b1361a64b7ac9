"""Payments compared: the gateway's statement against what is on record here."""
