"""How cost grows: with pools, live holds, shards and workers. ``python -m bench.curves``."""
