"""The HTTP service: validates and submits jobs, and tells what became of them. It never runs one."""
