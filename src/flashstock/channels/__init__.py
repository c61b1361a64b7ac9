"""Channels: many shops that sell one stock, and what each of them is told it may show."""
