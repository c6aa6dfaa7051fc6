"""The job store: all that talks to Redis. One Lua script for each atomic step; one façade for each noun."""
