"""The HTTP service: validates and submits jobs, and reports their state and results. It never runs one."""
