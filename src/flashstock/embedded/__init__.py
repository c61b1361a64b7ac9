"""The stores flashstock runs itself when none are configured: a real Valkey beside SQLite."""
