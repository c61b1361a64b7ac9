"""What a run reports: counts, a check of its own, the reconciliation, and how they are shown."""
