"""The writer: tail the log, apply it to SQL, announce, trim. And the sweeper beside it."""
