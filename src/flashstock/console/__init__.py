"""The console at ``/console``: the service as its operators see it, live, and what they may do."""
