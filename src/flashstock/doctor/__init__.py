"""``flashstock doctor``: looks at everything a deployment stands on, and changes nothing."""
