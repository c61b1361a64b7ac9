"""Reconciliation: prove that Redis and SQL tell the same story, and mend Redis where not."""
