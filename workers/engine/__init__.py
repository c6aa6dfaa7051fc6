"""arq's worker, made fast and crash-safe: one background duty per file, assembled in ``worker``."""
