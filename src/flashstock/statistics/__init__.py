"""Statistics: what became of each pool's units, minute by minute, from the journal alone."""
