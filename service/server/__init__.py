"""The HTTP server: uvicorn, with limits on what a client may cost."""
