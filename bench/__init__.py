"""The benchmark suite: how fast, against what, and how we know. See bench/README.md."""
