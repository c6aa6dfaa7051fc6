"""The job store: all access to Redis. Each atomic step is one Lua script; each kind of object has its own façade."""
