"""Event streams over HTTP: what happens to jobs, as server-sent events.

``frames`` writes events as bytes, ``resumption`` reads where a client left off, ``jobs`` and ``feeds`` say what a
stream sends, and ``stream`` sends it. Source of the format: HTML Living Standard, "Server-sent events".
"""
