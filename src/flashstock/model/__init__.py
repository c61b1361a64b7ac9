"""The domain: pure, small, no I/O. Nothing here knows Redis, SQL or HTTP."""
