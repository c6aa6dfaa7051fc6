"""Running one attempt: the executor, its decisions, and who is told about them."""
