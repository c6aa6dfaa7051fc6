"""arq's worker, made fast and crash-safe: one background duty a file, put together in ``worker``."""
