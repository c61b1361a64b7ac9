"""The SQL side: the truth that Redis can be rebuilt from at any time."""
