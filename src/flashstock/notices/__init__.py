"""Telling others: signed webhooks out of an outbox, warnings, and hints what to do about them."""
