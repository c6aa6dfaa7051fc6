"""The HTTP server: uvicorn, with limits on the resources that a client may use."""
