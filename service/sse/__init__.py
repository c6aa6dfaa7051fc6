"""Event streams over HTTP: the events of jobs, as server-sent events.

``frames`` encodes events, ``resumption`` reads where a client left off, ``sources`` decides what a stream
sends, and ``stream`` sends it. Source of the format: HTML Living Standard, "Server-sent events".
"""
