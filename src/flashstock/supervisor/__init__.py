"""``flashstock serve``: starts the other processes, keeps them alive, ends them in order."""
