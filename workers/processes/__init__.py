"""Processes: the supervisor that keeps workers running, and the embedded server."""
