"""The stock book: where every unit is, by double entry, in SQL."""
