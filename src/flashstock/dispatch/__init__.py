"""Dispatch: where an order is sent from, what has left, what came back, and what state it is in."""
