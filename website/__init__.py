"""Builds the documentation site out of `docs/`, the code and the interface it serves."""
