"""Files in and out: SKUs, stock and campaigns from CSV, and CSV of everything that is kept."""
