"""The client beside Redis."""
