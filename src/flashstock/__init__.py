"""flashstock: flash-sale reservations that never oversell and never forget."""

__version__ = "0.1.0"
