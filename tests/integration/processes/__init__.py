"""Whole processes: the supervisor, the embedded server, `arqway up`."""
